#pragma once

#include <simdjson.h>
#include <duckdb.hpp>

#include <string>
#include <string_view>

#include "sql/detail/json_shape.h"

namespace millrace::sql {

namespace json = simdjson::ondemand;

/// Reads JSON values into flat vectors, by type. Keeps no state but why the last one did not fit.
class JsonValues {
 public:
  /// Reads `value` into row `row` of `into`; false when it does not fit (reason() says why).
  bool read(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  /// Passes over a value that nobody asked for, and checks that it is JSON.
  bool skip(json::value& value, int depth = 0);
  /// A JSON null stands next.
  static bool is_null(json::value& value) {
    const std::string_view token = value.raw_json_token();
    return !token.empty() && token[0] == 'n';
  }

  std::string reason;

  bool fail(const Shape& shape, std::string_view found);
  bool fail(simdjson::error_code error);
  /// Says where in the record it happened, from the inside out.
  bool within(const std::string& place);

 private:
  bool read_scalar(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_number(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_string(const Shape& shape, std::string_view text, duckdb::Vector& into, size_t row);
  bool read_raw(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_struct(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_list(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_array(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_map(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_map_object(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);

  std::string scratch_;
};

/// `vector[row]` holds `value`, and is not NULL.
template <typename T>
void put(duckdb::Vector& vector, size_t row, T value) {
  duckdb::FlatVector::GetDataUnsafe<T>(vector)[row] = value;
  auto& validity = duckdb::FlatVector::Validity(vector);
  if (!validity.AllValid()) validity.SetValid(row);
}
void put_string(duckdb::Vector& vector, size_t row, std::string_view text);
void put_null(duckdb::Vector& vector, size_t row);

}  // namespace millrace::sql
