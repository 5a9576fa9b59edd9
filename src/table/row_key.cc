#include "table/row_key.h"

#include <optional>

#include "table/detail/row_codec.h"

namespace millrace::table {

struct RowKeys::Impl {
  std::optional<RowCodec> codec;
  RowCodec::Rows rows;

  bool fits(const duckdb::DataChunk& chunk, std::span<const size_t> columns) const {
    if (!codec || codec->fields().size() != columns.size()) return false;
    for (size_t i = 0; i < columns.size(); ++i)
      if (codec->fields()[i].type != chunk.data[columns[i]].GetType()) return false;
    return true;
  }
};

RowKeys::RowKeys() : impl_(std::make_unique<Impl>()) {}
RowKeys::~RowKeys() = default;
RowKeys::RowKeys(RowKeys&&) noexcept = default;
RowKeys& RowKeys::operator=(RowKeys&&) noexcept = default;

void RowKeys::encode(duckdb::DataChunk& chunk, std::span<const size_t> columns) {
  if (!impl_->fits(chunk, columns)) {
    std::vector<duckdb::LogicalType> types;
    for (const size_t column : columns) types.push_back(chunk.data[column].GetType());
    impl_->codec.emplace(types, RowCodec::Form::kCanonical);
  }
  impl_->codec->encode(chunk, columns, impl_->rows);
}

size_t RowKeys::size() const { return impl_->rows.ends.empty() ? 0 : impl_->rows.ends.size() - 1; }
std::string_view RowKeys::operator[](size_t row) const { return impl_->rows[row]; }

struct KeyReader::Impl {
  RowCodec codec;
  mutable std::vector<size_t> targets;
};

KeyReader::KeyReader(const std::vector<duckdb::LogicalType>& types)
    : impl_(std::make_unique<Impl>(
          Impl{RowCodec(types, RowCodec::Form::kCanonical), std::vector<size_t>(types.size())})) {}
KeyReader::~KeyReader() = default;
KeyReader::KeyReader(KeyReader&&) noexcept = default;
KeyReader& KeyReader::operator=(KeyReader&&) noexcept = default;

void KeyReader::read(std::string_view key, duckdb::DataChunk& out, size_t row,
                     size_t first_column) const {
  auto& targets = impl_->targets;
  for (size_t i = 0; i < targets.size(); ++i) targets[i] = first_column + i;
  impl_->codec.decode(key, targets, out, row);
}

std::string encode_key(duckdb::DataChunk& chunk, size_t row, std::span<const size_t> columns) {
  duckdb::DataChunk one;
  one.InitializeEmpty(chunk.GetTypes());
  one.Reference(chunk);
  one.Slice(row, 1);
  RowKeys keys;
  keys.encode(one, columns);
  return std::string(keys[0]);
}

void encode_keys(duckdb::DataChunk& chunk, std::span<const size_t> columns,
                 std::vector<std::string>& out) {
  RowKeys keys;
  keys.encode(chunk, columns);
  out.resize(chunk.size());
  for (size_t row = 0; row < out.size(); ++row) out[row].assign(keys[row]);
}

void decode_key(std::string_view key, const std::vector<duckdb::LogicalType>& types,
                duckdb::DataChunk& out, size_t row) {
  KeyReader(types).read(key, out, row);
}

}  // namespace millrace::table
