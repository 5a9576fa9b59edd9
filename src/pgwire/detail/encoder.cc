#include "pgwire/detail/encoder.h"

#include <duckdb/common/types/decimal.hpp>
#include <duckdb/common/types/hugeint.hpp>
#include <duckdb/common/types/uhugeint.hpp>
#include <duckdb/common/types/uuid.hpp>

#include "pgwire/detail/numeric.h"
#include "pgwire/detail/text.h"
#include "pgwire/detail/types.h"
#include "pgwire/detail/wire.h"

namespace millrace::pgwire::detail {
namespace {

using duckdb::LogicalTypeId;
using duckdb::PhysicalType;

/// PostgreSQL counts from 2000-01-01, DuckDB from 1970-01-01.
constexpr int32_t kEpochDays = 10'957;
constexpr int64_t kEpochMicros = int64_t{kEpochDays} * 86'400'000'000;

template <typename T>
void put_text_integer(T value, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

int64_t saturating_multiply(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) return a < 0 ? INT64_MIN + 2 : INT64_MAX - 1;
  return result;
}

}  // namespace

/// One function for each type and format; the choice is made once a column, not once a value.
struct ColumnEncoder::Writers {
  template <typename T>
  static const T& at(const ColumnEncoder& c, size_t index) {
    return reinterpret_cast<const T*>(c.values_.data)[index];
  }

  template <typename T>
  static void integer_text(const ColumnEncoder& c, size_t i, std::string& out) {
    put_text_integer(at<T>(c, i), out);
  }
  template <typename T, typename Wire>
  static void integer_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    put<Wire>(out, static_cast<Wire>(at<T>(c, i)));
  }
  static void bool_text(const ColumnEncoder& c, size_t i, std::string& out) {
    out += at<uint8_t>(c, i) ? 't' : 'f';
  }
  static void bool_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    out += at<uint8_t>(c, i) ? '\1' : '\0';
  }
  template <typename T>
  static void float_text(const ColumnEncoder& c, size_t i, std::string& out) {
    text_float(at<T>(c, i), out);
  }
  template <typename T, typename Bits>
  static void float_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    put<Bits>(out, std::bit_cast<Bits>(at<T>(c, i)));
  }

  static std::string decimal(const ColumnEncoder& c, size_t i) {
    if (c.type_.id() == LogicalTypeId::BIGNUM) return c.vector_->GetValue(i).ToString();
    uint8_t width = 0, scale = 0;
    if (c.type_.id() == LogicalTypeId::DECIMAL) c.type_.GetDecimalProperties(width, scale);
    switch (c.type_.InternalType()) {
      case PhysicalType::INT16:
        return duckdb::Decimal::ToString(at<int16_t>(c, i), width, scale);
      case PhysicalType::INT32:
        return duckdb::Decimal::ToString(at<int32_t>(c, i), width, scale);
      case PhysicalType::INT64:
        return duckdb::Decimal::ToString(at<int64_t>(c, i), width, scale);
      case PhysicalType::UINT64:
        return fmt::format("{}", at<uint64_t>(c, i));
      case PhysicalType::UINT128:
        return duckdb::Uhugeint::ToString(at<duckdb::uhugeint_t>(c, i));
      default:
        if (c.type_.id() == LogicalTypeId::HUGEINT) {
          return duckdb::Hugeint::ToString(at<duckdb::hugeint_t>(c, i));
        }
        return duckdb::Decimal::ToString(at<duckdb::hugeint_t>(c, i), width, scale);
    }
  }
  static void numeric_text(const ColumnEncoder& c, size_t i, std::string& out) {
    out += decimal(c, i);
  }
  static void numeric_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    numeric_to_binary(decimal(c, i), out);
  }

  static std::string_view string_at(const ColumnEncoder& c, size_t i) {
    const auto& s = at<duckdb::string_t>(c, i);
    return {s.GetData(), s.GetSize()};
  }
  static void string(const ColumnEncoder& c, size_t i, std::string& out) { out += string_at(c, i); }
  static void bytea(const ColumnEncoder& c, size_t i, std::string& out) {
    text_bytea(string_at(c, i), out);
  }

  static void date_text(const ColumnEncoder& c, size_t i, std::string& out) {
    text_date(at<duckdb::date_t>(c, i), out);
  }
  static void date_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    auto date = at<duckdb::date_t>(c, i);
    if (date == duckdb::date_t::infinity()) return put<int32_t>(out, INT32_MAX);
    if (date == duckdb::date_t::ninfinity()) return put<int32_t>(out, INT32_MIN);
    put<int32_t>(out, date.days - kEpochDays);
  }
  static int64_t time_micros(const ColumnEncoder& c, size_t i) {
    int64_t value = at<int64_t>(c, i);
    return c.type_.id() == LogicalTypeId::TIME_NS ? value / 1000 : value;
  }
  static void time_text(const ColumnEncoder& c, size_t i, std::string& out) {
    text_time(time_micros(c, i), out);
  }
  static void time_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    put<int64_t>(out, time_micros(c, i));
  }
  static void timetz_text(const ColumnEncoder& c, size_t i, std::string& out) {
    text_timetz(at<duckdb::dtime_tz_t>(c, i), out);
  }
  static void timetz_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    auto time = at<duckdb::dtime_tz_t>(c, i);
    put<int64_t>(out, time.time().micros);
    put<int32_t>(out, -time.offset());  // PostgreSQL counts seconds west of Greenwich
  }

  static int64_t timestamp_micros(const ColumnEncoder& c, size_t i) {
    int64_t value = at<int64_t>(c, i);
    if (value == duckdb::timestamp_t::infinity().value) return value;
    if (value == duckdb::timestamp_t::ninfinity().value) return value;
    switch (c.type_.id()) {
      case LogicalTypeId::TIMESTAMP_SEC:
        return saturating_multiply(value, 1'000'000);
      case LogicalTypeId::TIMESTAMP_MS:
        return saturating_multiply(value, 1000);
      case LogicalTypeId::TIMESTAMP_NS:
        return floor_divide(value, 1000);
      default:
        return value;
    }
  }
  static void timestamp_text(const ColumnEncoder& c, size_t i, std::string& out) {
    bool zone = c.type_.id() == LogicalTypeId::TIMESTAMP_TZ;
    text_timestamp(timestamp_micros(c, i), zone ? "+00" : "", out);
  }
  static void timestamp_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    int64_t micros = timestamp_micros(c, i);
    if (micros == duckdb::timestamp_t::infinity().value) return put<int64_t>(out, INT64_MAX);
    if (micros == duckdb::timestamp_t::ninfinity().value) return put<int64_t>(out, INT64_MIN);
    int64_t shifted = 0;
    if (__builtin_sub_overflow(micros, kEpochMicros, &shifted)) shifted = INT64_MIN;
    put<int64_t>(out, shifted);
  }

  static void interval_text(const ColumnEncoder& c, size_t i, std::string& out) {
    text_interval(at<duckdb::interval_t>(c, i), out);
  }
  static void interval_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    auto interval = at<duckdb::interval_t>(c, i);
    put<int64_t>(out, interval.micros);
    put<int32_t>(out, interval.days);
    put<int32_t>(out, interval.months);
  }
  static void uuid_text(const ColumnEncoder& c, size_t i, std::string& out) {
    out += duckdb::UUID::ToString(at<duckdb::hugeint_t>(c, i));
  }
  static void uuid_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    auto value = at<duckdb::hugeint_t>(c, i);
    // DuckDB flips the top bit, so that UUIDs order as integers.
    put<uint64_t>(out, static_cast<uint64_t>(value.upper) ^ (uint64_t{1} << 63));
    put<uint64_t>(out, value.lower);
  }

  /// STRUCT, MAP and the like, the same bytes in both formats.
  static void json(const ColumnEncoder& c, size_t i, std::string& out) {
    json_value(c.vector_->GetValue(i), out);
  }
  static void printed(const ColumnEncoder& c, size_t i, std::string& out) {
    out += c.vector_->GetValue(i).ToString();
  }

  static std::pair<size_t, size_t> elements(const ColumnEncoder& c, size_t i) {
    if (c.type_.id() == LogicalTypeId::ARRAY) {
      size_t size = duckdb::ArrayType::GetSize(c.type_);
      return {i * size, size};
    }
    const auto& entry = at<duckdb::list_entry_t>(c, i);
    return {entry.offset, entry.length};
  }
  static void array_text(const ColumnEncoder& c, size_t i, std::string& out) {
    auto [first, count] = elements(c, i);
    std::string element;
    out += '{';
    for (size_t e = first; e < first + count; e++) {
      if (e > first) out += ',';
      element.clear();
      if (c.element_->append(e, element)) {
        text_array_element(element, out);
      } else {
        out += "NULL";
      }
    }
    out += '}';
  }
  static void array_binary(const ColumnEncoder& c, size_t i, std::string& out) {
    auto [first, count] = elements(c, i);
    put<int32_t>(out, count == 0 ? 0 : 1);
    size_t has_null = out.size();
    put<int32_t>(out, 0);
    put<int32_t>(out, c.element_oid_);
    if (count == 0) return;
    put<int32_t>(out, static_cast<int32_t>(count));
    put<int32_t>(out, 1);  // the first index
    for (size_t e = first; e < first + count; e++) {
      size_t length = out.size();
      put_sized(*c.element_, e, out);
      if (out.size() == length + 4 && out.substr(length) == "\xff\xff\xff\xff") {
        put_at<int32_t>(out, has_null, 1);
      }
    }
  }

  static Write pick(const duckdb::LogicalType& type, bool binary);
};

// NOLINTNEXTLINE(readability-function-size): a flat table
ColumnEncoder::Write ColumnEncoder::Writers::pick(const duckdb::LogicalType& type, bool binary) {
  switch (type.id()) {
    case LogicalTypeId::BOOLEAN:
      return binary ? bool_binary : bool_text;
    case LogicalTypeId::TINYINT:
      return binary ? integer_binary<int8_t, int16_t> : integer_text<int8_t>;
    case LogicalTypeId::UTINYINT:
      return binary ? integer_binary<uint8_t, int16_t> : integer_text<uint8_t>;
    case LogicalTypeId::SMALLINT:
      return binary ? integer_binary<int16_t, int16_t> : integer_text<int16_t>;
    case LogicalTypeId::USMALLINT:
      return binary ? integer_binary<uint16_t, int32_t> : integer_text<uint16_t>;
    case LogicalTypeId::INTEGER:
      return binary ? integer_binary<int32_t, int32_t> : integer_text<int32_t>;
    case LogicalTypeId::UINTEGER:
      return binary ? integer_binary<uint32_t, int64_t> : integer_text<uint32_t>;
    case LogicalTypeId::BIGINT:
      return binary ? integer_binary<int64_t, int64_t> : integer_text<int64_t>;
    case LogicalTypeId::UBIGINT:
    case LogicalTypeId::HUGEINT:
    case LogicalTypeId::UHUGEINT:
    case LogicalTypeId::BIGNUM:
    case LogicalTypeId::DECIMAL:
      return binary ? numeric_binary : numeric_text;
    case LogicalTypeId::FLOAT:
      return binary ? float_binary<float, uint32_t> : float_text<float>;
    case LogicalTypeId::DOUBLE:
      return binary ? float_binary<double, uint64_t> : float_text<double>;
    case LogicalTypeId::VARCHAR:
    case LogicalTypeId::CHAR:
      return string;
    case LogicalTypeId::BLOB:
      return binary ? string : bytea;
    case LogicalTypeId::DATE:
      return binary ? date_binary : date_text;
    case LogicalTypeId::TIME:
    case LogicalTypeId::TIME_NS:
      return binary ? time_binary : time_text;
    case LogicalTypeId::TIME_TZ:
      return binary ? timetz_binary : timetz_text;
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP_NS:
    case LogicalTypeId::TIMESTAMP_TZ:
      return binary ? timestamp_binary : timestamp_text;
    case LogicalTypeId::INTERVAL:
      return binary ? interval_binary : interval_text;
    case LogicalTypeId::UUID:
      return binary ? uuid_binary : uuid_text;
    case LogicalTypeId::LIST:
    case LogicalTypeId::ARRAY:
      if (wire_type(type).oid == oid::kJson) return json;
      return binary ? array_binary : array_text;
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::MAP:
    case LogicalTypeId::UNION:
      return json;
    default:
      return printed;
  }
}

ColumnEncoder::ColumnEncoder(const duckdb::LogicalType& type, Format format)
    : type_(type), format_(format), write_(Writers::pick(type, format == Format::kBinary)) {
  if (write_ != Writers::array_text && write_ != Writers::array_binary) return;
  element_oid_ = element_of(wire_type(type).oid);
  const auto& child = type.id() == LogicalTypeId::LIST ? duckdb::ListType::GetChildType(type)
                                                       : duckdb::ArrayType::GetChildType(type);
  element_ = std::make_unique<ColumnEncoder>(child, format);
}

void ColumnEncoder::begin(duckdb::Vector& vector, size_t count) {
  vector_ = &vector;
  vector.ToUnifiedFormat(count, values_);
  if (!element_) return;
  if (type_.id() == LogicalTypeId::LIST) {
    element_->begin(duckdb::ListVector::GetEntry(vector), duckdb::ListVector::GetListSize(vector));
  } else {
    element_->begin(duckdb::ArrayVector::GetEntry(vector),
                    count * duckdb::ArrayType::GetSize(type_));
  }
}

bool ColumnEncoder::append(size_t row, std::string& out) const {
  size_t index = values_.sel->get_index(row);
  if (!values_.validity.RowIsValid(index)) return false;
  write_(*this, index, out);
  return true;
}

RowEncoder::RowEncoder(const std::vector<duckdb::LogicalType>& types,
                       const std::vector<Format>& formats) {
  for (size_t i = 0; i < types.size(); i++) {
    Format format = formats.empty() ? Format::kText : formats[formats.size() == 1 ? 0 : i];
    columns_.emplace_back(types[i], format);
  }
}

void RowEncoder::begin(duckdb::DataChunk& chunk) {
  // Flat: an index into the unified format is then a row, also for what reads through Value.
  chunk.Flatten();
  for (size_t i = 0; i < columns_.size(); i++) columns_[i].begin(chunk.data[i], chunk.size());
}

void RowEncoder::write(size_t row, std::string& out) const {
  Message message(out, 'D');
  put<int16_t>(out, static_cast<int16_t>(columns_.size()));
  for (const ColumnEncoder& column : columns_) put_sized(column, row, out);
}

void put_sized(const ColumnEncoder& column, size_t row, std::string& out) {
  size_t start = out.size();
  put<int32_t>(out, -1);
  if (!column.append(row, out)) return;
  put_at<int32_t>(out, start, static_cast<int32_t>(out.size() - start - 4));
}

}  // namespace millrace::pgwire::detail
