#include <algorithm>
#include <duckdb/common/types/date.hpp>
#include <duckdb/common/types/interval.hpp>
#include <limits>

#include "flow/detail/clock_filter.h"

// When a condition on the clock holds.

namespace millrace::flow {

namespace {

using duckdb::ExpressionType;

constexpr int64_t kAlways = std::numeric_limits<int64_t>::min();
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int64_t kDayUs = duckdb::Interval::MICROS_PER_DAY;
// Beyond, no clock has to be added months to: 100,000 years.
constexpr int64_t kMonthsEndUs = 36'525'000 * kDayUs;

int64_t clamp(__int128 us) {
  if (us <= kAlways) return kAlways;
  return us >= kNever ? kNever : static_cast<int64_t>(us);
}

int64_t month_on(int64_t day, int64_t months) {
  const duckdb::interval_t by{static_cast<int32_t>(months), 0, 0};
  return duckdb::Interval::Add(duckdb::date_t(static_cast<int32_t>(day)), by).days;
}

/// The moments x for which x + months < time. The last days of a month all come to the last of a
/// shorter one, each at its own times of day.
std::vector<Stay> before(int64_t months, int64_t time_us) {
  if (months == 0 || time_us >= kMonthsEndUs || time_us <= -kMonthsEndUs)
    return {{kAlways, time_us}};
  const int64_t day = (time_us >= 0 ? time_us : time_us - kDayUs + 1) / kDayUs;
  int64_t at = month_on(day, -months) - 4;
  while (month_on(at, months) < day) ++at;
  std::vector<Stay> stays{{kAlways, at * kDayUs}};
  for (; month_on(at, months) == day; ++at)
    stays = joined(stays, {{at * kDayUs, at * kDayUs + time_us - day * kDayUs}});
  return stays;
}

std::vector<Stay> without(const std::vector<Stay>& stays) {
  std::vector<Stay> others;
  int64_t from = kAlways;
  for (const auto& [enter, leave] : stays) {
    if (enter > from) others.push_back({from, enter});
    from = leave;
  }
  if (from != kNever) others.push_back({from, kNever});
  return others;
}

}  // namespace

std::vector<Stay> common(const std::vector<Stay>& a, const std::vector<Stay>& b) {
  std::vector<Stay> both;
  for (const auto& one : a)
    for (const auto& other : b) {
      const Stay stay{std::max(one.enter, other.enter), std::min(one.leave, other.leave)};
      if (stay.enter < stay.leave) both.push_back(stay);
    }
  return both;
}

std::vector<Stay> joined(const std::vector<Stay>& a, const std::vector<Stay>& b) {
  std::vector<Stay> all = a;
  all.insert(all.end(), b.begin(), b.end());
  std::ranges::sort(all, {}, &Stay::enter);
  std::vector<Stay> out;
  for (const auto& stay : all) {
    if (stay.enter >= stay.leave) continue;
    if (!out.empty() && stay.enter <= out.back().leave)
      out.back().leave = std::max(out.back().leave, stay.leave);
    else
      out.push_back(stay);
  }
  return out;
}

std::vector<Stay> stays_of(const ClockCondition& condition, int64_t time_us) {
  // The clocks at which the moment is before `time`: the rounded clock is before what it takes.
  const auto moment_before = [&](__int128 time) {
    auto stays = before(condition.months, clamp(time - condition.offset_us));
    const __int128 unit = condition.unit_us;
    const auto rounded = [&](int64_t clock) {  // up: only there the rounded clock gets this far
      if (clock == kAlways || clock == kNever) return clock;
      __int128 units = clock / unit;
      if (units * unit < clock) ++units;
      return clamp(units * unit);
    };
    for (auto& stay : stays) stay = {rounded(stay.enter), rounded(stay.leave)};
    return joined(stays, {});
  };
  const bool infinite = time_us == kNever || time_us == -kNever;
  const __int128 far = __int128{1} << 100;
  const __int128 time = time_us == kNever ? far : infinite ? -far : __int128{time_us};
  const auto sooner = moment_before(time);
  const auto until = infinite ? sooner : moment_before(time + 1);
  switch (condition.comparison) {
    case ExpressionType::COMPARE_GREATERTHAN:
      return sooner;
    case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
      return until;
    case ExpressionType::COMPARE_LESSTHAN:
      return without(until);
    case ExpressionType::COMPARE_LESSTHANOREQUALTO:
      return without(sooner);
    default:  // equal
      return common(until, without(sooner));
  }
}

bool ClockCondition::takes_out() const {
  return months != 0 || (comparison != ExpressionType::COMPARE_LESSTHAN &&
                         comparison != ExpressionType::COMPARE_LESSTHANOREQUALTO);
}

}  // namespace millrace::flow
