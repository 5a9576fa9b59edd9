#include "connect/detail/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace millrace::connect {

namespace {

Error wrong(const std::string& name, const std::string& value, std::string_view why,
            std::string hint) {
  return Error{ErrorCode::kInvalidConfig, fmt::format("{} = '{}' {}", name, value, why),
               std::nullopt, std::move(hint)};
}

std::optional<int64_t> unit_ms(std::string_view unit) {
  if (unit.ends_with('s') && unit != "ms" && unit != "s") unit.remove_suffix(1);
  if (unit.empty() || unit == "ms" || unit == "millisecond") return 1;
  if (unit == "s" || unit == "second") return 1000;
  if (unit == "minute") return 60'000;
  if (unit == "hour") return 3'600'000;
  if (unit == "day") return 86'400'000;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> Options::text(const std::string& name) {
  known_.insert(name);
  const auto found = given_.find(name);
  if (found == given_.end()) return std::nullopt;
  auto value = std::move(found->second);
  given_.erase(found);
  return value;
}

Result<std::string> Options::needed(const std::string& name, std::string_view example) {
  auto value = text(name);
  if (value && !value->empty()) return std::move(*value);
  return Error{ErrorCode::kInvalidConfig, fmt::format("the option {} is missing", name),
               std::nullopt, fmt::format("For example {} = '{}'.", name, example)};
}

Result<std::string> Options::one_of(const std::string& name, std::string_view otherwise,
                                    std::initializer_list<std::string_view> words) {
  const auto value = text(name);
  if (!value) return std::string(otherwise);
  if (std::ranges::find(words, *value) != words.end()) return *value;
  return wrong(name, *value, "is not known",
               fmt::format("It is one of {}.", fmt::join(words, ", ")));
}

Result<int64_t> Options::number(const std::string& name, int64_t otherwise, int64_t least,
                                int64_t most) {
  const auto value = text(name);
  if (!value) return otherwise;
  int64_t number = 0;
  const auto [end, failed] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (failed == std::errc() && end == value->data() + value->size() && number >= least &&
      number <= most) {
    return number;
  }
  return wrong(name, *value, "is not possible",
               fmt::format("It is a number from {} to {}.", least, most));
}

Result<std::chrono::milliseconds> Options::interval(const std::string& name,
                                                    std::chrono::milliseconds otherwise,
                                                    std::chrono::milliseconds least) {
  const auto value = text(name);
  if (!value) return otherwise;
  constexpr int64_t kMost = 1'000'000;
  int64_t number = 0;
  const char* const last = value->data() + value->size();
  const auto [end, failed] = std::from_chars(value->data(), last, number);
  std::string_view unit(end, static_cast<size_t>(last - end));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const auto ms = unit_ms(unit);
  if (failed == std::errc() && ms && number >= 0 && number <= kMost) {
    const std::chrono::milliseconds interval(number * *ms);
    if (interval >= least) return interval;
  }
  return wrong(
      name, *value, "is not possible",
      fmt::format("It is an interval of {} ms or more, such as '10 seconds'.", least.count()));
}

std::map<std::string, std::string> Options::with_prefix(std::string_view prefix) {
  known_.insert(fmt::format("{}*", prefix));
  std::map<std::string, std::string> out;
  std::erase_if(given_, [&](auto& each) {
    if (!each.first.starts_with(prefix)) return false;
    out.emplace(each.first.substr(prefix.size()), std::move(each.second));
    return true;
  });
  return out;
}

Result<> Options::finish(std::string_view what) const {
  if (given_.empty()) return {};
  return Error{ErrorCode::kInvalidConfig,
               fmt::format("{} has no option {}", what, given_.begin()->first), std::nullopt,
               fmt::format("It has {}.", fmt::join(known_, ", "))};
}

Result<Backoff> Backoff::take(Options& options) {
  Backoff out;
  constexpr std::chrono::milliseconds kLeast(10);
  MR_TRY(out.first, options.interval("backoff", out.first, kLeast));
  MR_TRY(out.most, options.interval("backoff_max", std::max(out.most, out.first), out.first));
  return out;
}

std::chrono::milliseconds Backoff::wait(uint64_t failures, uint64_t random) const {
  constexpr uint64_t kDoublingsMax = 20;
  const auto doublings = std::min(std::max<uint64_t>(failures, 1) - 1, kDoublingsMax);
  const auto whole = std::min(first.count() << doublings, most.count());
  // Between half of it and all of it.
  return std::chrono::milliseconds(whole / 2 + static_cast<int64_t>(random % (whole / 2 + 1)));
}

}  // namespace millrace::connect
