#include "flow/detail/upsert.h"

#include <algorithm>

#include "flow/detail/evaluator.h"

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
  std::vector<std::string> names;
  std::vector<duckdb::LogicalType> key_types;
  for (const auto& name : table.primary_key) {
    made->key_at_.push_back(read(index_of(name)));
    names.push_back(name);
    key_types.push_back(known.at(index_of(name)).type);
  }
  made->raw_key_at_ = read(index_of("_key"));
  made->tombstone_at_ = read(sql::Decoder::kTombstone);
  MR_TRY(made->keys_, sql::JsonWriter::make(std::move(names), std::move(key_types)));
  return made;
}

void UpsertInput::apply(const ReadChunk& records, DeltaStream& out) {
  const size_t count = records.rows.size();
  auto& rows = const_cast<duckdb::DataChunk&>(records.rows);  // its references alone are used
  duckdb::DataChunk keys;
  duckdb::vector<duckdb::LogicalType> key_types;
  std::vector<size_t> key_columns;
  for (const size_t at : key_at_) {
    key_columns.push_back(key_types.size());
    key_types.push_back(rows.data[at].GetType());
  }
  keys.InitializeEmpty(key_types);
  for (size_t i = 0; i < key_at_.size(); ++i) keys.data[i].Reference(rows.data[key_at_[i]]);
  keys.SetCardinality(count);
  keys_->begin(keys);

  EncodedRows encoded;
  if (column_count_ > 0) codec_->encode(rows, encoded);
  duckdb::UnifiedVectorFormat raw_keys, tombstones;
  rows.data[raw_key_at_].ToUnifiedFormat(count, raw_keys);
  rows.data[tombstone_at_].ToUnifiedFormat(count, tombstones);
  const auto* raw = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(raw_keys);
  const auto* gone = duckdb::UnifiedVectorFormat::GetData<bool>(tombstones);

  std::string key;
  for (size_t row = 0; row < count; ++row) {
    key.clear();
    if (gone[tombstones.sel->get_index(row)]) {
      const auto at = raw_keys.sel->get_index(row);
      if (!raw_keys.validity.RowIsValid(at)) continue;  // no key: names no row
      const auto found = rows_.find(std::string(raw[at].GetData(), raw[at].GetSize()));
      if (found == rows_.end()) continue;
      bytes_ -= found->first.size() + found->second->size() + 96;
      changed_.push_back(std::move(found->second));
      weights_.push_back(-1);
      rows_.erase(found);
    } else {
      keys_->write_key(key_columns, row, key);
      put(key, column_count_ > 0 ? encoded[row] : std::string_view());
    }
    if (changed_.size() + 2 > STANDARD_VECTOR_SIZE) flush(out);
  }
  flush(out);
}

void UpsertInput::put(std::string_view key, std::string_view row) {
  auto [at, added] = rows_.try_emplace(std::string(key));
  if (!added) {
    if (*at->second == row) return;
    bytes_ -= at->second->size();
    changed_.push_back(std::move(at->second));
    weights_.push_back(-1);
  } else {
    bytes_ += key.size() + 96;
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

}  // namespace millrace::flow
