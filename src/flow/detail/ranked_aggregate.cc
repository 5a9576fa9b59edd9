#include "flow/detail/ranked_aggregate.h"

#include <algorithm>
#include <cmath>
#include <duckdb/common/serializer/binary_deserializer.hpp>
#include <duckdb/common/serializer/binary_serializer.hpp>
#include <duckdb/common/serializer/memory_stream.hpp>
#include <duckdb/common/types/hugeint.hpp>
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

/// Whether values are equal only if their bytes are.
bool is_equal_by_bytes(const duckdb::LogicalType& type) {
  return is_ordered_by_keys(type) && type.id() != duckdb::LogicalTypeId::FLOAT &&
         type.id() != duckdb::LogicalTypeId::DOUBLE;
}

__int128 widen(duckdb::hugeint_t value) {
  return static_cast<__int128>(static_cast<unsigned __int128>(value.upper) << 64 | value.lower);
}

// How DuckDB writes down what a quantile function is bound to.
constexpr duckdb::field_id_t kQuantiles = 100, kOrder = 101, kDescending = 102;

}  // namespace

/// As DuckDB counts.
Quantile::Place Quantile::place(int64_t rows) const {
  if (!discrete) {
    const double rank = static_cast<double>(rows - 1) * share;
    const double lower = std::floor(rank);
    return {static_cast<int64_t>(lower), static_cast<int64_t>(std::ceil(rank)), rank - lower};
  }
  int64_t behind = 0;
  if (denominator != 0)
    behind = static_cast<int64_t>((rows * denominator - rows * numerator) / denominator);
  else
    behind = static_cast<int64_t>(
        std::floor(static_cast<double>(rows) - static_cast<double>(rows) * share));
  const int64_t rank = std::max<int64_t>(1, rows - behind) - 1;
  return {rank, rank, 0};
}

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
  } else if (arguments == 1 && name == "mode") {
    out.by_weight = true;
    out.needed = {0};
    if (!is_equal_by_bytes(bound.children[0]->return_type)) return std::nullopt;
    return out;
  } else if (arguments == 1 && is_one_of("quantile_cont", "quantile_disc", "quantile")) {
    out.by = 0;
    out.needed = {0};
    out.pick = Pick::kQuantiles;
    if (!out.read_quantiles(bound)) return std::nullopt;
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

bool RankedAggregate::read_quantiles(const duckdb::BoundAggregateExpression& bound) {
  const auto& function = bound.function;
  if (!function.GetSerializeCallback() || !function.GetDeserializeCallback() || !bound.bind_info)
    return false;
  duckdb::MemoryStream stream;
  duckdb::BinarySerializer writer(stream);
  writer.Begin();
  function.GetSerializeCallback()(writer, bound.bind_info.get(), function);
  writer.End();
  stream.Rewind();
  duckdb::BinaryDeserializer reader(stream);
  reader.Begin();
  duckdb::vector<duckdb::Value> shares;
  duckdb::vector<duckdb::idx_t> order;
  reader.ReadProperty(kQuantiles, "quantiles", shares);
  reader.ReadProperty(kOrder, "order", order);
  reader.ReadProperty(kDescending, "desc", descending);
  for (const auto& share : shares) {
    Quantile quantile;
    quantile.discrete = function.name != "quantile_cont";
    quantile.share = share.GetValue<double>();
    if (share.type().id() == duckdb::LogicalTypeId::DECIMAL) {
      quantile.numerator = widen(duckdb::IntegralValue::Get(share));
      quantile.denominator =
          widen(duckdb::Hugeint::POWERS_OF_TEN[duckdb::DecimalType::GetScale(share.type())]);
    }
    quantiles.push_back(quantile);
  }
  return !quantiles.empty();
}

duckdb::unique_ptr<duckdb::FunctionData> RankedAggregate::quantile_between_two(
    const duckdb::BoundAggregateExpression& bound, double fraction) const {
  duckdb::MemoryStream stream;
  duckdb::BinarySerializer writer(stream);
  writer.Begin();
  writer.WriteProperty(kQuantiles, "quantiles",
                       duckdb::vector<duckdb::Value>{duckdb::Value::DOUBLE(fraction)});
  writer.WriteProperty(kOrder, "order", duckdb::vector<duckdb::idx_t>{0});
  writer.WriteProperty(kDescending, "desc", descending);
  writer.End();
  stream.Rewind();
  duckdb::BinaryDeserializer reader(stream);
  reader.Begin();
  duckdb::AggregateFunction function = bound.function;
  return function.GetDeserializeCallback()(reader, function);
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
