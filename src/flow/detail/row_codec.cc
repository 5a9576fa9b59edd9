#include "flow/detail/row_codec.h"

#include "base/check.h"
#include "flow/detail/nested_codec.h"

namespace millrace::flow {

namespace {

/// What stands in the slot of a value that does not fit it.
struct Place {
  uint32_t offset;  // in the row
  uint32_t length;
};

bool is_nested(duckdb::PhysicalType type) {
  return type == duckdb::PhysicalType::STRUCT || type == duckdb::PhysicalType::LIST ||
         type == duckdb::PhysicalType::ARRAY;
}

/// The long values of one column of the rows being encoded.
struct LongColumn {
  duckdb::UnifiedVectorFormat values;
  std::string bytes;                     // of nested values, back to back
  std::vector<std::string_view> pieces;  // one a row; without data: NULL

  void take_texts(duckdb::Vector& vector, size_t count) {
    vector.ToUnifiedFormat(count, values);
    pieces.resize(count);
    const auto* texts = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(values);
    for (size_t i = 0; i < count; ++i) {
      const auto at = values.sel->get_index(i);
      if (values.validity.RowIsValid(at)) pieces[i] = {texts[at].GetData(), texts[at].GetSize()};
    }
  }

  void take_nested(duckdb::Vector& vector, size_t count, bool normalize) {
    vector.ToUnifiedFormat(count, values);
    pieces.resize(count);
    const NestedWriter writer(vector, count, normalize);
    std::vector<size_t> ends(count);
    for (size_t i = 0; i < count; ++i) {
      if (values.validity.RowIsValid(values.sel->get_index(i))) writer.append(i, bytes);
      ends[i] = bytes.size();
    }
    for (size_t i = 0; i < count; ++i) {
      const size_t from = i == 0 ? 0 : ends[i - 1];
      if (ends[i] > from) pieces[i] = std::string_view(bytes).substr(from, ends[i] - from);
    }
  }
};

template <size_t kWidth>
void copy_fixed(const duckdb::UnifiedVectorFormat& values, size_t count, char* bytes,
                const std::vector<size_t>& offsets, size_t slot) {
  const char* data = reinterpret_cast<const char*>(values.data);
  for (size_t i = 0; i < count; ++i)
    std::memcpy(bytes + offsets[i] + slot, data + values.sel->get_index(i) * kWidth, kWidth);
}

template <size_t kWidth>
void read_fixed(std::span<const char* const> rows, size_t slot, char* data) {
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i]) std::memcpy(data + i * kWidth, rows[i] + slot, kWidth);
}

}  // namespace

RowCodec::RowCodec(std::vector<duckdb::LogicalType> types, Use use)
    : types_(std::move(types)), normalize_(use == Use::kKey) {
  // At least one, so that a row without columns is told from no row.
  fixed_bytes_ = static_cast<uint32_t>(std::max<size_t>((types_.size() + 7) / 8, 1));
  for (const auto& type : types_) {
    const auto physical = type.InternalType();
    const bool nested = is_nested(physical);
    const bool is_long = nested || physical == duckdb::PhysicalType::VARCHAR;
    const auto width = is_long ? 0 : static_cast<uint32_t>(duckdb::GetTypeIdSize(physical));
    columns_.push_back({physical, fixed_bytes_, width, nested});
    fixed_bytes_ += is_long ? sizeof(Place) : width;
  }
}

void RowCodec::encode(const duckdb::DataChunk& rows, EncodedRows& out) const {
  const size_t count = rows.size();
  std::vector<size_t> sizes(count, fixed_bytes_);
  std::vector<LongColumn> longs(columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    auto& vector = const_cast<duckdb::Vector&>(rows.data[c]);  // reading may need its unified form
    if (columns_[c].width != 0) continue;
    if (columns_[c].nested)
      longs[c].take_nested(vector, count, normalize_);
    else
      longs[c].take_texts(vector, count);
    for (size_t i = 0; i < count; ++i) sizes[i] += longs[c].pieces[i].size();
  }
  out.offsets_.resize(count + 1);
  out.offsets_[0] = 0;
  for (size_t i = 0; i < count; ++i) out.offsets_[i + 1] = out.offsets_[i] + sizes[i];
  out.bytes_.clear();
  out.bytes_.resize(out.offsets_[count]);

  std::vector<uint32_t> ends(count, fixed_bytes_);
  for (size_t c = 0; c < columns_.size(); ++c) {
    duckdb::UnifiedVectorFormat values;
    if (columns_[c].width != 0) {
      const_cast<duckdb::Vector&>(rows.data[c]).ToUnifiedFormat(count, values);
      encode_fixed(columns_[c], c, values, count, out);
      continue;
    }
    for (size_t i = 0; i < count; ++i) {
      char* row = out.bytes_.data() + out.offsets_[i];
      const std::string_view piece = longs[c].pieces[i];
      if (!piece.data()) {
        row[c / 8] |= static_cast<char>(1 << (c % 8));
        continue;
      }
      const Place place{ends[i], static_cast<uint32_t>(piece.size())};
      std::memcpy(row + columns_[c].slot, &place, sizeof(place));
      std::memcpy(row + place.offset, piece.data(), piece.size());
      ends[i] += place.length;
    }
  }
}

void RowCodec::encode_fixed(const Column& column, size_t index, duckdb::UnifiedVectorFormat& values,
                            size_t count, EncodedRows& out) const {
  char* bytes = out.bytes_.data();
  switch (column.width) {
    case 1:
      copy_fixed<1>(values, count, bytes, out.offsets_, column.slot);
      break;
    case 2:
      copy_fixed<2>(values, count, bytes, out.offsets_, column.slot);
      break;
    case 4:
      copy_fixed<4>(values, count, bytes, out.offsets_, column.slot);
      break;
    case 8:
      copy_fixed<8>(values, count, bytes, out.offsets_, column.slot);
      break;
    default:
      MR_CHECK(column.width == 16);
      copy_fixed<16>(values, count, bytes, out.offsets_, column.slot);
  }
  if (normalize_)
    for (size_t i = 0; i < count; ++i)
      normalize_fixed(column.physical, bytes + out.offsets_[i] + column.slot);
  if (values.validity.AllValid()) return;
  for (size_t i = 0; i < count; ++i) {
    if (values.validity.RowIsValid(values.sel->get_index(i))) continue;
    char* row = bytes + out.offsets_[i];
    row[index / 8] |= static_cast<char>(1 << (index % 8));
    std::memset(row + column.slot, 0, column.width);  // what stands under a NULL is anything
  }
}

void RowCodec::decode(std::span<const char* const> rows, duckdb::DataChunk& out,
                      size_t first_column) const {
  for (size_t c = 0; c < columns_.size(); ++c)
    decode_column(columns_[c], c, rows, out.data[first_column + c]);
}

void RowCodec::decode_column(const Column& column, size_t index, std::span<const char* const> rows,
                             duckdb::Vector& out) const {
  const char bit = static_cast<char>(1 << (index % 8));
  for (size_t i = 0; i < rows.size(); ++i)
    if (!rows[i] || (rows[i][index / 8] & bit)) duckdb::FlatVector::SetNull(out, i, true);
  char* data = reinterpret_cast<char*>(duckdb::FlatVector::GetData(out));
  switch (column.width) {
    case 1:
      return read_fixed<1>(rows, column.slot, data);
    case 2:
      return read_fixed<2>(rows, column.slot, data);
    case 4:
      return read_fixed<4>(rows, column.slot, data);
    case 8:
      return read_fixed<8>(rows, column.slot, data);
    case 16:
      return read_fixed<16>(rows, column.slot, data);
    default:
      break;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i] || (rows[i][index / 8] & bit)) continue;
    Place place;
    std::memcpy(&place, rows[i] + column.slot, sizeof(place));
    const char* at = rows[i] + place.offset;
    if (column.nested)
      read_nested(at, out, i);
    else
      duckdb::FlatVector::GetData<duckdb::string_t>(out)[i] =
          duckdb::StringVector::AddStringOrBlob(out, at, place.length);
  }
}

}  // namespace millrace::flow
