#pragma once

#include <duckdb.hpp>

#include <duckdb/planner/operator/list.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/operators.h"
#include "flow/detail/plan_expressions.h"
#include "flow/detail/spread.h"

namespace millrace::flow {

/// Tells which object a LogicalGet reads; null: none of ours.
using ObjectFinder = std::function<const catalog::Object*(const duckdb::LogicalOperator&)>;

/// translate() with another way to know the objects; tests give their own.
Result<std::unique_ptr<Dataflow>> translate(std::vector<sql::PlannedQuery> plans,
                                            const ObjectFinder& finder, Emit emit = Emit::kChanges,
                                            Spread spread = {});

/// One operator of a dataflow and where its input comes from. Without an operator: an input.
struct FlowNode {
  std::unique_ptr<Operator> op;
  std::vector<size_t> children;  // nodes before it
  size_t input = 0;              // of the dataflow, when there is no operator
  // Of each child's rows: whatever the operator keeps is apart for rows that differ in them, so
  // that its work can be divided. None: it needs all rows.
  std::vector<Expressions> keys = {};
};

/// Walks DuckDB's optimised logical plan and puts an operator for every node of it. Column bindings
/// stay symbolic in the plan: what each node gives is looked up by binding, so a node here may give
/// more columns than DuckDB's, or others' order.
class PlanTranslator {
 public:
  PlanTranslator(duckdb::ClientContext& context, const ObjectFinder& finder)
      : context_(context), finder_(finder) {}

  /// What a plan node became: a node of the dataflow and its columns.
  struct Stream {
    size_t node = 0;
    Scope scope;
    bool append_only = false;
  };
  Result<Stream> translate(duckdb::LogicalOperator& op);
  /// The first node whose rows may be taken back; none: all are append-only.
  std::optional<size_t> first_retracting() const { return first_retracting_; }
  /// The stream's columns in the order that DuckDB gives `op` (for what goes by position).
  Result<Stream> in_order_of(duckdb::LogicalOperator& op, Stream stream);

  std::vector<FlowNode> take_nodes() { return std::move(nodes_); }
  std::vector<Dataflow::Input> take_inputs() { return std::move(inputs_); }

 private:
  Result<Stream> translate_node(duckdb::LogicalOperator& op);
  size_t add(std::unique_ptr<Operator> op, std::vector<size_t> children,
             std::vector<Expressions> keys = {});
  size_t add_aggregate(AggregateSpec spec, size_t child);
  Result<Stream> translate_get(duckdb::LogicalGet& get);
  Result<Stream> translate_list_function(duckdb::LogicalGet& get);
  Result<duckdb::unique_ptr<duckdb::Expression>> numbers_of_elements(
      const duckdb::Expression& list);
  Result<Stream> extract_fields(const duckdb::vector<duckdb::ColumnIndex>& columns,
                                const std::vector<bool>& decoded, Stream stream);
  Result<Stream> scan_filters(duckdb::LogicalGet& get, Stream stream);
  Result<Stream> translate_filter(duckdb::LogicalFilter& filter);
  Result<Stream> translate_projection(duckdb::LogicalProjection& projection);
  Result<Stream> translate_aggregate(duckdb::LogicalAggregate& aggregate);
  Result<Stream> aggregate_input(duckdb::LogicalAggregate& aggregate);
  Result<AggregateSpec> aggregate_spec(Expressions groups, Expressions calls, const Stream& input);
  Result<Stream> translate_grouping_sets(duckdb::LogicalAggregate& aggregate, Stream input);
  Result<Stream> translate_distinct(duckdb::LogicalDistinct& distinct);
  Result<Stream> distinct_of(Stream stream, const std::vector<size_t>& columns);
  Result<Stream> translate_unnest(duckdb::LogicalUnnest& unnest);
  void expect_merge(const duckdb::LogicalAggregate& aggregate);  // in plan_merge.cc
  Stream merge_before_unnest(Stream stream, Expressions& lists);
  Result<Stream> translate_union(duckdb::LogicalSetOperation& op);
  Result<Stream> translate_except(duckdb::LogicalSetOperation& op);
  Result<Stream> translate_cte(duckdb::LogicalMaterializedCTE& cte);
  Result<Stream> translate_values(duckdb::LogicalExpressionGet& get);
  Result<Stream> translate_rows(duckdb::LogicalColumnDataGet& get);
  Stream one_row(size_t table_index);
  Stream constant(std::vector<std::shared_ptr<const Delta>> rows, Scope scope);

  // In plan_ordered.cc.
  Result<Stream> translate_top_n(duckdb::LogicalTopN& top);
  Result<Stream> translate_limit(duckdb::LogicalLimit& limit);
  Result<Stream> translate_distinct_on(duckdb::LogicalDistinct& distinct);
  Result<std::vector<OrderKey>> order_keys(duckdb::vector<duckdb::BoundOrderByNode>& orders,
                                           const Scope& scope);
  Stream put_top_n(TopNSpec spec, const Stream& input);

  // In plan_windows.cc; sessions and the clock in plan_time.cc.
  Result<Stream> translate_window(duckdb::LogicalWindow& op);
  Result<std::optional<Stream>> translate_numbered(duckdb::LogicalFilter& filter,
                                                   const duckdb::LogicalProjection* above);
  Result<Stream> filter_by_clock(Expressions conditions, Stream stream);
  Result<Stream> translate_session(duckdb::LogicalWindow& op, Stream stream);

  // In plan_joins.cc; temporal joins in plan_temporal.cc.
  Result<Stream> translate_comparison_join(duckdb::LogicalComparisonJoin& join);
  static void bound_join_below(duckdb::LogicalFilter& filter);
  Result<Stream> translate_asof_join(duckdb::LogicalComparisonJoin& join);
  Result<Stream> translate_temporal_join(duckdb::LogicalComparisonJoin& join);
  Result<Stream> translate_versions(duckdb::LogicalOperator& op);
  Result<Stream> translate_delim_join(duckdb::LogicalComparisonJoin& join);
  Result<Stream> translate_outer(duckdb::LogicalOperator& outer, bool by_itself);
  Result<Stream> translate_row_by_row(duckdb::LogicalComparisonJoin& join);
  Result<Stream> translate_carried(duckdb::LogicalOperator& op);
  Result<Stream> translate_any_join(duckdb::LogicalAnyJoin& join);
  Result<Stream> translate_cross_product(duckdb::LogicalCrossProduct& product);
  Result<JoinSpec> join_spec(duckdb::JoinType type, const Stream& left, const Stream& right);
  Result<> join_conditions(duckdb::LogicalComparisonJoin& join, const Stream& left,
                           const Stream& right, JoinSpec& spec);
  Stream put_mark_join(const JoinSpec& spec, const Stream& left, const Stream& right,
                       size_t mark_index);
  Stream put_join(JoinSpec spec, const Stream& left, const Stream& right, size_t mark_index);

  duckdb::ClientContext& context_;
  const ObjectFinder& finder_;
  std::vector<FlowNode> nodes_;
  std::vector<Dataflow::Input> inputs_;
  std::optional<size_t> first_retracting_;
  std::map<size_t, Stream> ctes_;                                 // by their references' index
  std::map<const duckdb::LogicalOperator*, Stream> limits_done_;  // ORDER BYs, with their LIMIT
  const duckdb::LogicalProjection* above_filter_ = nullptr;  // of the filter to be translated next
  // An unnest before which equal rows may be put together, and what is read of its input above it.
  struct Merge {
    const duckdb::LogicalOperator* unnest;
    std::vector<duckdb::ColumnBinding> read;
  };
  std::optional<Merge> merge_;
  bool versions_ = false;           // the table that is read next gives its versions
  std::vector<Stream> delim_keys_;  // of the correlated joins around, innermost last
  // Inside a join that is done row by row: the outer stream, and what the inner side reads of it.
  struct RowByRow {
    const Stream* outer;
    duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>* delim_columns;
  };
  std::optional<RowByRow> row_by_row_;
};

}  // namespace millrace::flow
