#include "sql/detail/query_guard.h"

#include <duckdb/optimizer/optimizer_extension.hpp>
#include <duckdb/planner/operator/logical_comparison_join.hpp>

namespace millrace::sql {

namespace {

void check(const duckdb::LogicalOperator& plan) {
  if (plan.type == duckdb::LogicalOperatorType::LOGICAL_ASOF_JOIN) {
    const auto& join = plan.Cast<duckdb::LogicalComparisonJoin>();
    if (join.join_type == duckdb::JoinType::RIGHT || join.join_type == duckdb::JoinType::OUTER) {
      throw duckdb::NotImplementedException(
          "ASOF RIGHT and ASOF FULL joins are for materialized views only: as a query they may "
          "never end. CREATE MATERIALIZED VIEW of it, or ASOF LEFT JOIN and the other rows by "
          "UNION ALL");
    }
    for (const auto& condition : join.conditions) {
      if (condition.comparison != duckdb::ExpressionType::COMPARE_NOT_DISTINCT_FROM) continue;
      throw duckdb::NotImplementedException(
          "ASOF joins by IS NOT DISTINCT FROM are for materialized views only: a query leaves rows "
          "out whose keys are NULL. CREATE MATERIALIZED VIEW of it, or compare with =");
    }
  }
  for (const auto& child : plan.children) check(*child);
}

}  // namespace

void register_query_guard(duckdb::DBConfig& config) {
  duckdb::OptimizerExtension guard;
  guard.pre_optimize_function = [](duckdb::OptimizerExtensionInput&,
                                   duckdb::unique_ptr<duckdb::LogicalOperator>& plan) {
    check(*plan);
  };
  duckdb::OptimizerExtension::Register(config, std::move(guard));
}

}  // namespace millrace::sql
