#pragma once

#include <duckdb.hpp>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/evaluator.h"
#include "flow/detail/sort_order.h"

namespace millrace::flow {

/// Keeps the rows for which every condition is true. Stateless.
std::unique_ptr<Operator> make_filter(duckdb::ClientContext& context, Expressions conditions);

/// One expression a column. Stateless.
std::unique_ptr<Operator> make_projection(duckdb::ClientContext& context, Expressions expressions);

/// The rows of all its inputs, which have the same types. Stateless.
std::unique_ptr<Operator> make_union();

/// Rows that are there from the first epoch on.
std::unique_ptr<Operator> make_constant(std::vector<std::shared_ptr<const Delta>> rows);

/// The input's columns, then one column a list expression: a row for every element of the longest
/// list. Stateless.
std::unique_ptr<Operator> make_unnest(duckdb::ClientContext& context, Expressions lists,
                                      size_t input_columns);

/// Holds rows back until a frontier has passed the time in them, nets their changes, and gives them
/// out once, in the order of time. Its output is append-only.
std::unique_ptr<Operator> make_emit_on_close(std::vector<std::string> names,
                                             duckdb::vector<duckdb::LogicalType> types);

/// One aggregate of a group: `arguments` of DuckDB's function, over the input's columns.
struct AggregateCall {
  duckdb::unique_ptr<duckdb::Expression> bound;  // BoundAggregateExpression
  Expressions arguments;
  duckdb::unique_ptr<duckdb::Expression> filter;  // may be null
  bool distinct = false;
  bool ordered = false;  // ORDER BY within; its expressions stand among the arguments
};

struct AggregateSpec {
  Expressions groups;
  std::vector<AggregateCall> calls;
  bool global = false;       // one row, also over no input
  bool append_only = false;  // the input's rows are never retracted
};

/// A row a group: the group's columns, then the aggregates.
std::unique_ptr<Operator> make_aggregate(duckdb::ClientContext& context, AggregateSpec spec);

enum class JoinKind { kInner, kLeft, kRight, kFull, kSemi, kAnti, kMark, kSingle };

struct JoinSpec {
  JoinKind kind = JoinKind::kInner;
  duckdb::vector<duckdb::LogicalType> left_types, right_types;
  // Pairs of keys that must be equal, over the left and over the right input.
  Expressions left_keys, right_keys;
  std::vector<bool> null_equals_null;  // one a pair
  Expressions residual;  // conditions over the columns of left, then right; may be empty
  bool left_append_only = false, right_append_only = false;
};

/// The columns of left, then of right (semi, anti: of left alone; mark: of left, then the mark).
std::unique_ptr<Operator> make_join(duckdb::ClientContext& context, JoinSpec spec);

struct AsofSpec {
  JoinKind kind = JoinKind::kInner;  // not kMark, kSingle
  duckdb::vector<duckdb::LogicalType> left_types, right_types;
  // Pairs of keys that must be equal; behind them, last, the pair of values that are compared.
  Expressions left_keys, right_keys;
  std::vector<bool> null_equals_null;  // one a pair of keys
  duckdb::ExpressionType comparison = duckdb::ExpressionType::COMPARE_GREATERTHANOREQUALTO;
};

/// Each left row with the one right row of its key whose value is nearest (`left >= right`, `>`:
/// the greatest below; `<=`, `<`: the smallest above); as the kind says, also the rows of a side
/// that stand in no such pair. Of equal right rows one stands in pairs.
std::unique_ptr<Operator> make_asof_join(duckdb::ClientContext& context, AsofSpec spec);

/// EXCEPT ALL (`except`) or INTERSECT ALL of two inputs of the same types.
std::unique_ptr<Operator> make_bag_operation(std::vector<duckdb::LogicalType> types, bool except);

struct TopNSpec {
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  duckdb::vector<duckdb::LogicalType> types;  // of the input
  Expressions partitions;                     // empty: one partition
  std::vector<OrderKey> orders;               // what ties is ordered by the bytes of the row
  int64_t limit = kNoLimit;
  int64_t offset = 0;
  std::optional<double> percent;  // LIMIT of so many percent of all rows, instead of `limit`
  bool numbered = false;          // a column more: the row's number, from 1; with a limit only
  bool append_only = false;       // the input's rows are never retracted
};

/// The rows that stand first in each partition's order.
std::unique_ptr<Operator> make_top_n(duckdb::ClientContext& context, TopNSpec spec);

struct WindowSpec {
  duckdb::vector<duckdb::LogicalType> types;  // of the input
  Expressions windows;  // BoundWindowExpressions over the input's columns, of one PARTITION BY
};

/// The input's columns, then one a window function.
std::unique_ptr<Operator> make_window(duckdb::ClientContext& context, WindowSpec spec);

}  // namespace millrace::flow
