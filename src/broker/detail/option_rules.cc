#include "broker/detail/option_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/nearest.h"

namespace millrace::broker::detail {

namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

template <typename T>
bool in_range(std::string_view text, const OptionRule& rule) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() &&
         number >= static_cast<T>(rule.min) && number <= static_cast<T>(rule.max);
}

bool is_number(const OptionRule& rule) {
  return rule.option.type == "INT" || rule.option.type == "LONG" || rule.option.type == "DOUBLE";
}

bool fits(const OptionRule& rule, std::string_view value) {
  const auto is_choice = [&](std::string_view word) {
    return rule.choices.empty() || std::ranges::any_of(rule.choices, [&](std::string_view choice) {
             return choice.ends_with(':') ? word.starts_with(choice) && word.size() > choice.size()
                                          : word == choice;
           });
  };
  if (rule.option.type == "DOUBLE") return in_range<double>(value, rule);
  if (is_number(rule)) return in_range<int64_t>(value, rule);
  if (rule.option.type != "LIST") return is_choice(value);
  const auto words = split_list(value);
  return (rule.choices.empty() || !words.empty()) && std::ranges::all_of(words, is_choice);
}

std::string allowed(const OptionRule& rule) {
  if (is_number(rule)) return fmt::format("{} to {}", rule.min, rule.max);
  return fmt::format("{}", fmt::join(rule.choices, ", "));
}

}  // namespace

OptionRules::OptionRules(std::string_view kind, std::vector<OptionRule> rules)
    : kind_(kind), rules_(std::move(rules)) {
  for (const auto& rule : rules_) options_.push_back(rule.option);
}

const OptionRule* OptionRules::find(std::string_view name) const {
  const auto at =
      std::ranges::find(rules_, name, [](const OptionRule& rule) { return rule.option.name; });
  return at == rules_.end() ? nullptr : &*at;
}

Result<> OptionRules::check_name(std::string_view name) const {
  if (find(name)) return {};
  std::vector<std::string_view> names;
  for (const auto& option : options_) names.push_back(option.name);
  const auto near = nearest(name, names);
  return Error{.code = ErrorCode::kInvalidConfig,
               .text = fmt::format("there is no {} option \"{}\"", kind_, name),
               .hint = near.empty() ? std::string() : fmt::format("Did you mean \"{}\"?", near)};
}

Result<> OptionRules::check(std::string_view name, std::string_view value) const {
  MR_TRY(check_name(name));
  const OptionRule& rule = *find(name);
  if (fits(rule, value)) return {};
  return Error{ErrorCode::kInvalidConfig,
               fmt::format("{} option {}: \"{}\" is not allowed; allowed: {}", kind_, name, value,
                           allowed(rule))};
}

std::vector<std::string_view> split_list(std::string_view list) {
  std::vector<std::string_view> out;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    out.push_back(trim(list.substr(0, comma)));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return out;
}

int64_t integer_of(std::string_view text) {
  int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

}  // namespace millrace::broker::detail
