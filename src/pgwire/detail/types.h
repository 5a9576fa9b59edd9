#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::pgwire::detail {

/// PostgreSQL's names for types on the wire, from its catalog pg_type.
namespace oid {
inline constexpr int32_t kBool = 16, kBytea = 17, kChar = 18, kName = 19, kInt8 = 20, kInt2 = 21,
                         kInt4 = 23, kText = 25, kOid = 26, kJson = 114, kFloat4 = 700,
                         kFloat8 = 701, kUnknown = 705, kBpchar = 1042, kVarchar = 1043,
                         kDate = 1082, kTime = 1083, kTimestamp = 1114, kTimestamptz = 1184,
                         kInterval = 1186, kTimetz = 1266, kNumeric = 1700, kUuid = 2950,
                         kJsonb = 3802;
}  // namespace oid

/// What a RowDescription says of a column's type.
struct WireType {
  int32_t oid = oid::kText;
  int16_t size = -1;      // bytes; -1: varies
  int32_t modifier = -1;  // numeric(p,s) as ((p << 16) | s) + 4
  bool operator==(const WireType&) const = default;
};

/// How a DuckDB type goes out. Every type has an answer: what PostgreSQL lacks becomes numeric
/// (unsigned and huge integers), json (STRUCT, MAP, UNION, lists of those, lists of lists) or text.
WireType wire_type(const duckdb::LogicalType& type);

/// What a parameter of PostgreSQL type `oid` is for DuckDB; UNKNOWN where the client leaves it open
/// or the type is strange to us. numeric is UNKNOWN too: its width is each value's own.
duckdb::LogicalType logical_type(int32_t oid);

/// The array type of an element type and back; 0 when there is none.
int32_t array_of(int32_t element);
int32_t element_of(int32_t array);

/// PostgreSQL's name of each type above.
struct NamedType {
  int32_t oid;
  std::string_view name;
};
std::span<const NamedType> named_types();

}  // namespace millrace::pgwire::detail
