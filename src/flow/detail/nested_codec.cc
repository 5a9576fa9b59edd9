#include "flow/detail/nested_codec.h"

#include <cmath>

namespace millrace::flow {

namespace {

template <typename T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
void append_raw(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
void normalize_float(char* at) {
  T value = load<T>(at);
  if (std::isnan(value)) value = std::numeric_limits<T>::quiet_NaN();
  if (value == 0) value = 0;
  std::memcpy(at, &value, sizeof(T));
}

void normalize_interval(char* at) {
  auto value = load<duckdb::interval_t>(at);
  int64_t months = 0, days = 0, micros = 0;
  value.Normalize(months, days, micros);
  value.months = static_cast<int32_t>(months);
  value.days = static_cast<int32_t>(days);
  value.micros = micros;
  std::memcpy(at, &value, sizeof(value));
}

}  // namespace

void normalize_fixed(duckdb::PhysicalType type, char* value) {
  switch (type) {
    case duckdb::PhysicalType::FLOAT:
      return normalize_float<float>(value);
    case duckdb::PhysicalType::DOUBLE:
      return normalize_float<double>(value);
    case duckdb::PhysicalType::INTERVAL:
      return normalize_interval(value);
    default:
      return;
  }
}

NestedWriter::NestedWriter(duckdb::Vector& values, size_t count, bool normalize)
    : values_(values), physical_(values.GetType().InternalType()), normalize_(normalize) {
  // Parts of a struct stand beside it row by row only in a flat vector.
  if (physical_ == duckdb::PhysicalType::STRUCT || physical_ == duckdb::PhysicalType::ARRAY)
    values_.Flatten(count);
  values_.ToUnifiedFormat(count, unified_);
  if (physical_ == duckdb::PhysicalType::STRUCT) {
    for (auto& child : duckdb::StructVector::GetEntries(values_))
      children_.push_back(std::make_unique<NestedWriter>(*child, count, normalize));
  } else if (physical_ == duckdb::PhysicalType::LIST) {
    children_.push_back(std::make_unique<NestedWriter>(duckdb::ListVector::GetEntry(values_),
                                                       duckdb::ListVector::GetListSize(values_),
                                                       normalize));
  } else if (physical_ == duckdb::PhysicalType::ARRAY) {
    children_.push_back(std::make_unique<NestedWriter>(
        duckdb::ArrayVector::GetEntry(values_),
        count * duckdb::ArrayType::GetSize(values_.GetType()), normalize));
  }
}

void NestedWriter::append(size_t row, std::string& out) const {
  const auto at = unified_.sel->get_index(row);
  const bool valid = unified_.validity.RowIsValid(at);
  out.push_back(valid ? 1 : 0);
  if (!valid) return;
  switch (physical_) {
    case duckdb::PhysicalType::STRUCT:
      for (const auto& child : children_) child->append(row, out);
      return;
    case duckdb::PhysicalType::LIST: {
      const auto list = duckdb::UnifiedVectorFormat::GetData<duckdb::list_entry_t>(unified_)[at];
      append_raw(out, static_cast<uint32_t>(list.length));
      for (size_t i = 0; i < list.length; ++i) children_[0]->append(list.offset + i, out);
      return;
    }
    case duckdb::PhysicalType::ARRAY: {
      const size_t n = duckdb::ArrayType::GetSize(values_.GetType());
      for (size_t i = 0; i < n; ++i) children_[0]->append(row * n + i, out);
      return;
    }
    case duckdb::PhysicalType::VARCHAR: {
      const auto& text = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(unified_)[at];
      append_raw(out, static_cast<uint32_t>(text.GetSize()));
      out.append(text.GetData(), text.GetSize());
      return;
    }
    default: {
      const size_t width = duckdb::GetTypeIdSize(physical_);
      out.append(reinterpret_cast<const char*>(unified_.data) + at * width, width);
      if (normalize_) normalize_fixed(physical_, out.data() + out.size() - width);
      return;
    }
  }
}

void read_nested(const char*& at, duckdb::Vector& out, size_t row) {
  if (*at++ == 0) return duckdb::FlatVector::SetNull(out, row, true);
  const auto physical = out.GetType().InternalType();
  switch (physical) {
    case duckdb::PhysicalType::STRUCT:
      for (auto& child : duckdb::StructVector::GetEntries(out)) read_nested(at, *child, row);
      return;
    case duckdb::PhysicalType::LIST: {
      const auto length = load<uint32_t>(at);
      at += sizeof(length);
      const size_t first = duckdb::ListVector::GetListSize(out);
      duckdb::ListVector::Reserve(out, first + length);
      duckdb::ListVector::SetListSize(out, first + length);
      duckdb::FlatVector::GetData<duckdb::list_entry_t>(out)[row] = {first, length};
      auto& child = duckdb::ListVector::GetEntry(out);
      for (size_t i = 0; i < length; ++i) read_nested(at, child, first + i);
      return;
    }
    case duckdb::PhysicalType::ARRAY: {
      const size_t n = duckdb::ArrayType::GetSize(out.GetType());
      auto& child = duckdb::ArrayVector::GetEntry(out);
      for (size_t i = 0; i < n; ++i) read_nested(at, child, row * n + i);
      return;
    }
    case duckdb::PhysicalType::VARCHAR: {
      const auto length = load<uint32_t>(at);
      at += sizeof(length);
      duckdb::FlatVector::GetData<duckdb::string_t>(out)[row] =
          duckdb::StringVector::AddStringOrBlob(out, at, length);
      at += length;
      return;
    }
    default: {
      const size_t width = duckdb::GetTypeIdSize(physical);
      std::memcpy(duckdb::FlatVector::GetData(out) + row * width, at, width);
      at += width;
      return;
    }
  }
}

}  // namespace millrace::flow
