#include "sql/detail/guest_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <duckdb.hpp>
#include <duckdb/common/types/interval.hpp>

#include "base/config.h"
#include "catalog/function.h"

namespace millrace::sql {
namespace {

using Value = Result<std::pair<std::string, uint64_t>>;  // under which name it is kept

Value bytes(const std::string& text) {
  MR_TRY(const auto number, config::parse_bytes(text));
  return std::pair(std::string(catalog::kMemoryLimit), number);
}

Result<uint64_t> milliseconds(const std::string& text) {
  duckdb::interval_t interval;
  std::string message;
  if (!duckdb::Interval::FromCString(text.data(), text.size(), interval, &message, true) ||
      duckdb::Interval::GetMicro(interval) <= 0) {
    return Error{ErrorCode::kInvalidConfig, "allowed: a time, as in '20 ms' or '10 minutes'"};
  }
  return static_cast<uint64_t>(duckdb::Interval::GetMicro(interval) + 999) / 1000;
}

Value time_slice(const std::string& text) {
  MR_TRY(const auto number, milliseconds(text));
  return std::pair(std::string(catalog::kTimeSliceLimit), number);
}

Result<uint64_t> count(const std::string& text) {
  const auto number = config::parse_integer(text);
  if (number && *number > 0) return static_cast<uint64_t>(*number);
  return Error{ErrorCode::kInvalidConfig, "allowed: a number above 0"};
}

Value expansion(const std::string& text) {
  MR_TRY(const auto number, count(text));
  return std::pair(std::string(catalog::kExpansionLimit), number);
}

Value look_back(const std::string& text) {
  if (const auto number = count(text)) {
    return std::pair(std::string(catalog::kLookBackRecords), *number);
  }
  if (const auto number = milliseconds(text)) {
    return std::pair(std::string(catalog::kLookBackMs), *number);
  }
  return Error{ErrorCode::kInvalidConfig,
               "allowed: a number of records above 0, or a time, as in '10 minutes'"};
}

struct Option {
  std::string_view name;
  Value (*read)(const std::string&);
};
constexpr Option kOptions[] = {{"memory", bytes},
                               {"time_slice", time_slice},
                               {"expansion", expansion},
                               {"look_back", look_back}};

Result<> take_option(TokenReader& reader, catalog::Transform& step, bool with_look_back) {
  const auto name = reader.peek();
  const auto* option =
      std::ranges::find_if(kOptions, [&](const Option& each) { return name.is(each.name); });
  if (option == std::end(kOptions) || (option->read == look_back && !with_look_back)) {
    return reader.unexpected(fmt::format("expected memory, time_slice{} expansion",
                                         with_look_back ? ", look_back or" : " or"));
  }
  reader.take();
  MR_TRY(reader.expect_symbol('='));
  reader.take_word("interval");
  const auto token = reader.take();
  auto value = option->read(token.text);
  if (!value) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("{} = {}: {}", option->name, literal(token.text), value.error().text),
                 token.begin};
  }
  if (!step.options.emplace(value->first, std::to_string(value->second)).second) {
    return Error{ErrorCode::kSyntax, fmt::format("option \"{}\" is given twice", option->name),
                 name.begin};
  }
  return {};
}

}  // namespace

Result<> parse_guest_options(TokenReader& reader, catalog::Transform& step, bool with_look_back) {
  if (!reader.take_word("with")) return {};
  MR_TRY(reader.expect_symbol('('));
  do {
    MR_TRY(take_option(reader, step, with_look_back));
  } while (reader.take_symbol(','));
  return reader.expect_symbol(')');
}

std::string guest_limits(const catalog::Transform& step) {
  struct Written {
    std::string_view kept, name, unit;
  };
  std::string out;
  for (const auto& [kept, name, unit] : {Written{catalog::kMemoryLimit, "memory", ""},
                                         Written{catalog::kTimeSliceLimit, "time_slice", " ms"},
                                         Written{catalog::kExpansionLimit, "expansion", ""},
                                         Written{catalog::kLookBackRecords, "look_back", ""},
                                         Written{catalog::kLookBackMs, "look_back", " ms"}}) {
    const auto found = step.options.find(std::string(kept));
    if (found == step.options.end()) continue;
    const auto value = found->second + std::string(unit);
    out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", name,
                       unit.empty() ? value : literal(value));
  }
  return out;
}

std::string guest_options_sql(const catalog::Transform& step) {
  const auto limits = guest_limits(step);
  return limits.empty() ? limits : fmt::format(" WITH ({})", limits);
}

}  // namespace millrace::sql
