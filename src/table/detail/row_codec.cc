#include "table/detail/row_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace millrace::table {
namespace {

using duckdb::FlatVector;
using duckdb::ListVector;
using duckdb::PhysicalType;
using duckdb::RecursiveUnifiedVectorFormat;
using duckdb::string_t;
using Field = RowCodec::Field;

constexpr size_t kLength = sizeof(uint32_t);

size_t bitmap_bytes(size_t count) { return (count + 7) / 8; }
void set_bit(char* bitmap, size_t i) {
  bitmap[i / 8] = static_cast<char>(bitmap[i / 8] | 1 << (i % 8));
}
bool bit(const char* bitmap, size_t i) { return bitmap[i / 8] >> (i % 8) & 1; }

Field field_of(const duckdb::LogicalType& type) {
  Field field;
  field.type = type;
  field.physical = type.InternalType();
  switch (field.physical) {
    case PhysicalType::VARCHAR:
      break;
    case PhysicalType::STRUCT:
      for (const auto& [name, child] : duckdb::StructType::GetChildTypes(type))
        field.children.push_back(field_of(child));
      break;
    case PhysicalType::LIST:
      field.children.push_back(field_of(duckdb::ListType::GetChildType(type)));
      break;
    case PhysicalType::ARRAY:
      field.array_length = duckdb::ArrayType::GetSize(type);
      field.children.push_back(field_of(duckdb::ArrayType::GetChildType(type)));
      break;
    default:
      field.width = duckdb::GetTypeIdSize(field.physical);
  }
  return field;
}

template <typename T>
T canonical_real(T value) {
  if (value == 0) return 0;
  return std::isnan(value) ? std::numeric_limits<T>::quiet_NaN() : value;
}

/// Writes a fixed width value as one that all its equals share.
void write_canonical(const Field& field, const char* from, char* to) {
  if (field.physical == PhysicalType::DOUBLE) {
    double value;
    std::memcpy(&value, from, sizeof value);
    value = canonical_real(value);
    std::memcpy(to, &value, sizeof value);
  } else if (field.physical == PhysicalType::FLOAT) {
    float value;
    std::memcpy(&value, from, sizeof value);
    value = canonical_real(value);
    std::memcpy(to, &value, sizeof value);
  } else if (field.physical == PhysicalType::INTERVAL) {
    duckdb::interval_t value;
    std::memcpy(&value, from, sizeof value);
    value = value.Normalize();
    std::memcpy(to, &value, sizeof value);
  } else {
    std::memcpy(to, from, field.width);
  }
}

bool has_canonical(const Field& field) {
  return field.physical == PhysicalType::DOUBLE || field.physical == PhysicalType::FLOAT ||
         field.physical == PhysicalType::INTERVAL;
}

const string_t& string_at(const duckdb::UnifiedVectorFormat& v, size_t index) {
  return duckdb::UnifiedVectorFormat::GetDataUnsafe<string_t>(v)[index];
}

bool is_valid(const RecursiveUnifiedVectorFormat& v, size_t row) {
  return v.unified.validity.RowIsValid(v.unified.sel->get_index(row));
}

// ---- one value at a time, for what is nested

size_t value_size(const Field& field, const RecursiveUnifiedVectorFormat& v, size_t row);

size_t run_size(const Field& field, const RecursiveUnifiedVectorFormat& v, size_t from,
                size_t count) {
  size_t size = bitmap_bytes(count);
  for (size_t i = 0; i < count; ++i)
    if (is_valid(v, from + i)) size += value_size(field, v, from + i);
  return size;
}

size_t value_size(const Field& field, const RecursiveUnifiedVectorFormat& v, size_t row) {
  const size_t index = v.unified.sel->get_index(row);
  switch (field.physical) {
    case PhysicalType::VARCHAR:
      return kLength + string_at(v.unified, index).GetSize();
    case PhysicalType::STRUCT: {
      size_t size = bitmap_bytes(field.children.size());
      for (size_t i = 0; i < field.children.size(); ++i)
        if (is_valid(v.children[i], index))
          size += value_size(field.children[i], v.children[i], index);
      return size;
    }
    case PhysicalType::LIST: {
      const auto entry =
          duckdb::UnifiedVectorFormat::GetDataUnsafe<duckdb::list_entry_t>(v.unified)[index];
      return kLength + run_size(field.children[0], v.children[0], entry.offset, entry.length);
    }
    case PhysicalType::ARRAY:
      return run_size(field.children[0], v.children[0], index * field.array_length,
                      field.array_length);
    default:
      return field.width;
  }
}

class ValueWriter {
 public:
  ValueWriter(char* at, bool canonical) : at_(at), canonical_(canonical) {}

  void write(const Field& field, const RecursiveUnifiedVectorFormat& v, size_t row) {
    const size_t index = v.unified.sel->get_index(row);
    switch (field.physical) {
      case PhysicalType::VARCHAR: {
        const string_t& text = string_at(v.unified, index);
        length(text.GetSize());
        std::memcpy(at_, text.GetData(), text.GetSize());
        at_ += text.GetSize();
        break;
      }
      case PhysicalType::STRUCT: {
        char* bitmap = open_bitmap(field.children.size());
        for (size_t i = 0; i < field.children.size(); ++i) {
          if (!is_valid(v.children[i], index)) continue;
          set_bit(bitmap, i);
          write(field.children[i], v.children[i], index);
        }
        break;
      }
      case PhysicalType::LIST: {
        const auto entry =
            duckdb::UnifiedVectorFormat::GetDataUnsafe<duckdb::list_entry_t>(v.unified)[index];
        length(entry.length);
        run(field.children[0], v.children[0], entry.offset, entry.length);
        break;
      }
      case PhysicalType::ARRAY:
        run(field.children[0], v.children[0], index * field.array_length, field.array_length);
        break;
      default: {
        const auto* from = reinterpret_cast<const char*>(v.unified.data) + index * field.width;
        if (canonical_) {
          write_canonical(field, from, at_);
        } else {
          std::memcpy(at_, from, field.width);
        }
        at_ += field.width;
      }
    }
  }

  char* at() const { return at_; }

 private:
  void length(size_t value) {
    const auto length = static_cast<uint32_t>(value);
    std::memcpy(at_, &length, kLength);
    at_ += kLength;
  }
  char* open_bitmap(size_t count) {
    char* bitmap = at_;
    std::memset(bitmap, 0, bitmap_bytes(count));
    at_ += bitmap_bytes(count);
    return bitmap;
  }
  void run(const Field& field, const RecursiveUnifiedVectorFormat& v, size_t from, size_t count) {
    char* bitmap = open_bitmap(count);
    for (size_t i = 0; i < count; ++i) {
      if (!is_valid(v, from + i)) continue;
      set_bit(bitmap, i);
      write(field, v, from + i);
    }
  }

  char* at_;
  bool canonical_;
};

// ---- a column at a time

struct Column {
  const Field* field;
  RecursiveUnifiedVectorFormat format;
};

void add_sizes(const Column& column, size_t count, std::vector<size_t>& ends) {
  const auto& v = column.format.unified;
  const Field& field = *column.field;
  const bool all_valid = v.validity.AllValid();
  if (field.width > 0 && all_valid) {
    for (size_t row = 0; row < count; ++row) ends[row + 1] += field.width;
    return;
  }
  for (size_t row = 0; row < count; ++row) {
    const size_t index = v.sel->get_index(row);
    if (!all_valid && !v.validity.RowIsValid(index)) continue;
    size_t size = field.width;
    if (field.physical == PhysicalType::VARCHAR) {
      size = kLength + string_at(v, index).GetSize();
    } else if (size == 0) {
      size = value_size(field, column.format, row);
    }
    ends[row + 1] += size;
  }
}

template <typename Write>
void write_rows(const duckdb::UnifiedVectorFormat& v, size_t i, size_t count, char* bytes,
                const std::vector<size_t>& begins, std::vector<size_t>& at, Write write) {
  const bool all_valid = v.validity.AllValid();
  for (size_t row = 0; row < count; ++row) {
    const size_t index = v.sel->get_index(row);
    if (!all_valid && !v.validity.RowIsValid(index)) continue;
    set_bit(bytes + begins[row], i);
    at[row] += write(bytes + at[row], index, row);
  }
}

template <size_t kWidth>
auto fixed_writer(const duckdb::UnifiedVectorFormat& v) {
  const auto* data = reinterpret_cast<const char*>(v.data);
  return [data](char* to, size_t index, size_t) {
    std::memcpy(to, data + index * kWidth, kWidth);
    return kWidth;
  };
}

void write_column(const Column& column, size_t i, size_t count, bool canonical, char* bytes,
                  const std::vector<size_t>& begins, std::vector<size_t>& at) {
  const Field& field = *column.field;
  const auto& v = column.format.unified;
  const auto rows = [&](auto write) { write_rows(v, i, count, bytes, begins, at, write); };
  if (field.physical == PhysicalType::VARCHAR) {
    rows([&v](char* to, size_t index, size_t) {
      const string_t& text = string_at(v, index);
      const auto length = static_cast<uint32_t>(text.GetSize());
      std::memcpy(to, &length, kLength);
      std::memcpy(to + kLength, text.GetData(), length);
      return kLength + length;
    });
  } else if (field.width == 0) {
    rows([&](char* to, size_t, size_t row) {
      ValueWriter writer(to, canonical);
      writer.write(field, column.format, row);
      return static_cast<size_t>(writer.at() - to);
    });
  } else if (canonical && has_canonical(field)) {
    rows([&](char* to, size_t index, size_t) {
      write_canonical(field, reinterpret_cast<const char*>(v.data) + index * field.width, to);
      return field.width;
    });
  } else if (field.width == 8) {
    rows(fixed_writer<8>(v));
  } else if (field.width == 4) {
    rows(fixed_writer<4>(v));
  } else if (field.width == 2) {
    rows(fixed_writer<2>(v));
  } else if (field.width == 1) {
    rows(fixed_writer<1>(v));
  } else {
    MR_CHECK(field.width == 16);
    rows(fixed_writer<16>(v));
  }
}

// ---- back

/// Reads over the bytes of one row. They are our own: what does not add up is a broken promise.
class ValueReader {
 public:
  explicit ValueReader(std::string_view bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  const char* take(size_t count) {
    MR_CHECK(count <= static_cast<size_t>(end_ - at_));
    const char* from = at_;
    at_ += count;
    return from;
  }
  uint32_t length() {
    uint32_t value;
    std::memcpy(&value, take(kLength), kLength);
    return value;
  }
  bool at_end() const { return at_ == end_; }

  void read(const Field& field, duckdb::Vector& into, size_t row);
  void skip(const Field& field);

 private:
  void read_or_null(const Field& field, bool valid, duckdb::Vector& into, size_t row) {
    if (valid) {
      read(field, into, row);
    } else {
      FlatVector::SetNull(into, row, true);
    }
  }
  void run(const Field& field, duckdb::Vector& into, size_t from, size_t count) {
    const char* bitmap = take(bitmap_bytes(count));
    for (size_t i = 0; i < count; ++i) read_or_null(field, bit(bitmap, i), into, from + i);
  }
  void skip_run(const Field& field, size_t count) {
    const char* bitmap = take(bitmap_bytes(count));
    for (size_t i = 0; i < count; ++i)
      if (bit(bitmap, i)) skip(field);
  }
  void read_list(const Field& field, duckdb::Vector& into, size_t row);

  const char* at_;
  const char* end_;
};

void ValueReader::read_list(const Field& field, duckdb::Vector& into, size_t row) {
  const size_t count = length();
  const size_t offset = ListVector::GetListSize(into);
  const size_t capacity = ListVector::GetListCapacity(into);
  if (offset + count > capacity) ListVector::Reserve(into, std::max(2 * capacity, offset + count));
  run(field.children[0], ListVector::GetEntry(into), offset, count);
  ListVector::SetListSize(into, offset + count);
  FlatVector::GetDataUnsafe<duckdb::list_entry_t>(into)[row] = duckdb::list_entry_t(offset, count);
}

void ValueReader::read(const Field& field, duckdb::Vector& into, size_t row) {
  auto& validity = FlatVector::Validity(into);
  if (!validity.AllValid()) validity.SetValid(row);
  switch (field.physical) {
    case PhysicalType::VARCHAR: {
      const uint32_t size = length();
      const char* text = take(size);
      FlatVector::GetDataUnsafe<string_t>(into)[row] =
          size <= string_t::INLINE_LENGTH ? string_t(text, size)
                                          : duckdb::StringVector::AddStringOrBlob(into, text, size);
      break;
    }
    case PhysicalType::STRUCT: {
      const char* bitmap = take(bitmap_bytes(field.children.size()));
      auto& entries = duckdb::StructVector::GetEntries(into);
      for (size_t i = 0; i < field.children.size(); ++i)
        read_or_null(field.children[i], bit(bitmap, i), *entries[i], row);
      break;
    }
    case PhysicalType::LIST:
      read_list(field, into, row);
      break;
    case PhysicalType::ARRAY:
      run(field.children[0], duckdb::ArrayVector::GetEntry(into), row * field.array_length,
          field.array_length);
      break;
    default:
      std::memcpy(FlatVector::GetData(into) + row * field.width, take(field.width), field.width);
  }
}

void ValueReader::skip(const Field& field) {
  switch (field.physical) {
    case PhysicalType::VARCHAR:
      take(length());
      break;
    case PhysicalType::STRUCT: {
      const char* bitmap = take(bitmap_bytes(field.children.size()));
      for (size_t i = 0; i < field.children.size(); ++i)
        if (bit(bitmap, i)) skip(field.children[i]);
      break;
    }
    case PhysicalType::LIST:
      skip_run(field.children[0], length());
      break;
    case PhysicalType::ARRAY:
      skip_run(field.children[0], field.array_length);
      break;
    default:
      take(field.width);
  }
}

}  // namespace

RowCodec::RowCodec(std::span<const duckdb::LogicalType> types, Form form) : form_(form) {
  for (const auto& type : types) fields_.push_back(field_of(type));
}

void RowCodec::encode(duckdb::DataChunk& chunk, std::span<const size_t> columns, Rows& out) const {
  MR_CHECK(columns.size() == fields_.size());
  const size_t count = chunk.size();
  const size_t bitmap = bitmap_bytes(fields_.size());
  std::vector<Column> inputs(columns.size());
  out.ends.assign(count + 1, bitmap);
  out.ends[0] = 0;
  for (size_t i = 0; i < columns.size(); ++i) {
    duckdb::Vector& vector = chunk.data[columns[i]];
    inputs[i].field = &fields_[i];
    if (fields_[i].children.empty()) {
      vector.ToUnifiedFormat(count, inputs[i].format.unified);
    } else {
      duckdb::Vector::RecursiveToUnifiedFormat(vector, count, inputs[i].format);
    }
    add_sizes(inputs[i], count, out.ends);
  }
  for (size_t row = 0; row < count; ++row) out.ends[row + 1] += out.ends[row];
  out.bytes.resize(out.ends[count]);
  std::vector<size_t> at(out.ends.begin(), out.ends.end());
  for (size_t row = 0; row < count && bitmap > 0; ++row) {
    std::memset(out.bytes.data() + at[row], 0, bitmap);
    at[row] += bitmap;
  }
  for (size_t i = 0; i < columns.size(); ++i)
    write_column(inputs[i], i, count, form_ == Form::kCanonical, out.bytes.data(), out.ends, at);
}

void RowCodec::encode_row(duckdb::DataChunk& chunk, size_t row, std::vector<char>& out) const {
  std::vector<RecursiveUnifiedVectorFormat> inputs(fields_.size());
  size_t size = bitmap_bytes(fields_.size());
  for (size_t i = 0; i < fields_.size(); ++i) {
    duckdb::Vector::RecursiveToUnifiedFormat(chunk.data[i], chunk.size(), inputs[i]);
    if (is_valid(inputs[i], row)) size += value_size(fields_[i], inputs[i], row);
  }
  out.resize(size);
  std::fill_n(out.begin(), bitmap_bytes(fields_.size()), '\0');
  ValueWriter writer(out.data() + bitmap_bytes(fields_.size()), form_ == Form::kCanonical);
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (!is_valid(inputs[i], row)) continue;
    set_bit(out.data(), i);
    writer.write(fields_[i], inputs[i], row);
  }
}

void RowCodec::decode(std::string_view row, std::span<const size_t> targets, duckdb::DataChunk& out,
                      size_t at) const {
  MR_CHECK(targets.size() <= fields_.size());
  ValueReader reader(row);
  const char* bitmap = reader.take(bitmap_bytes(fields_.size()));
  for (size_t i = 0; i < targets.size(); ++i) {
    const bool valid = bit(bitmap, i);
    if (targets[i] == kSkip) {
      if (valid) reader.skip(fields_[i]);
    } else if (valid) {
      reader.read(fields_[i], out.data[targets[i]], at);
    } else {
      FlatVector::SetNull(out.data[targets[i]], at, true);
    }
  }
}

}  // namespace millrace::table
