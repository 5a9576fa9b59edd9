#include "pgwire/detail/types.h"

namespace millrace::pgwire::detail {
namespace {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;

struct ArrayPair {
  int32_t element, array;
};
constexpr ArrayPair kArrays[] = {
    {oid::kBool, 1000},     {oid::kBytea, 1001},       {oid::kChar, 1002},   {oid::kName, 1003},
    {oid::kInt2, 1005},     {oid::kInt4, 1007},        {oid::kText, 1009},   {oid::kBpchar, 1014},
    {oid::kVarchar, 1015},  {oid::kInt8, 1016},        {oid::kFloat4, 1021}, {oid::kFloat8, 1022},
    {oid::kOid, 1028},      {oid::kTimestamp, 1115},   {oid::kDate, 1182},   {oid::kTime, 1183},
    {oid::kNumeric, 1231},  {oid::kTimestamptz, 1185}, {oid::kTimetz, 1270}, {oid::kUuid, 2951},
    {oid::kInterval, 1187}, {oid::kJson, 199},         {oid::kJsonb, 3807},
};

int32_t decimal_modifier(const LogicalType& type) {
  return ((duckdb::DecimalType::GetWidth(type) << 16) | duckdb::DecimalType::GetScale(type)) + 4;
}

bool is_nested(const LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::MAP:
    case LogicalTypeId::UNION:
    case LogicalTypeId::LIST:
    case LogicalTypeId::ARRAY:
      return true;
    default:
      return false;
  }
}

WireType list_type(const LogicalType& child) {
  if (is_nested(child)) return {oid::kJson};
  WireType element = wire_type(child);
  int32_t array = array_of(element.oid);
  return array == 0 ? WireType{oid::kJson} : WireType{array, -1, element.modifier};
}

}  // namespace

WireType wire_type(const LogicalType& type) {
  switch (type.id()) {
    case LogicalTypeId::BOOLEAN:
      return {oid::kBool, 1};
    case LogicalTypeId::TINYINT:
    case LogicalTypeId::UTINYINT:
    case LogicalTypeId::SMALLINT:
      return {oid::kInt2, 2};
    case LogicalTypeId::USMALLINT:
    case LogicalTypeId::INTEGER:
      return {oid::kInt4, 4};
    case LogicalTypeId::UINTEGER:
    case LogicalTypeId::BIGINT:
      return {oid::kInt8, 8};
    case LogicalTypeId::UBIGINT:
    case LogicalTypeId::HUGEINT:
    case LogicalTypeId::UHUGEINT:
    case LogicalTypeId::BIGNUM:
      return {oid::kNumeric};
    case LogicalTypeId::DECIMAL:
      return {oid::kNumeric, -1, decimal_modifier(type)};
    case LogicalTypeId::FLOAT:
      return {oid::kFloat4, 4};
    case LogicalTypeId::DOUBLE:
      return {oid::kFloat8, 8};
    case LogicalTypeId::BLOB:
      return {oid::kBytea};
    case LogicalTypeId::DATE:
      return {oid::kDate, 4};
    case LogicalTypeId::TIME:
    case LogicalTypeId::TIME_NS:
      return {oid::kTime, 8};
    case LogicalTypeId::TIME_TZ:
      return {oid::kTimetz, 12};
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP_NS:
      return {oid::kTimestamp, 8};
    case LogicalTypeId::TIMESTAMP_TZ:
      return {oid::kTimestamptz, 8};
    case LogicalTypeId::INTERVAL:
      return {oid::kInterval, 16};
    case LogicalTypeId::UUID:
      return {oid::kUuid, 16};
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::MAP:
    case LogicalTypeId::UNION:
      return {oid::kJson};
    case LogicalTypeId::LIST:
      return list_type(duckdb::ListType::GetChildType(type));
    case LogicalTypeId::ARRAY:
      return list_type(duckdb::ArrayType::GetChildType(type));
    default:
      return {type.IsJSONType() ? oid::kJson : oid::kText};
  }
}

LogicalType logical_type(int32_t type) {
  switch (type) {
    case oid::kBool:
      return LogicalType::BOOLEAN;
    case oid::kBytea:
      return LogicalType::BLOB;
    case oid::kInt2:
      return LogicalType::SMALLINT;
    case oid::kInt4:
      return LogicalType::INTEGER;
    case oid::kInt8:
    case oid::kOid:
      return LogicalType::BIGINT;
    case oid::kFloat4:
      return LogicalType::FLOAT;
    case oid::kFloat8:
      return LogicalType::DOUBLE;
    case oid::kChar:
    case oid::kName:
    case oid::kText:
    case oid::kBpchar:
    case oid::kVarchar:
    case oid::kJson:
    case oid::kJsonb:
      return LogicalType::VARCHAR;
    case oid::kDate:
      return LogicalType::DATE;
    case oid::kTime:
      return LogicalType::TIME;
    case oid::kTimetz:
      return LogicalType::TIME_TZ;
    case oid::kTimestamp:
      return LogicalType::TIMESTAMP;
    case oid::kTimestamptz:
      return LogicalType::TIMESTAMP_TZ;
    case oid::kInterval:
      return LogicalType::INTERVAL;
    case oid::kUuid:
      return LogicalType::UUID;
    default:
      break;
  }
  int32_t element = element_of(type);
  if (element == 0) return LogicalType::UNKNOWN;
  LogicalType child = logical_type(element);
  return child.id() == LogicalTypeId::UNKNOWN ? child : LogicalType::LIST(child);
}

int32_t array_of(int32_t element) {
  for (const ArrayPair& pair : kArrays) {
    if (pair.element == element) return pair.array;
  }
  return 0;
}

int32_t element_of(int32_t array) {
  for (const ArrayPair& pair : kArrays) {
    if (pair.array == array) return pair.element;
  }
  return 0;
}

std::span<const NamedType> named_types() {
  static constexpr NamedType kTypes[] = {
      {oid::kBool, "bool"},
      {oid::kBytea, "bytea"},
      {oid::kChar, "char"},
      {oid::kName, "name"},
      {oid::kInt8, "int8"},
      {oid::kInt2, "int2"},
      {oid::kInt4, "int4"},
      {oid::kText, "text"},
      {oid::kOid, "oid"},
      {oid::kJson, "json"},
      {oid::kFloat4, "float4"},
      {oid::kFloat8, "float8"},
      {oid::kBpchar, "bpchar"},
      {oid::kVarchar, "varchar"},
      {oid::kDate, "date"},
      {oid::kTime, "time"},
      {oid::kTimestamp, "timestamp"},
      {oid::kTimestamptz, "timestamptz"},
      {oid::kInterval, "interval"},
      {oid::kTimetz, "timetz"},
      {oid::kNumeric, "numeric"},
      {oid::kUuid, "uuid"},
      {oid::kJsonb, "jsonb"},
  };
  return kTypes;
}

}  // namespace millrace::pgwire::detail
