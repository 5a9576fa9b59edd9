#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "sql/detail/json_values.h"

namespace millrace::sql {
namespace {

using duckdb::FlatVector;
using duckdb::ListVector;
using simdjson::SUCCESS;

/// Makes room for one more element at `at` of a list's child.
void reserve_element(duckdb::Vector& list, size_t at) {
  const size_t capacity = ListVector::GetListCapacity(list);
  if (at >= capacity) ListVector::Reserve(list, std::max<size_t>(2 * capacity, at + 1));
}

/// A map's entries must differ in their keys, or DuckDB's map functions go astray.
bool keys_differ(duckdb::Vector& map, size_t row) {
  duckdb::SelectionVector selection(1);
  selection.set_index(0, row);
  return duckdb::MapVector::CheckMapValidity(map, 1, selection) == duckdb::MapInvalidReason::VALID;
}

}  // namespace

size_t find_name(const std::vector<std::string>& names, std::string_view name, size_t expected) {
  if (expected < names.size() && names[expected] == name) return expected;
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return i;
  for (size_t i = 0; i < names.size(); ++i)
    if (duckdb::StringUtil::CIEquals(names[i], std::string(name))) return i;
  return names.size();
}

bool JsonValues::name_of(json::field& field, const std::vector<std::string>& names, size_t expected,
                         std::string_view* name) {
  if (expected < names.size()) {
    const std::string& likely = names[expected];
    const char* raw = field.key().raw();
    // Negative behind a document whose brackets do not match (token_of).
    const std::ptrdiff_t extent = field.value().raw_json_token().data() - raw;
    if (std::ssize(likely) < extent && raw[likely.size()] == '"' &&
        std::memcmp(raw, likely.data(), likely.size()) == 0 &&
        std::memchr(raw, '\\', likely.size()) == nullptr) {
      *name = likely;
      return true;
    }
  }
  const auto error = field.unescaped_key().get(*name);
  return error == SUCCESS || fail(error);
}

bool JsonValues::read_struct(const Shape& shape, json::value& value, duckdb::Vector& into,
                             size_t row) {
  auto& fields = duckdb::StructVector::GetEntries(into);
  auto& validity = FlatVector::Validity(into);
  if (!validity.AllValid()) validity.SetValid(row);
  for (auto& field : fields) put_null(*field, row);  // what the object leaves out
  return each_field(shape, value, [&](size_t at, json::value& inner) {
    return read(shape.children[at], inner, *fields[at], row);
  });
}

bool JsonValues::check_list(const Shape& shape, json::value& value) {
  json::array array;
  if (value.get_array().get(array) != SUCCESS) return fail(shape, token_of(value));
  size_t count = 0;
  for (auto element : array) {
    json::value inner;
    if (const auto error = element.get(inner); error != SUCCESS) return fail(error);
    if (!check(shape.children[0], inner)) return within(fmt::format("[{}]", count));
    ++count;
  }
  return true;
}

bool JsonValues::read_list(const Shape& shape, json::value& value, duckdb::Vector& into,
                           size_t row) {
  json::array array;
  if (value.get_array().get(array) != SUCCESS) return fail(shape, token_of(value));
  const size_t offset = ListVector::GetListSize(into);
  size_t count = 0;
  for (auto element : array) {
    json::value inner;
    if (const auto error = element.get(inner); error != SUCCESS) return fail(error);
    reserve_element(into, offset + count);
    if (!read(shape.children[0], inner, ListVector::GetEntry(into), offset + count))
      return within(fmt::format("[{}]", count));
    ++count;
    ListVector::SetListSize(into, offset + count);
  }
  put(into, row, duckdb::list_entry_t(offset, count));
  return true;
}

bool JsonValues::read_array(const Shape& shape, json::value& value, duckdb::Vector& into,
                            size_t row) {
  json::array array;
  if (value.get_array().get(array) != SUCCESS) return fail(shape, token_of(value));
  auto& child = duckdb::ArrayVector::GetEntry(into);
  auto& validity = FlatVector::Validity(into);
  if (!validity.AllValid()) validity.SetValid(row);
  size_t count = 0;
  for (auto element : array) {
    json::value inner;
    if (const auto error = element.get(inner); error != SUCCESS) return fail(error);
    if (count < shape.length && !read(shape.children[0], inner, child, row * shape.length + count))
      return within(fmt::format("[{}]", count));
    ++count;
  }
  if (count == shape.length) return true;
  reason = fmt::format(": expected {}, found {} elements", shape.type.ToString(), count);
  return false;
}

bool JsonValues::read_map(const Shape& shape, json::value& value, duckdb::Vector& into,
                          size_t row) {
  if (token_of(value).starts_with('{')) return read_map_object(shape, value, into, row);
  json::array array;
  if (value.get_array().get(array) != SUCCESS) return fail(shape, token_of(value));
  const size_t offset = ListVector::GetListSize(into);
  size_t count = 0;
  for (auto element : array) {
    json::array pair;
    if (const auto error = element.get_array().get(pair); error != SUCCESS) {
      reason = fmt::format("[{}]: expected an array of key and value", count);
      return false;
    }
    reserve_element(into, offset + count);
    size_t part = 0;
    for (auto half : pair) {
      json::value inner;
      if (const auto error = half.get(inner); error != SUCCESS) return fail(error);
      if (part < 2) {
        auto& target =
            part == 0 ? duckdb::MapVector::GetKeys(into) : duckdb::MapVector::GetValues(into);
        if (!read(shape.children[part], inner, target, offset + count))
          return within(fmt::format("[{}]", count));
      }
      ++part;
    }
    if (part != 2) {
      reason = fmt::format("[{}]: expected an array of key and value", count);
      return false;
    }
    FlatVector::Validity(ListVector::GetEntry(into)).SetValid(offset + count);
    ++count;
    ListVector::SetListSize(into, offset + count);
  }
  put(into, row, duckdb::list_entry_t(offset, count));
  if (keys_differ(into, row)) return true;
  reason = ": a map key is null or stands twice";
  return false;
}

bool JsonValues::read_map_object(const Shape& shape, json::value& value, duckdb::Vector& into,
                                 size_t row) {
  if (shape.children[0].form != Form::kText) {
    reason = fmt::format(": expected {} as an array of [key, value], found an object",
                         shape.type.ToString());
    return false;
  }
  json::object object;
  if (const auto error = value.get_object().get(object); error != SUCCESS) return fail(error);
  const size_t offset = ListVector::GetListSize(into);
  size_t count = 0;
  std::unordered_set<std::string> seen;
  for (auto member : object) {
    std::string_view key;
    if (const auto error = member.unescaped_key().get(key); error != SUCCESS) return fail(error);
    if (!seen.emplace(key).second) {
      reason = fmt::format(": the map key {} stands twice", key);
      return false;
    }
    reserve_element(into, offset + count);
    put_string(duckdb::MapVector::GetKeys(into), offset + count, key);
    json::value inner = member.value();
    if (!read(shape.children[1], inner, duckdb::MapVector::GetValues(into), offset + count))
      return within(fmt::format("[{}]", key));
    FlatVector::Validity(ListVector::GetEntry(into)).SetValid(offset + count);
    ++count;
    ListVector::SetListSize(into, offset + count);
  }
  put(into, row, duckdb::list_entry_t(offset, count));
  return true;
}

}  // namespace millrace::sql
