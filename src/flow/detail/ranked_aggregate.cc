#include "flow/detail/ranked_aggregate.h"

#include <duckdb/function/create_sort_key.hpp>
#include <string_view>

namespace millrace::flow {

namespace {

/// Whether values stand in the order of their sort keys for every aggregate, and equal ones have
/// equal keys.
bool is_ordered_by_keys(const duckdb::LogicalType& type) {
  switch (type.id()) {
    case duckdb::LogicalTypeId::BOOLEAN:
    case duckdb::LogicalTypeId::DECIMAL:
    case duckdb::LogicalTypeId::FLOAT:
    case duckdb::LogicalTypeId::DOUBLE:
    case duckdb::LogicalTypeId::DATE:
    case duckdb::LogicalTypeId::TIME:
    case duckdb::LogicalTypeId::TIMESTAMP:
    case duckdb::LogicalTypeId::TIMESTAMP_SEC:
    case duckdb::LogicalTypeId::TIMESTAMP_MS:
    case duckdb::LogicalTypeId::TIMESTAMP_NS:
    case duckdb::LogicalTypeId::TIMESTAMP_TZ:
    case duckdb::LogicalTypeId::BLOB:
      return true;
    case duckdb::LogicalTypeId::VARCHAR:
      return duckdb::StringType::GetCollation(type).empty();
    default:
      return type.IsIntegral();
  }
}

}  // namespace

std::optional<RankedAggregate> RankedAggregate::of(const duckdb::BoundAggregateExpression& bound) {
  const std::string_view name = bound.function.name;
  const size_t arguments = bound.children.size();
  const auto is_one_of = [&](auto... names) { return ((name == names) || ...); };
  RankedAggregate out;
  out.descending =
      is_one_of("max", "arg_max", "argmax", "max_by", "arg_max_null", "arg_max_nulls_last");
  if (arguments == 1 && is_one_of("first", "arbitrary")) return out;
  if (arguments == 1 && is_one_of("min", "max", "median")) {
    out.by = 0;
    out.needed = {0};
    if (name == "median") out.pick = Pick::kMiddle;
  } else if (arguments == 2 &&
             is_one_of("arg_min", "argmin", "min_by", "arg_max", "argmax", "max_by")) {
    out.by = 1;
    out.needed = {0, 1};
  } else if (arguments == 2 && is_one_of("arg_min_null", "arg_max_null")) {
    out.by = 1;
    out.needed = {1};
  } else if (arguments == 2 && is_one_of("arg_min_nulls_last", "arg_max_nulls_last")) {
    out.by = 1;
  } else {
    return std::nullopt;
  }
  if (!is_ordered_by_keys(bound.children[*out.by]->return_type)) return std::nullopt;
  return out;
}

void RankedAggregate::sort_keys(duckdb::DataChunk& arguments, duckdb::Vector& keys) const {
  duckdb::DataChunk ordering;
  ordering.InitializeEmpty({arguments.data[*by].GetType()});
  ordering.data[0].Reference(arguments.data[*by]);
  ordering.SetCardinality(arguments.size());
  const auto order = descending ? duckdb::OrderType::DESCENDING : duckdb::OrderType::ASCENDING;
  duckdb::CreateSortKeyHelpers::CreateSortKey(
      ordering, {duckdb::OrderModifiers(order, duckdb::OrderByNullType::NULLS_LAST)}, keys);
  keys.Flatten(arguments.size());
}

}  // namespace millrace::flow
