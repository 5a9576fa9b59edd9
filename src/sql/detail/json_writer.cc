#include <cstring>
#include <variant>

#include "sql/detail/json_scalar.h"

#include "base/json.h"
#include "sql/detail/json_shape.h"
#include "sql/detail/json_values.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

using duckdb::RecursiveUnifiedVectorFormat;

template <typename T>
const T& at(const RecursiveUnifiedVectorFormat& v, size_t index) {
  return duckdb::UnifiedVectorFormat::GetDataUnsafe<T>(v.unified)[index];
}

std::string_view text_at(const RecursiveUnifiedVectorFormat& v, size_t index) {
  const auto& text = at<duckdb::string_t>(v, index);
  return {text.GetData(), text.GetSize()};
}

unsigned __int128 bits_of(const duckdb::hugeint_t& huge) {
  return static_cast<unsigned __int128>(static_cast<uint64_t>(huge.upper)) << 64 | huge.lower;
}

void write_huge(const duckdb::hugeint_t& huge, unsigned scale, std::string& out) {
  const unsigned __int128 bits = bits_of(huge);
  write_scaled(huge.upper < 0, huge.upper < 0 ? -bits : bits, scale, out);
}

void write_decimal(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t index,
                   std::string& out) {
  int64_t number = 0;
  switch (shape.type.InternalType()) {
    case duckdb::PhysicalType::INT16:
      number = at<int16_t>(v, index);
      break;
    case duckdb::PhysicalType::INT32:
      number = at<int32_t>(v, index);
      break;
    case duckdb::PhysicalType::INT64:
      number = at<int64_t>(v, index);
      break;
    default:
      write_huge(at<duckdb::hugeint_t>(v, index), shape.scale, out);
      return;
  }
  const auto bits = static_cast<uint64_t>(number);
  write_scaled(number < 0, number < 0 ? uint64_t{0} - bits : bits, shape.scale, out);
}

void write_uuid(const duckdb::hugeint_t& uuid, std::string& out) {
  const unsigned __int128 bits = bits_of(uuid) ^ static_cast<unsigned __int128>(1) << 127;
  out.push_back('"');
  for (int i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) out.push_back('-');
    out.push_back("0123456789abcdef"[static_cast<int>(bits >> (124 - 4 * i)) & 15]);
  }
  out.push_back('"');
}

void write_enum(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t index,
                std::string& out) {
  size_t position = 0;
  switch (shape.type.InternalType()) {
    case duckdb::PhysicalType::UINT8:
      position = at<uint8_t>(v, index);
      break;
    case duckdb::PhysicalType::UINT16:
      position = at<uint16_t>(v, index);
      break;
    default:
      position = at<uint32_t>(v, index);
  }
  const auto text = duckdb::EnumType::GetString(shape.type, position);
  append_json_string({text.GetData(), text.GetSize()}, out);
}

/// Times of other units: what microseconds can say is written as a timestamp; the digits below a
/// microsecond are appended.
void write_timestamp_in(Form form, int64_t value, std::string& out) {
  const duckdb::timestamp_t raw(value);
  int64_t us = value;
  if (form == Form::kTimestampNs && duckdb::Timestamp::IsFinite(raw)) {
    int64_t below = value % 1000;
    if (below < 0) below += 1000;
    us = (value - below) / 1000;
    if (below != 0) {
      out.push_back('"');
      out += duckdb::Value::TIMESTAMPNS(duckdb::timestamp_ns_t(value)).ToString();
      out.push_back('"');
      return;
    }
  }
  const int64_t unit =
      form == Form::kTimestampS ? 1'000'000 : (form == Form::kTimestampMs ? 1000 : 1);
  if (duckdb::Timestamp::IsFinite(raw) && __builtin_mul_overflow(us, unit, &us)) {
    // Past what microseconds reach: DuckDB's own text, which it will refuse to read back.
    out.push_back('"');
    out += std::to_string(value);
    out.push_back('"');
    return;
  }
  write_timestamp(us, form == Form::kTimestampTz, out);
}

/// A column of type JSON holds JSON text, unless someone cast it from what is none.
void write_json(std::string_view text, std::string& out) {
  if (is_json(text)) {
    out += text;
  } else {
    append_json_string(text, out);
  }
}

void write_cast(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t index,
                std::string& out) {
  if (shape.type.id() == duckdb::LogicalTypeId::TIME_TZ) {
    const auto& time = at<duckdb::dtime_tz_t>(v, index);
    return write_time_tz(time.time().micros, time.offset(), out);
  }
  duckdb::Vector one(shape.type, 1);
  duckdb::FlatVector::GetDataUnsafe<duckdb::string_t>(one)[0] = at<duckdb::string_t>(v, index);
  const duckdb::Value value = one.GetValue(0);
  append_json_string(value.ToString(), out);
}

void write_value(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t row,
                 std::string& out);

void write_struct(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t index,
                  std::string& out) {
  out.push_back('{');
  for (size_t i = 0; i < shape.children.size(); ++i) {
    if (i > 0) out.push_back(',');
    append_json_string(shape.names[i], out);
    out.push_back(':');
    write_value(shape.children[i], v.children[i], index, out);
  }
  out.push_back('}');
}

void write_elements(const Shape& element, const RecursiveUnifiedVectorFormat& v, size_t from,
                    size_t count, std::string& out) {
  out.push_back('[');
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out.push_back(',');
    write_value(element, v, from + i, out);
  }
  out.push_back(']');
}

void write_map(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t index,
               std::string& out) {
  const auto entry = at<duckdb::list_entry_t>(v, index);
  const RecursiveUnifiedVectorFormat& pairs = v.children[0];
  const bool object = shape.children[0].form == Form::kText;
  out.push_back(object ? '{' : '[');
  for (size_t i = 0; i < entry.length; ++i) {
    const size_t pair = pairs.unified.sel->get_index(entry.offset + i);
    if (i > 0) out.push_back(',');
    if (!object) out.push_back('[');
    write_value(shape.children[0], pairs.children[0], pair, out);
    out.push_back(object ? ':' : ',');
    write_value(shape.children[1], pairs.children[1], pair, out);
    if (!object) out.push_back(']');
  }
  out.push_back(object ? '}' : ']');
}

void write_text_like(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t index,
                     std::string& out) {
  switch (shape.form) {
    case Form::kText:
      return append_json_string(text_at(v, index), out);
    case Form::kJson:
      return write_json(text_at(v, index), out);
    case Form::kBlob:
      return write_base64(text_at(v, index), out);
    case Form::kDate:
      return write_date(at<int32_t>(v, index), out);
    case Form::kTime:
      return write_time(at<int64_t>(v, index), out);
    case Form::kInterval:
      return append_json_string(duckdb::Interval::ToString(at<duckdb::interval_t>(v, index)), out);
    case Form::kUuid:
      return write_uuid(at<duckdb::hugeint_t>(v, index), out);
    case Form::kEnum:
      return write_enum(shape, v, index, out);
    case Form::kCast:
      return write_cast(shape, v, index, out);
    default:
      return write_timestamp_in(shape.form, at<int64_t>(v, index), out);
  }
}

void write_value(const Shape& shape, const RecursiveUnifiedVectorFormat& v, size_t row,
                 std::string& out) {
  const size_t index = v.unified.sel->get_index(row);
  if (!v.unified.validity.RowIsValid(index)) {
    out += "null";
    return;
  }
  switch (shape.form) {
    case Form::kNull:
      out += "null";
      return;
    case Form::kBool:
      out += at<bool>(v, index) ? "true" : "false";
      return;
    case Form::kInt8:
      return write_integer(at<int8_t>(v, index), out);
    case Form::kInt16:
      return write_integer(at<int16_t>(v, index), out);
    case Form::kInt32:
      return write_integer(at<int32_t>(v, index), out);
    case Form::kInt64:
      return write_integer(at<int64_t>(v, index), out);
    case Form::kUint8:
      return write_unsigned(at<uint8_t>(v, index), out);
    case Form::kUint16:
      return write_unsigned(at<uint16_t>(v, index), out);
    case Form::kUint32:
      return write_unsigned(at<uint32_t>(v, index), out);
    case Form::kUint64:
      return write_unsigned(at<uint64_t>(v, index), out);
    case Form::kHuge:
      return write_huge(at<duckdb::hugeint_t>(v, index), 0, out);
    case Form::kUhuge: {
      const auto& huge = at<duckdb::uhugeint_t>(v, index);
      return write_scaled(false, static_cast<unsigned __int128>(huge.upper) << 64 | huge.lower, 0,
                          out);
    }
    case Form::kFloat:
      return write_float(at<float>(v, index), out);
    case Form::kDouble:
      return write_double(at<double>(v, index), out);
    case Form::kDecimal:
      return write_decimal(shape, v, index, out);
    case Form::kStruct:
      return write_struct(shape, v, index, out);
    case Form::kList: {
      const auto entry = at<duckdb::list_entry_t>(v, index);
      return write_elements(shape.children[0], v.children[0], entry.offset, entry.length, out);
    }
    case Form::kArray:
      return write_elements(shape.children[0], v.children[0], index * shape.length, shape.length,
                            out);
    case Form::kMap:
      return write_map(shape, v, index, out);
    default:
      return write_text_like(shape, v, index, out);
  }
}

class Writer final : public JsonWriter {
 public:
  Writer(const std::vector<std::string>& names, std::vector<Shape> shapes)
      : shapes_(std::move(shapes)) {
    for (const std::string& name : names) {
      std::string head(heads_.empty() ? "{" : ",");
      append_json_string(name, head);
      head.push_back(':');
      heads_.push_back(std::move(head));
    }
  }

  void begin(duckdb::DataChunk& chunk) override {
    columns_.clear();
    columns_.resize(shapes_.size());
    for (size_t i = 0; i < shapes_.size(); ++i)
      duckdb::Vector::RecursiveToUnifiedFormat(chunk.data[i], chunk.size(), columns_[i]);
  }

  void write(size_t row, std::string& out) override {
    if (heads_.empty()) out.push_back('{');
    for (size_t i = 0; i < shapes_.size(); ++i) {
      out += heads_[i];
      write_value(shapes_[i], columns_[i], row, out);
    }
    out.push_back('}');
  }

  void write_key(const std::vector<size_t>& columns, size_t row, std::string& out) override {
    out.push_back('[');
    for (size_t i = 0; i < columns.size(); ++i) {
      if (i > 0) out.push_back(',');
      write_value(shapes_[columns[i]], columns_[columns[i]], row, out);
    }
    out.push_back(']');
  }

 private:
  std::vector<Shape> shapes_;
  std::vector<std::string> heads_;  // `{"a":`, then `,"b":`
  std::vector<RecursiveUnifiedVectorFormat> columns_;
};

}  // namespace

Result<std::unique_ptr<JsonWriter>> JsonWriter::make(std::vector<std::string> names,
                                                     std::vector<duckdb::LogicalType> types) {
  MR_CHECK(names.size() == types.size());
  std::vector<Shape> shapes;
  for (const auto& type : types) {
    MR_TRY(Shape shape, shape_of(type));
    shapes.push_back(std::move(shape));
  }
  return std::unique_ptr<JsonWriter>(std::make_unique<Writer>(names, std::move(shapes)));
}

}  // namespace millrace::sql
