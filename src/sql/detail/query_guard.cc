#include "sql/detail/query_guard.h"

#include <duckdb/optimizer/optimizer_extension.hpp>
#include <duckdb/planner/operator/logical_comparison_join.hpp>

namespace millrace::sql {

namespace {

void refuse_endless(const duckdb::LogicalOperator& plan) {
  if (plan.type == duckdb::LogicalOperatorType::LOGICAL_ASOF_JOIN) {
    const auto kept = plan.Cast<duckdb::LogicalComparisonJoin>().join_type;
    if (kept == duckdb::JoinType::RIGHT || kept == duckdb::JoinType::OUTER) {
      throw duckdb::NotImplementedException(
          "ASOF RIGHT and ASOF FULL joins are for materialized views only: as a query they may "
          "never end. CREATE MATERIALIZED VIEW of it, or ASOF LEFT JOIN and the other rows by "
          "UNION ALL");
    }
  }
  for (const auto& child : plan.children) refuse_endless(*child);
}

}  // namespace

void register_query_guard(duckdb::DBConfig& config) {
  duckdb::OptimizerExtension guard;
  guard.pre_optimize_function = [](duckdb::OptimizerExtensionInput&,
                                   duckdb::unique_ptr<duckdb::LogicalOperator>& plan) {
    refuse_endless(*plan);
  };
  duckdb::OptimizerExtension::Register(config, std::move(guard));
}

}  // namespace millrace::sql
