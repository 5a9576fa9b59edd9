#pragma once

#include <duckdb.hpp>

#include <memory>
#include <optional>
#include <vector>

#include "flow/detail/delta.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// Carries frontiers through expressions that never fall when their one column rises: the column
/// itself, time_bucket, date_trunc, a constant interval added, a cast between time types. What such
/// an expression makes of the frontier's time bounds what it makes of every later row.
class FrontierMap {
 public:
  /// `expressions` over the input's columns.
  FrontierMap(duckdb::ClientContext& context, const Evaluator& expressions);
  /// The frontiers of the expressions' columns.
  std::vector<Frontier> map(const std::vector<Frontier>& input);

 private:
  struct Rising {
    size_t input;
    size_t output;
    duckdb::LogicalType type;               // of the input column
    std::unique_ptr<Evaluator> expression;  // over a chunk of that column alone; null: the column
  };
  std::vector<Rising> rising_;
};

/// The column that an expression rounds down, if it does no more: the column itself, time_bucket,
/// date_trunc. What bounds the expression's later values bounds the column's, too.
std::optional<size_t> rounded_column(const duckdb::Expression& expression);

/// The time types that a frontier may bound: TIMESTAMP, TIMESTAMP WITH TIME ZONE, DATE.
bool is_time(const duckdb::LogicalType& type);
/// Microseconds since the epoch of a non-NULL value of such a type (infinities at the ends).
int64_t time_us_of(const duckdb::Value& value);

}  // namespace millrace::flow
