#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace::sql {

/// How a type looks in our JSON.
enum class Form : uint8_t {
  kNull,
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kHuge,
  kUhuge,
  kFloat,
  kDouble,
  kDecimal,
  kText,
  kJson,
  kBlob,
  kTimestamp,    // microseconds in the vector
  kTimestampS,   // and seconds
  kTimestampMs,  // and so on
  kTimestampNs,
  kTimestampTz,
  kDate,
  kTime,
  kInterval,
  kUuid,
  kEnum,
  kCast,  // a string that DuckDB's cast reads and writes
  kStruct,
  kList,
  kArray,
  kMap,
};

/// A type with what reading and writing it needs, looked up once.
struct Shape {
  duckdb::LogicalType type;
  Form form = Form::kNull;
  uint8_t width = 0, scale = 0;    // of a decimal
  size_t length = 0;               // of an array
  std::vector<std::string> names;  // of a struct's fields
  std::vector<Shape> children;     // fields; element; key and value
};

/// Errors: kNotSupported, naming the type.
Result<Shape> shape_of(const duckdb::LogicalType& type);

}  // namespace millrace::sql
