#include "flow/detail/upsert.h"

#include <algorithm>
#include <numeric>

#include "flow/detail/arrangement.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

Result<std::unique_ptr<UpsertInput>> UpsertInput::make(const catalog::Object& table,
                                                       std::vector<size_t> columns, Gives gives) {
  MR_TRY(const auto known, sql::columns_of(table));
  std::unique_ptr<UpsertInput> made(new UpsertInput());
  made->gives_ = gives;
  std::vector<duckdb::LogicalType> types;
  for (const size_t column : columns) types.push_back(known.at(column).type);
  made->codec_ = std::make_unique<RowCodec>(types, RowCodec::Use::kRow);
  made->column_count_ = columns.size();
  made->read_columns_ = std::move(columns);

  const auto read = [&](size_t column) {
    made->read_columns_.push_back(column);
    return made->read_columns_.size() - 1;
  };
  const auto index_of = [&](const std::string& name) {
    return std::ranges::find(known, name, &sql::RelationColumn::name) - known.begin();
  };
  for (const auto& name : table.primary_key) {
    made->key_at_.push_back(read(index_of(name)));
    made->key_types_.push_back(known.at(index_of(name)).type);
  }
  made->raw_key_at_ = read(index_of("_key"));
  made->tombstone_at_ = read(sql::Decoder::kTombstone);
  if (!made->key_at_.empty()) {
    MR_TRY(made->key_reader_, sql::RecordKeyReader::make(std::vector<duckdb::LogicalType>(
                                  made->key_types_.begin(), made->key_types_.end())));
  }
  return made;
}

std::vector<std::optional<std::string>> UpsertInput::keys_of(duckdb::DataChunk& rows) {
  const size_t count = rows.size();
  duckdb::UnifiedVectorFormat raw_keys, tombstones;
  rows.data[raw_key_at_].ToUnifiedFormat(count, raw_keys);
  rows.data[tombstone_at_].ToUnifiedFormat(count, tombstones);
  const auto* raw = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(raw_keys);
  const auto* gone = duckdb::UnifiedVectorFormat::GetData<bool>(tombstones);
  if (!key_at_.empty()) row_keys_.encode(rows, key_at_);
  std::vector<std::optional<std::string>> keys(count);
  for (size_t row = 0; row < count; ++row) {
    if (!key_at_.empty() && !gone[tombstones.sel->get_index(row)]) {
      keys[row] = std::string(row_keys_[row]);
      continue;
    }
    const auto at = raw_keys.sel->get_index(row);
    if (!raw_keys.validity.RowIsValid(at)) continue;
    const std::string_view text(raw[at].GetData(), raw[at].GetSize());
    keys[row] = key_at_.empty() ? std::string(text) : key_of_tombstone(text);
  }
  return keys;
}

bool UpsertInput::read_tombstone(std::string_view json, duckdb::DataChunk& key) {
  key.Initialize(duckdb::Allocator::DefaultAllocator(), key_types_, 1);
  if (!key_reader_->read(json, key, 0)) return false;
  key.SetCardinality(1);
  return true;
}

std::optional<std::string> UpsertInput::key_of_tombstone(std::string_view json) {
  duckdb::DataChunk values;
  if (!read_tombstone(json, values)) return std::nullopt;
  std::vector<size_t> all(key_types_.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return table::encode_key(values, 0, all);
}

void UpsertInput::apply(const ReadChunk& records, DeltaStream& out) {
  const size_t count = records.rows.size();
  auto& rows = const_cast<duckdb::DataChunk&>(records.rows);  // its references alone are used
  if (gives_ == Gives::kVersions) return apply_versions(rows, out);
  auto keys = keys_of(rows);
  EncodedRows encoded;
  if (column_count_ > 0) codec_->encode(rows, encoded);
  duckdb::UnifiedVectorFormat tombstones;
  rows.data[tombstone_at_].ToUnifiedFormat(count, tombstones);
  const auto* gone = duckdb::UnifiedVectorFormat::GetData<bool>(tombstones);
  for (size_t row = 0; row < count; ++row) {
    if (!keys[row]) continue;  // names no row: the table passes over it too
    if (gone[tombstones.sel->get_index(row)])
      forget(*keys[row]);
    else
      put(*keys[row], column_count_ > 0 ? encoded[row] : std::string_view());
    if (changed_.size() + 2 > STANDARD_VECTOR_SIZE) flush(out);
  }
  flush(out);
}

void UpsertInput::apply_versions(duckdb::DataChunk& rows, DeltaStream& out) {
  const size_t count = rows.size();
  duckdb::UnifiedVectorFormat raw_keys, tombstones;
  rows.data[raw_key_at_].ToUnifiedFormat(count, raw_keys);
  rows.data[tombstone_at_].ToUnifiedFormat(count, tombstones);
  const auto* raw = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(raw_keys);
  const auto* gone = duckdb::UnifiedVectorFormat::GetData<bool>(tombstones);
  duckdb::DataChunk versions;
  const auto types = rows.GetTypes();
  make_chunk(versions, {types.begin(), types.begin() + static_cast<ptrdiff_t>(column_count_)},
             count);
  for (size_t c = 0; c < column_count_; ++c)
    duckdb::VectorOperations::Copy(rows.data[c], versions.data[c], count, 0, 0);
  versions.SetCardinality(count);
  duckdb::SelectionVector named(count);
  auto delta = std::make_shared<Delta>();
  for (size_t row = 0; row < count; ++row) {
    const auto at = raw_keys.sel->get_index(row);
    const bool has_key = raw_keys.validity.RowIsValid(at);
    const bool is_gone = gone[tombstones.sel->get_index(row)];
    if (is_gone && !key_at_.empty()) {
      duckdb::DataChunk key;
      if (!has_key || !read_tombstone({raw[at].GetData(), raw[at].GetSize()}, key)) continue;
      for (size_t k = 0; k < key_at_.size(); ++k)
        for (size_t c = 0; c < column_count_; ++c)
          if (read_columns_[c] == read_columns_[key_at_[k]])
            versions.SetValue(c, row, key.GetValue(k, 0));
    } else if (key_at_.empty() && !has_key) {
      continue;
    }
    named.set_index(delta->weights.size(), row);
    delta->weights.push_back(is_gone ? -1 : 1);
  }
  if (delta->weights.empty()) return;
  slice_chunk(versions, named, delta->weights.size(), delta->rows);
  out.chunks.push_back(std::move(delta));
}

PieceEntry* UpsertInput::find(std::string_view key, uint32_t place) const {
  return rows_.find(place, [&](const PieceEntry& entry) { return row_at(entry).key() == key; });
}

void UpsertInput::forget(std::string_view key) {
  if (auto* found = find(key, PieceEntry::place_of(hash_bytes(key)))) take_out(found);
}

void UpsertInput::take_out(PieceEntry* at) {
  Row* row = &row_at(*at);
  if (auto* out = frozen_.thaw(row)) save(*row, *out);
  rows_.erase(at);
  changed_.push_back(row->row().data());
  weights_.push_back(-1);
  gone_.push_back(row);
}

void UpsertInput::put(std::string_view key, std::string_view row) {
  const auto place = PieceEntry::place_of(hash_bytes(key));
  if (auto* found = find(key, place)) {
    if (row_at(*found).row() == row) return;
    take_out(found);
  }
  Row* made =
      std::construct_at(static_cast<Row*>(slab_.allocate(sizeof(Row) + key.size() + row.size())));
  made->key_bytes = static_cast<uint32_t>(key.size());
  made->row_bytes = static_cast<uint32_t>(row.size());
  char* bytes = reinterpret_cast<char*>(made + 1);
  if (!key.empty()) std::memcpy(bytes, key.data(), key.size());
  if (!row.empty()) std::memcpy(bytes + key.size(), row.data(), row.size());
  rows_.insert({place, slab_.handle_of(made)});
  changed_.push_back(made->row().data());
  weights_.push_back(1);
}

void UpsertInput::release_gone() {
  for (Row* row : gone_) slab_.release(row, sizeof(Row) + row->key_bytes + row->row_bytes);
  gone_.clear();
  changed_.clear();
  weights_.clear();
}

void UpsertInput::flush(DeltaStream& out) {
  if (changed_.empty()) return;
  auto delta = std::make_shared<Delta>();
  if (column_count_ > 0) {
    make_chunk(delta->rows,
               duckdb::vector<duckdb::LogicalType>(codec_->types().begin(), codec_->types().end()),
               changed_.size());
    codec_->decode(changed_, delta->rows);
  }
  delta->rows.SetCardinality(changed_.size());
  delta->weights = std::move(weights_);
  out.chunks.push_back(std::move(delta));
  release_gone();
}

void UpsertInput::freeze() {
  frozen_.freeze();
  began_ = false;
}

bool UpsertInput::save_some(StateWriter& out, size_t bytes) {
  if (!std::exchange(began_, true)) out.begin("table", 2);
  return frozen_.save_some(out, bytes, [](std::span<void* const> rows, StateWriter& to) {
    for (const void* row : rows) save(*static_cast<const Row*>(row), to);
  });
}

void UpsertInput::save(const Row& row, StateWriter& out) {
  out.number(FrozenSlab::kPiece);
  out.bytes(row.key());
  out.bytes(row.row());
}

void UpsertInput::load(StateReader& in) {
  in.begin("table", 2);
  while (in.number<uint8_t>() == FrozenSlab::kPiece) {
    const std::string key(in.bytes());
    put(key, in.bytes());
  }
  release_gone();
}

}  // namespace millrace::flow
