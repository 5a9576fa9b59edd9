#include "flow/detail/upsert.h"

#include <algorithm>
#include <numeric>

#include "flow/detail/evaluator.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

Result<std::unique_ptr<UpsertInput>> UpsertInput::make(const catalog::Object& table,
                                                       std::vector<size_t> columns) {
  MR_TRY(const auto known, sql::columns_of(table));
  std::unique_ptr<UpsertInput> made(new UpsertInput());
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

std::optional<std::string> UpsertInput::key_of_tombstone(std::string_view json) {
  duckdb::DataChunk values;
  values.Initialize(duckdb::Allocator::DefaultAllocator(), key_types_, 1);
  if (!key_reader_->read(json, values, 0)) return std::nullopt;
  values.SetCardinality(1);
  std::vector<size_t> all(key_types_.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return table::encode_key(values, 0, all);
}

void UpsertInput::apply(const ReadChunk& records, DeltaStream& out) {
  const size_t count = records.rows.size();
  auto& rows = const_cast<duckdb::DataChunk&>(records.rows);  // its references alone are used
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
      put(std::move(*keys[row]), column_count_ > 0 ? encoded[row] : std::string_view());
    if (changed_.size() + 2 > STANDARD_VECTOR_SIZE) flush(out);
  }
  flush(out);
}

void UpsertInput::forget(const std::string& key) {
  const auto found = rows_.find(key);
  if (found == rows_.end()) return;
  bytes_ -= key.size() + found->second->size() + 96;
  changed_.push_back(std::move(found->second));
  weights_.push_back(-1);
  rows_.erase(found);
}

void UpsertInput::put(std::string key, std::string_view row) {
  const size_t key_bytes = key.size();
  auto [at, added] = rows_.try_emplace(std::move(key));
  if (!added) {
    if (*at->second == row) return;
    bytes_ -= at->second->size();
    changed_.push_back(std::move(at->second));
    weights_.push_back(-1);
  } else {
    bytes_ += key_bytes + 96;
  }
  at->second = std::make_shared<const std::string>(row);
  bytes_ += row.size();
  changed_.push_back(at->second);
  weights_.push_back(1);
}

void UpsertInput::flush(DeltaStream& out) {
  if (changed_.empty()) return;
  auto delta = std::make_shared<Delta>();
  if (column_count_ > 0) {
    std::vector<const char*> pieces;
    for (const auto& row : changed_) pieces.push_back(row->data());
    make_chunk(delta->rows,
               duckdb::vector<duckdb::LogicalType>(codec_->types().begin(), codec_->types().end()),
               pieces.size());
    codec_->decode(pieces, delta->rows);
  }
  delta->rows.SetCardinality(changed_.size());
  delta->weights = std::move(weights_);
  out.chunks.push_back(std::move(delta));
  changed_.clear();
  weights_.clear();
}

void UpsertInput::save(StateWriter& out) const {
  out.begin("table", 1);
  out.number(static_cast<uint64_t>(rows_.size()));
  for (const auto& [key, row] : rows_) {
    out.bytes(key);
    out.bytes(*row);
  }
}

void UpsertInput::load(StateReader& in) {
  in.begin("table", 1);
  for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
    std::string key(in.bytes());
    put(std::move(key), in.bytes());
  }
  changed_.clear();
  weights_.clear();
}

}  // namespace millrace::flow
