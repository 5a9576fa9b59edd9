#pragma once

#include <duckdb.hpp>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "flow/detail/evaluator.h"
#include "sql/engine.h"

namespace millrace::flow {

class StateReader;
class StateWriter;

/// `WATERMARK FOR column AS expression` of a topic, over decoded rows. One thread at a time.
class WatermarkExpression {
 public:
  /// Errors: what planning the expression says; kNotSupported when it is no time.
  static Result<std::unique_ptr<WatermarkExpression>> make(sql::Engine& engine,
                                                           const catalog::Object& topic);

  /// The topic's columns that evaluate() takes, in this order.
  const std::vector<size_t>& columns() const { return columns_; }
  /// The column that the watermark is for.
  size_t column() const { return column_; }
  /// Microseconds since the epoch for each row; kNone where NULL.
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::min();
  Result<std::vector<int64_t>> evaluate(const duckdb::DataChunk& rows);

 private:
  WatermarkExpression() = default;

  std::shared_ptr<void> keep_alive_;
  std::unique_ptr<Evaluator> evaluator_;
  std::vector<size_t> columns_;
  size_t column_ = 0;
};

/// The watermark of one topic as one view sees it: what each partition promises, and the least of
/// these. A partition without rows for kIdle of the epochs' clock is left out while others go on.
/// A deterministic function of the epochs that it is told of.
class Watermark {
 public:
  static constexpr int64_t kIdleUs = 30'000'000;
  explicit Watermark(size_t partitions) : partitions_(partitions) {}

  /// Partition `p` has seen a row whose watermark is `time_us`, in an epoch of this clock.
  void observe(size_t partition, int64_t time_us, int64_t clock_us);
  /// What holds after the epoch; never falls. Nothing before every partition that is not idle has
  /// promised something.
  std::optional<int64_t> advance(int64_t clock_us);

  void save(StateWriter& out) const;
  /// What was saved of fewer partitions is taken too.
  void load(StateReader& in);

 private:
  struct State {
    std::optional<int64_t> time_us;
    std::optional<int64_t> last_row_us;  // the epochs' clock when it had its last row
  };
  std::vector<State> partitions_;
  std::optional<int64_t> first_clock_us_;
  std::optional<int64_t> now_;
};

}  // namespace millrace::flow
