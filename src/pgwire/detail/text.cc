#include "pgwire/detail/text.h"

#include "base/json.h"

#include <charconv>
#include <cmath>

namespace millrace::pgwire::detail {
namespace {

using duckdb::LogicalTypeId;
using duckdb::Value;

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

void two_digits(int64_t n, std::string& out) {
  if (n < 10) out += '0';
  fmt::format_to(std::back_inserter(out), "{}", n);
}

/// ".120000" without the zeros at its end; nothing for 0.
void fraction(int64_t micros, std::string& out) {
  if (micros == 0) return;
  fmt::format_to(std::back_inserter(out), ".{:06}", micros);
  while (out.back() == '0') out.pop_back();
}

/// PostgreSQL writes shortest digits, as %g would place them: exponents from -4 to `digits` - 1
/// plainly, others in scientific notation.
template <typename T>
void shortest(T value, int digits, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value < 0 ? "-Infinity" : "Infinity";
    return;
  }
  char buffer[64];
  auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  size_t e = text.find('e');
  int exponent = 0;
  const char* first = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(first, end, exponent);
  if (exponent >= -4 && exponent < digits) {
    end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
    text = {buffer, static_cast<size_t>(end - buffer)};
  }
  out += text;
}

/// The date's digits; the caller adds " BC" where this gives true, after the time of day.
bool date_digits(duckdb::date_t date, std::string& out) {
  int32_t year = 0, month = 0, day = 0;
  duckdb::Date::Convert(date, year, month, day);
  bool before_christ = year <= 0;
  if (before_christ) year = 1 - year;
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}", year, month, day);
  return before_christ;
}

void json_array(const duckdb::vector<Value>& values, std::string& out) {
  out += '[';
  for (size_t i = 0; i < values.size(); i++) {
    if (i > 0) out += ',';
    json_value(values[i], out);
  }
  out += ']';
}

void json_struct(const Value& value, std::string& out) {
  const auto& fields = duckdb::StructType::GetChildTypes(value.type());
  const auto& children = duckdb::StructValue::GetChildren(value);
  out += '{';
  for (size_t i = 0; i < children.size(); i++) {
    if (i > 0) out += ',';
    append_json_string(fields[i].first, out);
    out += ':';
    json_value(children[i], out);
  }
  out += '}';
}

void json_map(const Value& value, std::string& out) {
  bool keyed = duckdb::MapType::KeyType(value.type()).id() == LogicalTypeId::VARCHAR;
  out += keyed ? '{' : '[';
  bool first = true;
  for (const Value& entry : duckdb::MapValue::GetChildren(value)) {
    const auto& pair = duckdb::StructValue::GetChildren(entry);
    if (!first) out += ',';
    first = false;
    if (keyed) {
      append_json_string(duckdb::StringValue::Get(pair[0]), out);
      out += ':';
      json_value(pair[1], out);
    } else {
      out += '[';
      json_value(pair[0], out);
      out += ',';
      json_value(pair[1], out);
      out += ']';
    }
  }
  out += keyed ? '}' : ']';
}

void json_double(double value, std::string& out) {
  if (std::isfinite(value)) return text_float(value, out);
  out += '"';
  text_float(value, out);
  out += '"';
}

void json_scalar(const Value& value, std::string& out) {
  switch (value.type().id()) {
    case LogicalTypeId::BOOLEAN:
      out += duckdb::BooleanValue::Get(value) ? "true" : "false";
      return;
    case LogicalTypeId::FLOAT:
      if (std::isfinite(duckdb::FloatValue::Get(value))) {
        return text_float(duckdb::FloatValue::Get(value), out);
      }
      return json_double(duckdb::FloatValue::Get(value), out);
    case LogicalTypeId::DOUBLE:
      return json_double(duckdb::DoubleValue::Get(value), out);
    case LogicalTypeId::BLOB: {
      std::string hex;
      text_bytea(duckdb::StringValue::Get(value), hex);
      return append_json_string(hex, out);
    }
    case LogicalTypeId::VARCHAR:
      if (value.type().IsJSONType()) {
        out += duckdb::StringValue::Get(value);
        return;
      }
      return append_json_string(duckdb::StringValue::Get(value), out);
    default:
      if (value.type().IsNumeric()) {
        out += value.ToString();
      } else {
        append_json_string(value.ToString(), out);
      }
  }
}

}  // namespace

void text_float(float value, std::string& out) { shortest(value, 6, out); }
void text_float(double value, std::string& out) { shortest(value, 15, out); }

void text_date(duckdb::date_t date, std::string& out) {
  if (date == duckdb::date_t::infinity()) {
    out += "infinity";
  } else if (date == duckdb::date_t::ninfinity()) {
    out += "-infinity";
  } else if (date_digits(date, out)) {
    out += " BC";
  }
}

void text_time(int64_t micros, std::string& out) {
  int64_t seconds = micros / kMicrosPerSecond;
  two_digits(seconds / 3600, out);
  out += ':';
  two_digits(seconds / 60 % 60, out);
  out += ':';
  two_digits(seconds % 60, out);
  fraction(micros % kMicrosPerSecond, out);
}

void text_timetz(duckdb::dtime_tz_t time, std::string& out) {
  text_time(time.time().micros, out);
  int32_t offset = time.offset();
  out += offset < 0 ? '-' : '+';
  offset = std::abs(offset);
  two_digits(offset / 3600, out);
  if (offset % 3600 == 0) return;
  out += ':';
  two_digits(offset / 60 % 60, out);
  if (offset % 60 == 0) return;
  out += ':';
  two_digits(offset % 60, out);
}

void text_timestamp(int64_t micros, std::string_view zone, std::string& out) {
  if (micros == duckdb::timestamp_t::infinity().value) {
    out += "infinity";
    return;
  }
  if (micros == duckdb::timestamp_t::ninfinity().value) {
    out += "-infinity";
    return;
  }
  int64_t days = micros / kMicrosPerDay;
  int64_t rest = micros % kMicrosPerDay;
  if (rest < 0) {
    rest += kMicrosPerDay;
    days--;
  }
  bool before_christ = date_digits(duckdb::date_t(static_cast<int32_t>(days)), out);
  out += ' ';
  text_time(rest, out);
  out += zone;
  if (before_christ) out += " BC";
}

void text_interval(duckdb::interval_t interval, std::string& out) {
  bool zero = true, before = false;
  auto part = [&](int64_t value, std::string_view unit) {
    if (value == 0) return;
    fmt::format_to(std::back_inserter(out), "{}{}{} {}{}", zero ? "" : " ",
                   before && value > 0 ? "+" : "", value, unit, value == 1 ? "" : "s");
    before = value < 0;
    zero = false;
  };
  part(interval.months / 12, "year");
  part(interval.months % 12, "mon");
  part(interval.days, "day");
  if (!zero && interval.micros == 0) return;
  if (!zero) out += ' ';
  bool negative = interval.micros < 0;
  out += negative ? "-" : before ? "+" : "";
  // The smallest int64 has no positive twin; as unsigned it has.
  uint64_t micros = negative ? 0 - static_cast<uint64_t>(interval.micros)
                             : static_cast<uint64_t>(interval.micros);
  text_time(static_cast<int64_t>(std::min<uint64_t>(micros, INT64_MAX)), out);
}

void text_bytea(std::string_view bytes, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += "\\x";
  for (unsigned char c : bytes) {
    out += kHex[c >> 4];
    out += kHex[c & 15];
  }
}

void text_array_element(std::string_view element, std::string& out) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  bool is_null_word = element.size() == 4 && lower(element[0]) == 'n' && lower(element[1]) == 'u' &&
                      lower(element[2]) == 'l' && lower(element[3]) == 'l';
  if (!element.empty() && !is_null_word &&
      element.find_first_of("{}\",\\ \t\n\r\v\f") == std::string_view::npos) {
    out += element;
    return;
  }
  out += '"';
  for (char c : element) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

void json_value(const Value& value, std::string& out) {
  if (value.IsNull()) {
    out += "null";
    return;
  }
  switch (value.type().id()) {
    case LogicalTypeId::STRUCT:
      return json_struct(value, out);
    case LogicalTypeId::MAP:
      return json_map(value, out);
    case LogicalTypeId::UNION:
      return json_value(duckdb::UnionValue::GetValue(value), out);
    case LogicalTypeId::LIST:
      return json_array(duckdb::ListValue::GetChildren(value), out);
    case LogicalTypeId::ARRAY:
      return json_array(duckdb::ArrayValue::GetChildren(value), out);
    default:
      return json_scalar(value, out);
  }
}

}  // namespace millrace::pgwire::detail
