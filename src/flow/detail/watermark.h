#pragma once

#include <duckdb.hpp>

#include <algorithm>
#include <limits>
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
/// these. A partition that is silent for the idle timeout, by the epochs' clock, is left out. When
/// all are, time goes on at the pace of the clock: each partition's promise grows with its silence,
/// and the furthest counts. Live epochs write down what came of it; a replay takes that.
class Watermark {
 public:
  static constexpr int64_t kIdleUs = 30'000'000;
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  /// How often it moves while all partitions are idle.
  static constexpr int64_t kTickUs = 1'000'000;
  explicit Watermark(size_t partitions, int64_t idle_us = kIdleUs)
      : idle_us_(idle_us), partitions_(partitions) {}

  /// Partition `p` has seen a row whose watermark is `time_us`, in an epoch of this clock.
  void observe(size_t partition, int64_t time_us, int64_t clock_us);
  /// The partition's silence until now says nothing: it has rows that were not read yet, or the
  /// view did not run.
  void excuse(size_t partition, int64_t clock_us);
  /// What holds after the epoch; never falls. Nothing before every partition that is not idle has
  /// promised something.
  std::optional<int64_t> advance(int64_t clock_us);
  /// What an epoch wrote down.
  void restore(int64_t time_us) { now_ = std::max(now_.value_or(time_us), time_us); }
  std::optional<int64_t> now() const { return now_; }
  /// The clock at which advance() may give more though no row comes; nullopt: it will not.
  std::optional<int64_t> next_us() const;
  size_t partitions() const { return partitions_.size(); }

  void save(StateWriter& out) const;
  /// What was saved of fewer partitions is taken too.
  void load(StateReader& in);

 private:
  struct State {
    std::optional<int64_t> time_us;
    std::optional<int64_t> last_row_us;  // the epochs' clock when it had its last row
  };
  int64_t silent_since(const State& state) const;

  const int64_t idle_us_;
  std::vector<State> partitions_;
  std::optional<int64_t> first_clock_us_;
  int64_t clock_us_ = 0;  // of the last advance()
  std::optional<int64_t> now_;
};

}  // namespace millrace::flow
