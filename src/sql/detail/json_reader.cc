#include "sql/detail/json_reader.h"

#include <fmt/format.h>

#include <cstring>
#include <duckdb/common/vector_operations/vector_operations.hpp>
#include <optional>
#include <span>
#include <unordered_map>

#include "sql/detail/json_plain.h"
#include "sql/detail/json_values.h"

namespace millrace::sql {

namespace {

constexpr size_t kNowhere = static_cast<size_t>(-1);

/// Where a value goes, and which of its fields go somewhere by themselves.
struct Place {
  size_t target = kNowhere;
  std::vector<Place> fields;  // of a struct; empty: none goes anywhere by itself

  bool nowhere() const { return target == kNowhere && fields.empty(); }
};

void add_place(Place& place, const Shape& shape, std::span<const size_t> path, size_t target) {
  if (path.empty()) {
    place.target = target;
    return;
  }
  place.fields.resize(shape.children.size());
  add_place(place.fields[path[0]], shape.children[path[0]], path.subspan(1), target);
}

void put_nulls(const Place& place, duckdb::DataChunk& out, size_t row) {
  if (place.target != kNowhere) put_null(out.data[place.target], row);
  for (const Place& field : place.fields) put_nulls(field, out, row);
}

/// The fields of a struct that was read whole.
void copy_fields(const Place& place, duckdb::Vector& whole, duckdb::DataChunk& out, size_t row) {
  auto& entries = duckdb::StructVector::GetEntries(whole);
  for (size_t i = 0; i < place.fields.size(); ++i) {
    const Place& field = place.fields[i];
    if (field.target != kNowhere)
      duckdb::VectorOperations::Copy(*entries[i], out.data[field.target], row + 1, row, row);
    if (!field.fields.empty()) copy_fields(field, *entries[i], out, row);
  }
}

}  // namespace

struct JsonReader::Impl {
  static constexpr size_t kUnknown = static_cast<size_t>(-1);
  /// What stood at a position of the last object. Producers keep their order of fields, so that one
  /// comparison mostly finds the column.
  struct Expected {
    std::string name;
    size_t column = kUnknown;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };

  std::vector<Column> columns;
  std::optional<PlainReader> plain;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> by_name;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> by_lower_name;
  std::vector<Expected> expected;
  std::vector<uint64_t> seen;  // the record that last had the column
  uint64_t record = 0;
  simdjson::ondemand::parser parser;
  std::string padded;
  std::vector<Place> places;  // of the columns
  JsonValues values;
  std::string reason;

  size_t find(std::string_view name) const;
  size_t column_of(json::field& field, const char* end, size_t position, std::string_view* name);
  bool read_fields(json::object object, const char* end, duckdb::DataChunk& out, size_t row);
  bool read_column(size_t column, json::value& value, duckdb::DataChunk& out, size_t row);
  bool read_value(const Shape& shape, const Place& place, json::value& value,
                  duckdb::DataChunk& out, size_t row);
  bool read_struct(const Shape& shape, const Place& place, json::value& value,
                   duckdb::DataChunk& out, size_t row);
  bool finish(duckdb::DataChunk& out, size_t row);
  bool fail(std::string text) {
    reason = std::move(text);
    return false;
  }
};

size_t JsonReader::Impl::find(std::string_view name) const {
  if (const auto at = by_name.find(name); at != by_name.end()) return at->second;
  const std::string lower = duckdb::StringUtil::Lower(std::string(name));
  const auto at = by_lower_name.find(lower);
  return at == by_lower_name.end() ? kUnknown : at->second;
}

size_t JsonReader::Impl::column_of(json::field& field, const char* end, size_t position,
                                   std::string_view* name) {
  const char* raw = field.key().raw();
  const auto left = static_cast<size_t>(end - raw);
  if (position < expected.size()) {
    const Expected& e = expected[position];
    if (e.name.size() < left && raw[e.name.size()] == '"' &&
        std::memcmp(raw, e.name.data(), e.name.size()) == 0) {
      *name = e.name;
      return e.column;
    }
  }
  const auto* quote = static_cast<const char*>(std::memchr(raw, '"', left));
  const size_t length = quote ? static_cast<size_t>(quote - raw) : 0;
  std::string_view key(raw, length);
  if (key.find('\\') != std::string_view::npos) {
    if (field.unescaped_key().get(key) != simdjson::SUCCESS) return kUnknown;
    *name = key;
    return find(key);
  }
  const size_t column = find(key);
  // A record with thousands of unknown fields teaches nothing.
  if (position < 2 * columns.size() + 16) {
    if (position >= expected.size()) expected.resize(position + 1);
    expected[position].name = key;
    expected[position].column = column;
  }
  *name = key;
  return column;
}

bool JsonReader::Impl::read_struct(const Shape& shape, const Place& place, json::value& value,
                                   duckdb::DataChunk& out, size_t row) {
  if (JsonValues::is_null(value)) {
    put_nulls(place, out, row);
    return values.check(shape, value);
  }
  put_nulls(place, out, row);  // what the object leaves out
  return values.each_field(shape, value, [&](size_t at, json::value& inner) {
    return read_value(shape.children[at], place.fields[at], inner, out, row);
  });
}

bool JsonReader::Impl::read_value(const Shape& shape, const Place& place, json::value& value,
                                  duckdb::DataChunk& out, size_t row) {
  if (place.nowhere()) return values.check(shape, value);
  if (place.target == kNowhere) return read_struct(shape, place, value, out, row);
  duckdb::Vector& whole = out.data[place.target];
  if (!values.read(shape, value, whole, row)) return false;
  if (!place.fields.empty()) copy_fields(place, whole, out, row);
  return true;
}

bool JsonReader::Impl::read_column(size_t column, json::value& value, duckdb::DataChunk& out,
                                   size_t row) {
  const Column& c = columns[column];
  if (c.not_null && JsonValues::is_null(value))
    return fail(fmt::format("column {}: NOT NULL, found null", c.name));
  if (!read_value(c.shape, places[column], value, out, row))
    return fail(fmt::format("column {}{}", c.name, values.reason));
  seen[column] = record;
  return true;
}

bool JsonReader::Impl::read_fields(json::object object, const char* end, duckdb::DataChunk& out,
                                   size_t row) {
  size_t position = 0;
  for (auto result : object) {
    json::field field;
    if (const auto error = std::move(result).get(field); error != simdjson::SUCCESS)
      return fail(fmt::format("not valid JSON: {}", simdjson::error_message(error)));
    std::string_view name;
    const size_t column = column_of(field, end, position++, &name);
    json::value value = field.value();
    if (column == kUnknown) {
      if (!values.skip(value)) return fail(fmt::format("field {}{}", name, values.reason));
    } else if (!read_column(column, value, out, row)) {
      return false;
    }
  }
  return true;
}

bool JsonReader::Impl::finish(duckdb::DataChunk& out, size_t row) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (seen[i] == record) continue;
    if (columns[i].not_null)
      return fail(
          fmt::format("column {}: NOT NULL, and the record has no such field", columns[i].name));
    put_nulls(places[i], out, row);
  }
  return true;
}

JsonReader::JsonReader(std::vector<Column> columns, bool plain) : impl_(std::make_unique<Impl>()) {
  Impl& i = *impl_;
  i.columns = std::move(columns);
  i.seen.resize(i.columns.size(), 0);
  i.places.resize(i.columns.size());
  for (size_t c = 0; c < i.columns.size(); ++c) {
    i.by_name.emplace(i.columns[c].name, c);
    i.by_lower_name.emplace(duckdb::StringUtil::Lower(i.columns[c].name), c);
    for (const Asked& asked : i.columns[c].asked)
      add_place(i.places[c], i.columns[c].shape, asked.path, asked.target);
  }
  if (plain) i.plain.emplace(i.columns);
}

JsonReader::~JsonReader() = default;

const std::string& JsonReader::reason() const { return impl_->reason; }

void JsonReader::begin(duckdb::DataChunk& out) {
  if (impl_->plain) impl_->plain->begin(out);
}

void JsonReader::read_nothing(duckdb::DataChunk& out, size_t row) {
  for (const Place& place : impl_->places) put_nulls(place, out, row);
}

bool JsonReader::read(std::string_view json, size_t readable, duckdb::DataChunk& out, size_t row) {
  Impl& i = *impl_;
  static_assert(PlainReader::kPadding <= simdjson::SIMDJSON_PADDING);
  if (readable < json.size() + simdjson::SIMDJSON_PADDING) {
    i.padded.resize(std::max(i.padded.size(), json.size() + simdjson::SIMDJSON_PADDING));
    std::memcpy(i.padded.data(), json.data(), json.size());
    json = std::string_view(i.padded.data(), json.size());
    readable = i.padded.size();
  }
  if (i.plain && i.plain->read(json, row)) return true;
  ++i.record;
  simdjson::ondemand::document document;
  if (const auto error = i.parser.iterate(json.data(), json.size(), readable).get(document);
      error != simdjson::SUCCESS)
    return i.fail(fmt::format("not valid JSON: {}", simdjson::error_message(error)));
  json::object object;
  if (const auto error = document.get_object().get(object); error != simdjson::SUCCESS) {
    if (error == simdjson::INCORRECT_TYPE) return i.fail("not a JSON object");
    return i.fail(fmt::format("not valid JSON: {}", simdjson::error_message(error)));
  }
  if (!i.read_fields(object, json.data() + json.size(), out, row)) return false;
  const char* rest = nullptr;
  if (document.current_location().get(rest) == simdjson::SUCCESS)
    return i.fail("not valid JSON: something follows the object");
  return i.finish(out, row);
}

}  // namespace millrace::sql
