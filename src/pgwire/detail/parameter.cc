#include "pgwire/detail/parameter.h"

#include "pgwire/detail/numeric.h"
#include "pgwire/detail/types.h"
#include "pgwire/detail/wire.h"

namespace millrace::pgwire::detail {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

constexpr int32_t kEpochDays = 10'957;
constexpr int64_t kEpochMicros = int64_t{kEpochDays} * 86'400'000'000;

Error invalid_text(std::string_view type, std::string_view text) {
  return Error{ErrorCode::kInvalidText,
               fmt::format("invalid input syntax for type {}: \"{}\"", type, text.substr(0, 100))};
}

Result<Value> cast(std::string_view text, const LogicalType& type) {
  try {
    Value value;
    std::string message;
    Value from{std::string(text)};
    if (from.DefaultTryCastAs(type, value, &message)) return value;
  } catch (const std::exception&) {  // some casts throw, in spite of their name
  }
  return invalid_text(duckdb::StringUtil::Lower(type.ToString()), text);
}

bool valid_utf8(std::string_view text) {
  return duckdb::Value::StringIsValid(text.data(), text.size());
}

Result<Value> string_value(std::string_view text) {
  if (valid_utf8(text)) return Value(std::string(text));
  return Error{ErrorCode::kInvalidText, "a text parameter is not valid UTF-8"};
}

/// A DECIMAL as wide as its digits, so that nothing is rounded; what 38 digits cannot hold is a
/// DOUBLE.
Result<Value> numeric_value(std::string_view text) {
  std::string_view digits = text;
  while (digits.starts_with(' ')) digits.remove_prefix(1);
  while (digits.ends_with(' ')) digits.remove_suffix(1);
  std::string_view number = digits;
  if (number.starts_with('-') || number.starts_with('+')) number.remove_prefix(1);
  size_t point = number.find('.');
  bool plain = !number.empty() && number.find_first_not_of("0123456789.") == number.npos &&
               (point == number.npos || number.find('.', point + 1) == number.npos);
  size_t scale = point == number.npos ? 0 : number.size() - point - 1;
  size_t whole = point == number.npos ? number.size() : point;
  size_t width = std::max<size_t>(whole + scale, 1);
  if (!plain || width > 38) return cast(digits, LogicalType::DOUBLE);
  return cast(digits,
              LogicalType::DECIMAL(static_cast<uint8_t>(width), static_cast<uint8_t>(scale)));
}

Result<Value> bool_value(std::string_view text) {
  std::string word = duckdb::StringUtil::Lower(std::string(text));
  for (std::string_view yes : {"t", "true", "y", "yes", "on", "1"}) {
    if (word == yes) return Value::BOOLEAN(true);
  }
  for (std::string_view no : {"f", "false", "n", "no", "off", "0"}) {
    if (word == no) return Value::BOOLEAN(false);
  }
  return invalid_text("boolean", text);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// \x and hex digits, or the older form with \\ and \ooo.
Result<Value> bytea_value(std::string_view text) {
  std::string bytes;
  if (text.starts_with("\\x")) {
    std::string_view hex = text.substr(2);
    if (hex.size() % 2 != 0) return invalid_text("bytea", text);
    for (size_t i = 0; i < hex.size(); i += 2) {
      int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
      if (high < 0 || low < 0) return invalid_text("bytea", text);
      bytes += static_cast<char>(high << 4 | low);
    }
    return Value::BLOB_RAW(bytes);
  }
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '\\') {
      bytes += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == '\\') {
      bytes += text[++i];
    } else {
      int code = 0;
      if (i + 3 >= text.size()) return invalid_text("bytea", text);
      for (size_t digit = 1; digit <= 3; digit++) {
        if (text[i + digit] < '0' || text[i + digit] > '7') return invalid_text("bytea", text);
        code = code * 8 + (text[i + digit] - '0');
      }
      bytes += static_cast<char>(code);
      i += 3;
    }
  }
  return Value::BLOB_RAW(bytes);
}

Value list_of(int32_t element, duckdb::vector<Value> values) {
  LogicalType child = logical_type(element);
  if (child.id() != duckdb::LogicalTypeId::UNKNOWN) return Value::LIST(child, std::move(values));
  // numeric: each element came with its own width
  for (const Value& value : values) {
    if (!value.IsNull()) {
      child = child.id() == duckdb::LogicalTypeId::UNKNOWN || child == value.type()
                  ? value.type()
                  : LogicalType::DOUBLE;
    }
  }
  if (child.id() == duckdb::LogicalTypeId::UNKNOWN) child = LogicalType::DOUBLE;
  return Value::LIST(child, std::move(values));
}

/// {a,"b c",NULL}; one dimension.
class ArrayText {
 public:
  ArrayText(int32_t element, std::string_view text) : element_(element), text_(text) {}

  Result<Value> read() {
    duckdb::vector<Value> values;
    spaces();
    if (!take('{')) return bad();
    spaces();
    if (!take('}')) {
      while (true) {
        MR_TRY(auto value, item());
        values.push_back(std::move(value));
        spaces();
        if (take('}')) break;
        if (!take(',')) return bad();
      }
    }
    spaces();
    if (at_ != text_.size()) return bad();
    return list_of(element_, std::move(values));
  }

 private:
  Error bad() const { return invalid_text("array of one dimension", text_); }
  void spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) {
      at_++;
    }
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }
  Result<Value> item() {
    spaces();
    std::string item;
    bool quoted = take('"');
    while (true) {
      if (at_ >= text_.size()) return bad();
      char c = text_[at_];
      if (quoted ? c == '"' : c == ',' || c == '}') break;
      if (!quoted && (c == '{' || c == '"')) return bad();
      at_++;
      if (c == '\\') {
        if (at_ >= text_.size()) return bad();
        c = text_[at_++];
      }
      item += c;
    }
    if (quoted) {
      at_++;
      return read_parameter(element_, Format::kText, item);
    }
    while (item.ends_with(' ')) item.pop_back();
    if (item.empty()) return bad();
    if (duckdb::StringUtil::CIEquals(item, "null")) return null_parameter(element_);
    return read_parameter(element_, Format::kText, item);
  }

  int32_t element_;
  std::string_view text_;
  size_t at_ = 0;
};

Result<Value> array_binary(int32_t expected, std::string_view bytes) {
  Reader reader(bytes);
  auto dimensions = reader.integer<int32_t>();
  reader.integer<int32_t>();  // whether NULLs are inside
  auto element = reader.integer<int32_t>();
  Error bad{ErrorCode::kProtocol, "a binary array parameter is malformed"};
  if (!reader.ok() || (element != expected && logical_type(element) != logical_type(expected))) {
    return bad;
  }
  duckdb::vector<Value> values;
  if (dimensions == 0) return list_of(element, std::move(values));
  if (dimensions != 1) {
    return Error{ErrorCode::kNotSupported, "array parameters of more than one dimension"};
  }
  auto count = reader.integer<int32_t>();
  reader.integer<int32_t>();  // the first index
  // Each element has at least its length.
  if (!reader.ok() || count < 0 || static_cast<size_t>(count) > reader.left() / 4) return bad;
  for (int32_t i = 0; i < count; i++) {
    auto length = reader.integer<int32_t>();
    if (length == -1) {
      values.push_back(null_parameter(element));
      continue;
    }
    std::string_view item = reader.bytes(length < 0 ? SIZE_MAX : static_cast<size_t>(length));
    if (!reader.ok()) return bad;
    MR_TRY(auto value, read_parameter(element, Format::kBinary, item));
    values.push_back(std::move(value));
  }
  if (!reader.done()) return bad;
  return list_of(element, std::move(values));
}

/// DuckDB reads PostgreSQL's intervals, but not its plus signs.
Result<Value> interval_value(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '+');
  return cast(plain, LogicalType::INTERVAL);
}

Result<Value> read_text(int32_t type, std::string_view text) {
  switch (type) {
    case oid::kBool:
      return bool_value(text);
    case oid::kBytea:
      return bytea_value(text);
    case oid::kNumeric:
      return numeric_value(text);
    case oid::kInterval:
      if (valid_utf8(text)) return interval_value(text);
      return string_value(text);
    default:
      break;
  }
  if (int32_t element = element_of(type)) return ArrayText(element, text).read();
  LogicalType logical = logical_type(type);
  if (logical.id() == duckdb::LogicalTypeId::UNKNOWN ||
      logical.id() == duckdb::LogicalTypeId::VARCHAR) {
    return string_value(text);
  }
  if (!valid_utf8(text)) return string_value(text);
  return cast(text, logical);
}

Result<Value> uuid_binary(Reader& reader) {
  auto upper = reader.integer<uint64_t>();
  auto lower = reader.integer<uint64_t>();
  duckdb::hugeint_t value;
  value.upper = static_cast<int64_t>(upper ^ (uint64_t{1} << 63));
  value.lower = lower;
  return Value::UUID(value);
}

Value timestamp_binary(int32_t type, int64_t micros) {
  int64_t value = 0;
  if (micros == INT64_MAX) {
    value = duckdb::timestamp_t::infinity().value;
  } else if (micros == INT64_MIN) {
    value = duckdb::timestamp_t::ninfinity().value;
  } else if (__builtin_add_overflow(micros, kEpochMicros, &value)) {
    value = duckdb::timestamp_t::infinity().value;
  }
  if (type == oid::kTimestamptz) return Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(value));
  return Value::TIMESTAMP(duckdb::timestamp_t(value));
}

Value date_binary(int32_t days) {
  if (days == INT32_MAX) return Value::DATE(duckdb::date_t::infinity());
  if (days == INT32_MIN) return Value::DATE(duckdb::date_t::ninfinity());
  int32_t value = 0;
  if (__builtin_add_overflow(days, kEpochDays, &value)) {
    return Value::DATE(duckdb::date_t::infinity());
  }
  return Value::DATE(duckdb::date_t(value));
}

Value interval_binary(Reader& reader) {
  auto micros = reader.integer<int64_t>();
  auto days = reader.integer<int32_t>();
  auto months = reader.integer<int32_t>();
  return Value::INTERVAL(months, days, micros);
}

/// Types of a fixed length; the caller sees by the reader whether the length was right.
Result<Value> fixed_binary(int32_t type, Reader& reader) {
  switch (type) {
    case oid::kBool:
      return Value::BOOLEAN(reader.byte() != 0);
    case oid::kInt2:
      return Value::SMALLINT(reader.integer<int16_t>());
    case oid::kInt4:
      return Value::INTEGER(reader.integer<int32_t>());
    case oid::kInt8:
      return Value::BIGINT(reader.integer<int64_t>());
    case oid::kOid:
      return Value::BIGINT(reader.integer<uint32_t>());
    case oid::kFloat4:
      return Value::FLOAT(std::bit_cast<float>(reader.integer<uint32_t>()));
    case oid::kFloat8:
      return Value::DOUBLE(std::bit_cast<double>(reader.integer<uint64_t>()));
    case oid::kDate:
      return date_binary(reader.integer<int32_t>());
    case oid::kTime: {
      auto micros = reader.integer<int64_t>();
      if (micros < 0 || micros > 86'400'000'000) {
        return Error{ErrorCode::kInvalidText, "a time parameter is out of range"};
      }
      return Value::TIME(duckdb::dtime_t(micros));
    }
    case oid::kTimetz: {
      auto micros = reader.integer<int64_t>();
      auto west = reader.integer<int32_t>();
      if (micros < 0 || micros > 86'400'000'000 || west > duckdb::dtime_tz_t::MAX_OFFSET ||
          west < duckdb::dtime_tz_t::MIN_OFFSET) {
        return Error{ErrorCode::kInvalidText, "a time parameter is out of range"};
      }
      return Value::TIMETZ(duckdb::dtime_tz_t(duckdb::dtime_t(micros), -west));
    }
    case oid::kTimestamp:
    case oid::kTimestamptz:
      return timestamp_binary(type, reader.integer<int64_t>());
    case oid::kInterval:
      return interval_binary(reader);
    case oid::kUuid:
      return uuid_binary(reader);
    default:
      return Error{ErrorCode::kNotSupported,
                   fmt::format("binary parameters of type {} are not supported; send text", type)};
  }
}

Result<Value> read_binary(int32_t type, std::string_view bytes) {
  switch (type) {
    case 0:
    case oid::kUnknown:
    case oid::kText:
    case oid::kVarchar:
    case oid::kBpchar:
    case oid::kName:
    case oid::kChar:
    case oid::kJson:
      return string_value(bytes);
    case oid::kJsonb:  // one byte of version, then text
      if (!bytes.starts_with('\1')) {
        return Error{ErrorCode::kProtocol, "a binary jsonb parameter has an unknown version"};
      }
      return string_value(bytes.substr(1));
    case oid::kBytea:
      return Value::BLOB_RAW(std::string(bytes));
    case oid::kNumeric: {
      MR_TRY(auto digits, numeric_from_binary(bytes));
      return numeric_value(digits);
    }
    default:
      break;
  }
  if (int32_t element = element_of(type)) return array_binary(element, bytes);
  Reader reader(bytes);
  MR_TRY(auto value, fixed_binary(type, reader));
  if (reader.done()) return value;
  return Error{ErrorCode::kProtocol, "a binary parameter has a wrong length for its type"};
}

}  // namespace

Result<Value> read_parameter(int32_t type, Format format, std::string_view bytes) {
  return format == Format::kText ? read_text(type, bytes) : read_binary(type, bytes);
}

Value null_parameter(int32_t type) {
  LogicalType logical = type == oid::kNumeric ? LogicalType::DOUBLE : logical_type(type);
  return logical.id() == duckdb::LogicalTypeId::UNKNOWN ? Value() : Value(logical);
}

}  // namespace millrace::pgwire::detail
