#include "sql/detail/json_values.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

#include "sql/detail/json_scalar.h"

namespace millrace::sql {
namespace {

using duckdb::FlatVector;
using simdjson::SUCCESS;

constexpr int kDepthMax = 200;  // of values that nobody asked for: they are walked recursively
constexpr size_t kFoundMax = 40;

template <typename T>
bool put_integer(duckdb::Vector& into, size_t row, int64_t number) {
  if (number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max())
    return false;
  put<T>(into, row, static_cast<T>(number));
  return true;
}

template <typename T>
bool put_unsigned(duckdb::Vector& into, size_t row, uint64_t number) {
  if (number > std::numeric_limits<T>::max()) return false;
  put<T>(into, row, static_cast<T>(number));
  return true;
}

bool put_signed_form(Form form, duckdb::Vector& into, size_t row, int64_t number) {
  switch (form) {
    case Form::kInt8:
      return put_integer<int8_t>(into, row, number);
    case Form::kInt16:
      return put_integer<int16_t>(into, row, number);
    case Form::kInt32:
      return put_integer<int32_t>(into, row, number);
    default:
      put<int64_t>(into, row, number);
      return true;
  }
}

bool put_unsigned_form(Form form, duckdb::Vector& into, size_t row, uint64_t number) {
  switch (form) {
    case Form::kUint8:
      return put_unsigned<uint8_t>(into, row, number);
    case Form::kUint16:
      return put_unsigned<uint16_t>(into, row, number);
    case Form::kUint32:
      return put_unsigned<uint32_t>(into, row, number);
    default:
      put<uint64_t>(into, row, number);
      return true;
  }
}

duckdb::hugeint_t to_hugeint(bool negative, unsigned __int128 magnitude) {
  const unsigned __int128 bits = negative ? -magnitude : magnitude;
  duckdb::hugeint_t huge;
  huge.lower = static_cast<uint64_t>(bits);
  huge.upper = static_cast<int64_t>(static_cast<uint64_t>(bits >> 64));
  return huge;
}

bool put_huge(bool negative, unsigned __int128 magnitude, duckdb::Vector& into, size_t row) {
  constexpr auto kLimit = static_cast<unsigned __int128>(1) << 127;
  if (magnitude > kLimit || (magnitude == kLimit && !negative)) return false;
  put(into, row, to_hugeint(negative, magnitude));
  return true;
}

bool put_decimal(const Shape& shape, const ScaledNumber& number, duckdb::Vector& into, size_t row) {
  unsigned __int128 limit = 1;
  for (uint8_t i = 0; i < shape.width; ++i) limit *= 10;
  if (number.magnitude >= limit) return false;
  const auto small = [&] {
    const auto magnitude = static_cast<int64_t>(number.magnitude);
    return number.negative ? -magnitude : magnitude;
  };
  switch (shape.type.InternalType()) {
    case duckdb::PhysicalType::INT16:
      return put_integer<int16_t>(into, row, small());
    case duckdb::PhysicalType::INT32:
      return put_integer<int32_t>(into, row, small());
    case duckdb::PhysicalType::INT64:
      return put_integer<int64_t>(into, row, small());
    default:
      return put_huge(number.negative, number.magnitude, into, row);
  }
}

/// Integers that are spelled otherwise: 1.0, 1e3.
bool put_spelled_integer(const Shape& shape, std::string_view token, duckdb::Vector& into,
                         size_t row) {
  const auto number = read_scaled(token, 0);
  if (!number || !number->exact) return false;
  if (shape.form == Form::kHuge) return put_huge(number->negative, number->magnitude, into, row);
  if (shape.form == Form::kUhuge) {
    if (number->negative && number->magnitude != 0) return false;
    duckdb::uhugeint_t huge;
    huge.lower = static_cast<uint64_t>(number->magnitude);
    huge.upper = static_cast<uint64_t>(number->magnitude >> 64);
    put(into, row, huge);
    return true;
  }
  if (shape.form >= Form::kUint8) {
    if (number->negative && number->magnitude != 0) return false;
    if (number->magnitude > std::numeric_limits<uint64_t>::max()) return false;
    return put_unsigned_form(shape.form, into, row, static_cast<uint64_t>(number->magnitude));
  }
  const uint64_t limit = uint64_t{1} << 63;
  if (number->magnitude > limit || (number->magnitude == limit && !number->negative)) return false;
  const auto bits = static_cast<uint64_t>(number->magnitude);
  return put_signed_form(shape.form, into, row,
                         static_cast<int64_t>(number->negative ? uint64_t{0} - bits : bits));
}

/// Microseconds to what a timestamp type counts in. Infinities stay what they are.
bool put_timestamp(Form form, int64_t us, duckdb::Vector& into, size_t row) {
  const bool finite = duckdb::Timestamp::IsFinite(duckdb::timestamp_t(us));
  if (finite && form == Form::kTimestampS) us = us / 1'000'000 - (us % 1'000'000 < 0);
  if (finite && form == Form::kTimestampMs) us = us / 1'000 - (us % 1'000 < 0);
  if (finite && form == Form::kTimestampNs && __builtin_mul_overflow(us, 1000, &us)) return false;
  put<int64_t>(into, row, us);
  return true;
}

/// TIMESTAMP_NS keeps more digits than read_timestamp() does.
bool read_timestamp_ns(std::string_view text, int64_t* ns) {
  duckdb::timestamp_ns_t stamp;
  const auto result = duckdb::Timestamp::TryConvertTimestamp(text.data(), text.size(), stamp);
  *ns = stamp.value;
  return result == duckdb::TimestampCastResult::SUCCESS;
}

template <typename T>
bool special_real(std::string_view text, T* value) {
  if (text == "NaN") {
    *value = std::numeric_limits<T>::quiet_NaN();
  } else if (text == "Infinity") {
    *value = std::numeric_limits<T>::infinity();
  } else if (text == "-Infinity") {
    *value = -std::numeric_limits<T>::infinity();
  } else {
    return false;
  }
  return true;
}

/// A string's token that says its text as it is, without escapes. The parser has seen to its UTF-8.
bool plain_string(std::string_view token) {
  return token.size() >= 2 && token.back() == '"' &&
         std::memchr(token.data(), '\\', token.size()) == nullptr;
}

/// Reads a token that is an integer and nothing else.
template <typename T>
bool plain_integer(std::string_view token, T* number) {
  if (token[0] == '0' && token.size() > 1) return false;  // no JSON number begins so
  if (token[0] == '-' && token.size() > 2 && token[1] == '0') return false;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), *number);
  return error == std::errc() && end == token.data() + token.size();
}

bool put_enum(const Shape& shape, std::string_view text, duckdb::Vector& into, size_t row) {
  const duckdb::string_t key(text.data(), static_cast<uint32_t>(text.size()));
  const int64_t position = duckdb::EnumType::GetPos(shape.type, key);
  if (position < 0) return false;
  switch (shape.type.InternalType()) {
    case duckdb::PhysicalType::UINT8:
      return put_unsigned<uint8_t>(into, row, static_cast<uint64_t>(position));
    case duckdb::PhysicalType::UINT16:
      return put_unsigned<uint16_t>(into, row, static_cast<uint64_t>(position));
    default:
      return put_unsigned<uint32_t>(into, row, static_cast<uint64_t>(position));
  }
}

/// Not simdjson's: 3.0 takes 0.714420000000000000000000000 for 1.5e-08.
template <typename T>
bool put_real(std::string_view token, duckdb::Vector& into, size_t row) {
  if (!is_json_number(token)) return false;
  T number = 0;
  const auto [end, error] = std::from_chars(token.begin(), token.end(), number);
  // Too small reads as zero, too large is no number.
  if (error == std::errc::result_out_of_range &&
      std::abs(std::strtod(std::string(token).c_str(), nullptr)) > 1) {
    return false;
  }
  put(into, row, number);
  return true;
}

}  // namespace

void put_string(duckdb::Vector& vector, size_t row, std::string_view text) {
  if (text.size() <= duckdb::string_t::INLINE_LENGTH) {
    put(vector, row, duckdb::string_t(text.data(), static_cast<uint32_t>(text.size())));
  } else {
    put(vector, row, duckdb::StringVector::AddStringOrBlob(vector, text.data(), text.size()));
  }
}

void put_null(duckdb::Vector& vector, size_t row) {
  // A struct's fields are NULL with it; SetNull() sees to that.
  if (vector.GetType().InternalType() == duckdb::PhysicalType::STRUCT ||
      vector.GetType().InternalType() == duckdb::PhysicalType::ARRAY) {
    FlatVector::SetNull(vector, row, true);
    return;
  }
  FlatVector::Validity(vector).SetInvalid(row);
  // What follows the offset of a NULL list must be readable all the same.
  if (vector.GetType().InternalType() == duckdb::PhysicalType::LIST)
    FlatVector::GetDataUnsafe<duckdb::list_entry_t>(vector)[row] = duckdb::list_entry_t(0, 0);
}

bool JsonValues::fail(const Shape& shape, std::string_view found) {
  std::string shown;
  if (found.starts_with('{')) {
    shown = "an object";
  } else if (found.starts_with('[')) {
    shown = "an array";
  } else if (found.size() <= kFoundMax) {
    shown = found;
  } else {
    size_t cut = kFoundMax;
    while (cut > 0 && (static_cast<unsigned char>(found[cut]) & 0xC0) == 0x80) --cut;
    shown = fmt::format("{}...", found.substr(0, cut));
  }
  reason = fmt::format(": expected {}, found {}", shape.type.ToString(), shown);
  return false;
}

bool JsonValues::fail(simdjson::error_code error) {
  reason = fmt::format(": not valid JSON: {}", simdjson::error_message(error));
  return false;
}

bool JsonValues::within(const std::string& place) {
  reason.insert(0, place);
  return false;
}

bool JsonValues::take_plain(json::value& value) {
  simdjson::ondemand::raw_json_string raw;
  const auto error = value.get_raw_json_string().get(raw);
  return error == SUCCESS || fail(error);
}

bool JsonValues::skip(json::value& value, int depth) {
  if (depth > kDepthMax) {
    reason = fmt::format(": nested deeper than {}", kDepthMax);
    return false;
  }
  const std::string_view token = token_of(value);
  if (token.empty()) return fail(simdjson::TAPE_ERROR);
  switch (token[0]) {
    case '{': {
      json::object object;
      if (const auto error = value.get_object().get(object); error != SUCCESS) return fail(error);
      for (auto field : object) {
        if (field.error() != SUCCESS) return fail(field.error());
        std::string_view key;
        if (const auto error = field.unescaped_key().get(key); error != SUCCESS) return fail(error);
        json::value inner = field.value();
        if (!skip(inner, depth + 1)) return false;
      }
      return true;
    }
    case '[': {
      json::array array;
      if (const auto error = value.get_array().get(array); error != SUCCESS) return fail(error);
      for (auto element : array) {
        json::value inner;
        if (const auto error = element.get(inner); error != SUCCESS) return fail(error);
        if (!skip(inner, depth + 1)) return false;
      }
      return true;
    }
    case '"': {
      if (plain_string(token)) return take_plain(value);
      std::string_view text;
      const auto error = value.get_string().get(text);
      return error == SUCCESS || fail(error);
    }
    case 't':
    case 'f': {
      bool truth = false;
      const auto error = value.get_bool().get(truth);
      return error == SUCCESS || fail(error);
    }
    case 'n':
      return token == "null" || fail(simdjson::N_ATOM_ERROR);
    default:
      return is_json_number(token) || fail(simdjson::NUMBER_ERROR);
  }
}

bool JsonValues::read_raw(const Shape& shape, json::value& value, duckdb::Vector& into,
                          size_t row) {
  std::string_view text = token_of(value);
  if (text.empty()) return fail(simdjson::TAPE_ERROR);
  if (text[0] == '{' || text[0] == '[') {
    const char* begin = text.data();
    if (!skip(value)) return false;
    const char* end = nullptr;
    // The walk left off at what follows the value.
    if (value.current_location().get(end) != SUCCESS) end = nullptr;
    if (end == nullptr) return fail(shape, text);
    text = std::string_view(begin, static_cast<size_t>(end - begin));
    text = text.substr(0, text.find_last_of(text[0] == '{' ? '}' : ']') + 1);
  } else if (!skip(value)) {
    return false;
  }
  put_string(into, row, text);
  return true;
}

bool JsonValues::read_number(const Shape& shape, std::string_view token, duckdb::Vector& into,
                             size_t row) {
  if (token.empty() || (token[0] != '-' && (token[0] < '0' || token[0] > '9')))
    return fail(shape, token);
  switch (shape.form) {
    case Form::kInt8:
    case Form::kInt16:
    case Form::kInt32:
    case Form::kInt64: {
      int64_t number = 0;
      if (plain_integer(token, &number))
        return put_signed_form(shape.form, into, row, number) || fail(shape, token);
      break;
    }
    case Form::kUint8:
    case Form::kUint16:
    case Form::kUint32:
    case Form::kUint64: {
      uint64_t number = 0;
      if (plain_integer(token, &number))
        return put_unsigned_form(shape.form, into, row, number) || fail(shape, token);
      break;
    }
    case Form::kDouble:
      return put_real<double>(token, into, row) || fail(shape, token);
    case Form::kFloat:
      return put_real<float>(token, into, row) || fail(shape, token);
    case Form::kDecimal: {
      if (!is_json_number(token)) return fail(shape, token);
      return read_decimal(shape, token, into, row) || fail(shape, token);
    }
    default:
      break;
  }
  return (is_json_number(token) && put_spelled_integer(shape, token, into, row)) ||
         fail(shape, token);
}

bool JsonValues::read_decimal(const Shape& shape, std::string_view number, duckdb::Vector& into,
                              size_t row) {
  const auto scaled = read_scaled(number, shape.scale);
  return scaled && put_decimal(shape, *scaled, into, row);
}

bool JsonValues::check_string(const Shape& shape, std::string_view text) {
  const bool piles_up = shape.form == Form::kBlob || shape.form == Form::kCast;
  return read_string(shape, text, piles_up ? spare(shape) : spare_scalar_, 0);
}

bool JsonValues::read_string(const Shape& shape, std::string_view text, duckdb::Vector& into,
                             size_t row) {
  switch (shape.form) {
    case Form::kText:
      put_string(into, row, text);
      return true;
    case Form::kBlob:
      if (!read_base64(text, &scratch_)) return false;
      put_string(into, row, scratch_);
      return true;
    case Form::kTimestampNs: {
      int64_t ns = 0;
      if (read_timestamp_ns(text, &ns)) {
        put(into, row, ns);
        return true;
      }
      [[fallthrough]];
    }
    case Form::kTimestamp:
    case Form::kTimestampS:
    case Form::kTimestampMs:
    case Form::kTimestampTz: {
      int64_t us = 0;
      return read_timestamp(text, &us) && put_timestamp(shape.form, us, into, row);
    }
    case Form::kDate: {
      int32_t days = 0;
      if (!read_date(text, &days)) return false;
      put(into, row, days);
      return true;
    }
    case Form::kTime: {
      int64_t us = 0;
      if (!read_time(text, &us)) return false;
      put(into, row, us);
      return true;
    }
    case Form::kInterval: {
      duckdb::interval_t interval;
      if (!duckdb::Interval::FromCString(text.data(), text.size(), interval, &scratch_, false))
        return false;
      put(into, row, interval);
      return true;
    }
    case Form::kUuid: {
      unsigned __int128 bits = 0;
      if (!read_uuid(text, &bits)) return false;
      // DuckDB flips the top bit, so that the order of the numbers is the order of the texts.
      bits ^= static_cast<unsigned __int128>(1) << 127;
      put(into, row, to_hugeint(false, bits));
      return true;
    }
    case Form::kEnum:
      return put_enum(shape, text, into, row);
    default: {
      duckdb::Value cast;
      if (!duckdb::Value(std::string(text)).DefaultTryCastAs(shape.type, cast, &scratch_, true))
        return false;
      into.SetValue(row, cast);
      return true;
    }
  }
}

bool JsonValues::read_quoted(const Shape& shape, std::string_view token, json::value& value,
                             duckdb::Vector& into, size_t row) {
  std::string_view text;
  if (plain_string(token)) {
    if (!take_plain(value)) return false;
    text = token.substr(1, token.size() - 2);
  } else if (const auto error = value.get_string().get(text); error != SUCCESS) {
    return fail(error);
  }
  if (shape.form == Form::kDouble || shape.form == Form::kFloat) {
    double real = 0;
    if (!special_real(text, &real)) return fail(shape, token);
    if (shape.form == Form::kDouble) put(into, row, real);
    if (shape.form == Form::kFloat) put(into, row, static_cast<float>(real));
    return true;
  }
  if (shape.form >= Form::kText) return read_string(shape, text, into, row) || fail(shape, token);
  return fail(shape, token);
}

bool JsonValues::read_scalar(const Shape& shape, std::string_view token, json::value& value,
                             duckdb::Vector& into, size_t row) {
  if (token.starts_with('"')) return read_quoted(shape, token, value, into, row);
  switch (shape.form) {
    case Form::kBool: {
      bool truth = false;
      if (value.get_bool().get(truth) != SUCCESS) return fail(shape, token);
      put(into, row, truth);
      return true;
    }
    case Form::kText:
      return read_raw(shape, value, into, row);
    case Form::kTimestamp:
    case Form::kTimestampS:
    case Form::kTimestampMs:
    case Form::kTimestampNs:
    case Form::kTimestampTz: {
      int64_t ms = 0, us = 0;
      if (token.empty() || !plain_integer(token, &ms) || __builtin_mul_overflow(ms, 1000, &us))
        return fail(shape, token);
      return put_timestamp(shape.form, us, into, row) || fail(shape, token);
    }
    case Form::kNull:
      return fail(shape, token);
    default:
      return (shape.form < Form::kText && read_number(shape, token, into, row)) ||
             fail(shape, token);
  }
}

bool JsonValues::read(const Shape& shape, json::value& value, duckdb::Vector& into, size_t row) {
  const std::string_view token = token_of(value);
  if (token.starts_with('n')) {
    if (token != "null") return fail(simdjson::N_ATOM_ERROR);
    put_null(into, row);
    return true;
  }
  switch (shape.form) {
    case Form::kJson:
      return read_raw(shape, value, into, row);
    case Form::kStruct:
      return read_struct(shape, value, into, row);
    case Form::kList:
      return read_list(shape, value, into, row);
    case Form::kArray:
      return read_array(shape, value, into, row);
    case Form::kMap:
      return read_map(shape, value, into, row);
    default:
      return read_scalar(shape, token, value, into, row);
  }
}

bool JsonValues::check(const Shape& shape, json::value& value) {
  const std::string_view token = token_of(value);
  if (token.starts_with('n')) return token == "null" || fail(simdjson::N_ATOM_ERROR);
  switch (shape.form) {
    case Form::kText:
    case Form::kJson:
      return skip(value);
    case Form::kStruct:
      return each_field(shape, value, [&](size_t at, json::value& inner) {
        return check(shape.children[at], inner);
      });
    case Form::kList:
      return check_list(shape, value);
    case Form::kBlob:
    case Form::kCast:
    case Form::kArray:
    case Form::kMap:
      return read(shape, value, spare(shape), 0);
    default:
      return read_scalar(shape, token, value, spare_scalar_, 0);
  }
}

bool is_json(std::string_view text) {
  // A value within an array is like every other; the document's own has rules of its own.
  std::string padded;
  padded.reserve(text.size() + 2 + simdjson::SIMDJSON_PADDING);
  padded += '[';
  padded += text;
  padded += ']';
  json::parser parser;
  json::document document;
  json::array array;
  const auto error = parser.iterate(padded.data(), padded.size(), padded.capacity()).get(document);
  if (error != SUCCESS || document.get_array().get(array) != SUCCESS) return false;
  JsonValues values;
  size_t count = 0;
  for (auto element : array) {
    json::value value;
    if (element.get(value) != SUCCESS || !values.skip(value)) return false;
    ++count;
  }
  const char* rest = nullptr;
  return count == 1 && document.current_location().get(rest) != SUCCESS;
}

duckdb::Vector& JsonValues::spare(const Shape& shape) {
  Spare& spare = spares_[&shape];
  if (spare.uses == 0) spare.row.Initialize(duckdb::Allocator::DefaultAllocator(), {shape.type}, 1);
  // Values pile up in string heaps and lists.
  if (++spare.uses % STANDARD_VECTOR_SIZE == 0) spare.row.Reset();
  return spare.row.data[0];
}

}  // namespace millrace::sql
