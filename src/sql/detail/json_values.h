#pragma once

#include <simdjson.h>
#include <duckdb.hpp>

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sql/detail/json_shape.h"

namespace millrace::sql {

namespace json = simdjson::ondemand;

/// The text of the next value up to what follows it: a scalar whole, of an object or array its
/// first character; empty when the document has ended.
inline std::string_view token_of(json::value& value) {
  std::string_view token = value.raw_json_token();
  // Brackets that do not match can lead behind the document, where the parser counts the length
  // modulo 2^32 from a position to one before it.
  if (token.size() >= size_t{1} << 31) return {};
  return token.substr(0, token.find_last_not_of(" \t\r\n") + 1);
}

/// The field of a struct that has this name: exactly, else in other case; names.size(): none.
/// `expected`: where it mostly stands, since producers keep their order of fields.
size_t find_name(const std::vector<std::string>& names, std::string_view name, size_t expected);

/// Reads JSON values into flat vectors, by type. What it keeps between values is only room, and why
/// the last one did not fit.
class JsonValues {
 public:
  /// Reads `value` into row `row` of `into`; false when it does not fit (reason says why).
  bool read(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  /// read() of a value that nobody asked for.
  bool check(const Shape& shape, json::value& value);
  /// Passes over a value of which no type is known, and checks that it is JSON.
  bool skip(json::value& value, int depth = 0);
  /// A string's text, or a number's, into row `row` of `into`; and the same when nobody asked for
  /// it. False when it does not fit.
  bool read_string(const Shape& shape, std::string_view text, duckdb::Vector& into, size_t row);
  bool check_string(const Shape& shape, std::string_view text);
  bool read_decimal(const Shape& shape, std::string_view number, duckdb::Vector& into, size_t row);
  bool check_decimal(const Shape& shape, std::string_view number) {
    return read_decimal(shape, number, spare_scalar_, 0);
  }
  /// A JSON null stands next.
  static bool is_null(json::value& value) { return token_of(value).starts_with('n'); }
  /// Reads the fields of a struct: `known(number, value)` those that it has, the others are passed
  /// over. Both answer false when a value does not fit.
  template <typename Known>
  bool each_field(const Shape& shape, json::value& value, Known known) {
    json::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) return fail(shape, token_of(value));
    size_t position = 0;
    for (auto result : object) {
      json::field field;
      if (const auto error = std::move(result).get(field); error != simdjson::SUCCESS)
        return fail(error);
      std::string_view name;
      if (!name_of(field, shape.names, position, &name)) return false;
      json::value inner = field.value();
      const size_t at = find_name(shape.names, name, position++);
      const bool is_known = at < shape.names.size();
      if (is_known ? !known(at, inner) : !skip(inner))
        return within("." + (is_known ? shape.names[at] : std::string(name)));
    }
    return true;
  }

  std::string reason;

  bool fail(const Shape& shape, std::string_view found);
  bool fail(simdjson::error_code error);
  /// Says where in the record it happened, from the inside out.
  bool within(const std::string& place);

 private:
  /// The field's name. False: it is not valid JSON.
  bool name_of(json::field& field, const std::vector<std::string>& names, size_t expected,
               std::string_view* name);
  /// Passes over a string whose text is known from its token. Left alone, and followed by a ':',
  /// the parser would take it for a key and go on behind what is no JSON.
  bool take_plain(json::value& value);
  bool read_scalar(const Shape& shape, std::string_view token, json::value& value,
                   duckdb::Vector& into, size_t row);
  bool read_number(const Shape& shape, std::string_view token, duckdb::Vector& into, size_t row);
  bool read_quoted(const Shape& shape, std::string_view token, json::value& value,
                   duckdb::Vector& into, size_t row);
  bool read_raw(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_struct(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_list(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_array(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_map(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool read_map_object(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row);
  bool check_list(const Shape& shape, json::value& value);
  duckdb::Vector& spare(const Shape& shape);

  std::string scratch_;
  // Where checked values go.
  struct Spare {
    duckdb::DataChunk row;
    size_t uses = 0;
  };
  duckdb::Vector spare_scalar_{duckdb::LogicalType::HUGEINT, 1};  // as wide as any scalar
  std::unordered_map<const Shape*, Spare> spares_;
};

/// Whether `text` is one JSON value, by what read() takes for JSON.
bool is_json(std::string_view text);

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
