#pragma once

#include <duckdb.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/delta.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// Microseconds since the epoch of the values of a time column (as is_time() says).
class TimeColumn {
 public:
  TimeColumn(duckdb::Vector& values, size_t count)
      : date_(values.GetType().id() == duckdb::LogicalTypeId::DATE) {
    values.ToUnifiedFormat(count, values_);
  }
  std::optional<int64_t> operator[](size_t row) const {
    const auto at = values_.sel->get_index(row);
    if (!values_.validity.RowIsValid(at)) return std::nullopt;
    if (!date_) return duckdb::UnifiedVectorFormat::GetData<int64_t>(values_)[at];
    return of_day(duckdb::UnifiedVectorFormat::GetData<int32_t>(values_)[at]);
  }

 private:
  /// A DATE reaches further than a TIMESTAMP, infinity not to speak of: such a day is infinity's.
  static int64_t of_day(int32_t day) {
    int64_t us;
    if (!__builtin_mul_overflow(int64_t{day}, duckdb::Interval::MICROS_PER_DAY, &us)) return us;
    return day > 0 ? std::numeric_limits<int64_t>::max() : -std::numeric_limits<int64_t>::max();
  }

  bool date_;
  duckdb::UnifiedVectorFormat values_;
};

/// What an operator closes by: the one of its columns that frontiers bound, and how far they have
/// come. The promise covers retractions too, so what is closed never changes again.
class Closing {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::min();

  std::optional<size_t> column() const { return column_; }
  int64_t below_us() const { return below_us_; }
  bool is_closed(int64_t time_us) const { return time_us < below_us_; }
  /// True when the column has just become known. Of several it is the one whose frontier is the
  /// greatest: of a window's start and end the end, of a day and an hour the hour.
  bool advance(const std::vector<Frontier>& frontiers) {
    const bool fresh = !column_ && !frontiers.empty();
    if (fresh)
      column_ = std::ranges::max_element(frontiers, {}, [](const auto& f) {
                  return std::pair(f.time_us, -static_cast<int64_t>(f.column));
                })->column;
    for (const auto& frontier : frontiers)
      if (frontier.column == column_) below_us_ = std::max(below_us_, frontier.time_us);
    return fresh;
  }

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  std::optional<size_t> column_;
  int64_t below_us_ = kNever;
};

/// Rows that an operator left out because they came too late: counted for good, kept until someone
/// takes them.
class LateCollector {
 public:
  /// `names`: of the columns of what is added.
  explicit LateCollector(std::vector<std::string> names) : names_(std::move(names)) {}

  /// The rows `sel[0..count)` of `in`.
  void add(const Delta& in, const duckdb::SelectionVector& sel, size_t count);
  uint64_t count() const { return count_; }
  void take(std::vector<LateRows>& out);
  /// The count: nobody saves between the steps that find rows and take().
  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<const Delta>> rows_;
  uint64_t count_ = 0;
};

/// Names for the columns of a chunk, as far as the expressions over it know them.
std::vector<std::string> column_names(const std::vector<const Evaluator*>& expressions);

}  // namespace millrace::flow
