#include "table/detail/write_plan.h"

#include <fmt/format.h>

#include <numeric>

#include "table/detail/table_log.h"

namespace millrace::table {
namespace {

using sql::Change;

Error changed_meanwhile(const std::string& table) {
  return Error{ErrorCode::kInvalidTransaction,
               fmt::format("another session changed a row of {} meanwhile", table), std::nullopt,
               "run the statement again"};
}

}  // namespace

void initialize(duckdb::DataChunk& chunk, const std::vector<duckdb::LogicalType>& types) {
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(),
                   duckdb::vector<duckdb::LogicalType>(types.begin(), types.end()));
}

std::vector<duckdb::LogicalType> Layout::key_types() const {
  std::vector<duckdb::LogicalType> result;
  for (const size_t column : key_columns) result.push_back(types[column]);
  return result;
}

Result<Layout> Layout::of(catalog::Object object) {
  Layout layout;
  for (auto& column : object.columns) {
    for (const auto& key : object.primary_key)
      column.not_null |= duckdb::StringUtil::CIEquals(column.name, key);
  }
  MR_TRY(auto columns, sql::columns_of(object));
  columns.resize(object.columns.size());
  for (const auto& column : columns) layout.types.push_back(column.type);
  for (const auto& key : object.primary_key) {
    const auto at = std::ranges::find_if(columns, [&](const sql::RelationColumn& column) {
      return duckdb::StringUtil::CIEquals(column.name, key);
    });
    if (at == columns.end())
      return Error{ErrorCode::kUndefinedColumn,
                   fmt::format("the primary key of {} names {}, which is no column of it",
                               object.name, key)};
    layout.key_columns.push_back(static_cast<size_t>(at - columns.begin()));
  }
  if (object.primary_key.empty()) {
    layout.key_columns.push_back(layout.types.size());
    layout.types.push_back(duckdb::LogicalType::BLOB);
  }
  layout.columns = std::move(columns);
  layout.object = std::move(object);
  return layout;
}

WritePlan::WritePlan(const Layout& layout, const RowStore& rows, const KeyIndex& index,
                     uint64_t random_seed)
    : layout_(layout), rows_(rows), index_(index), random_(random_seed), new_rows_(layout.types) {}

Result<uint64_t> WritePlan::add(const Change& change) {
  ++changes_;
  switch (change.kind) {
    case Change::Kind::kUpdate:
      return update(change);
    case Change::Kind::kDelete:
      return erase(change);
    default:
      return insert(change);
  }
}

size_t WritePlan::touch(std::string_view key) {
  if (const auto at = by_key_.find(key); at != by_key_.end()) return at->second;
  const bool existed = index_.contains(key);
  entries_.push_back({std::string(key), existed, existed, kStored});
  by_key_.emplace(entries_.back().key, entries_.size() - 1);
  return entries_.size() - 1;
}

Error WritePlan::unique_violation(std::string_view key) const {
  duckdb::DataChunk values;
  initialize(values, layout_.key_types());
  KeyReader(layout_.key_types()).read(key, values, 0);
  values.SetCardinality(1);
  std::string names, shown;
  for (size_t i = 0; i < layout_.key_columns.size(); ++i) {
    names += (i > 0 ? ", " : "") + layout_.object.primary_key[i];
    shown += (i > 0 ? ", " : "") + values.GetValue(i, 0).ToString();
  }
  return Error{ErrorCode::kUniqueViolation,
               fmt::format("{} has a row with the primary key ({})=({})", layout_.object.name,
                           names, shown)};
}

Result<> WritePlan::check_not_null(duckdb::DataChunk& chunk) const {
  for (size_t i = 0; i < layout_.columns.size(); ++i) {
    if (!layout_.columns[i].not_null) continue;
    duckdb::UnifiedVectorFormat format;
    chunk.data[i].ToUnifiedFormat(chunk.size(), format);
    if (format.validity.AllValid()) continue;
    for (size_t row = 0; row < chunk.size(); ++row)
      if (!format.validity.RowIsValid(format.sel->get_index(row)))
        return Error{ErrorCode::kNotNullViolation,
                     fmt::format("column {} of {} is NOT NULL, and a row has no value for it",
                                 layout_.columns[i].name, layout_.object.name)};
  }
  return {};
}

/// New keys for rows without any: 16 random bytes.
void WritePlan::add_record_keys(duckdb::DataChunk& chunk) {
  auto& keys = chunk.data.back();
  for (size_t row = 0; row < chunk.size(); ++row) {
    std::string id = "[\"";
    for (int half = 0; half < 2; ++half) {
      random_ += 0x9E3779B97F4A7C15;  // splitmix64 from a random start
      uint64_t bits = random_;
      bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9;
      bits = (bits ^ bits >> 27) * 0x94D049BB133111EB;
      id += fmt::format("{:016x}", bits ^ bits >> 31);
    }
    id += "\"]";
    duckdb::FlatVector::GetData<duckdb::string_t>(keys)[row] =
        duckdb::StringVector::AddStringOrBlob(keys, id.data(), id.size());
  }
}

/// Row `row` is the entry's row now. False: it was there, and stays.
Result<bool> WritePlan::put(size_t at, RowStore::Slot row, Change::Kind kind) {
  Entry& entry = entries_[at];
  if (entry.present) {
    if (kind == Change::Kind::kInsertOrIgnore) return false;
    if (kind != Change::Kind::kUpsert) return unique_violation(entry.key);
  }
  if (entry.row != kStored) new_rows_.erase(entry.row);
  entry.present = true;
  entry.row = row;
  return true;
}

Result<uint64_t> WritePlan::insert(const Change& change) {
  uint64_t count = 0;
  for (auto& rows : change.rows->Chunks()) {
    duckdb::DataChunk chunk;
    initialize(chunk, layout_.types);
    MR_CHECK(rows.ColumnCount() == layout_.columns.size());
    for (size_t i = 0; i < layout_.columns.size(); ++i) chunk.data[i].Reference(rows.data[i]);
    chunk.SetCardinality(rows.size());
    MR_TRY(check_not_null(chunk));
    if (!layout_.has_primary_key()) add_record_keys(chunk);
    keys_.encode(chunk, layout_.key_columns);
    std::vector<RowStore::Slot> slots;
    new_rows_.insert(chunk, slots);
    for (size_t row = 0; row < chunk.size(); ++row) {
      MR_TRY(const bool done, put(touch(keys_[row]), slots[row], change.kind));
      if (!done) new_rows_.erase(slots[row]);
      count += done;
    }
  }
  return count;
}

/// Appends the row of that id, as the transaction has it by now, to `out`. False: the transaction
/// has deleted it, or this change has had it already.
Result<bool> WritePlan::locate(int64_t row_id, size_t change, duckdb::DataChunk& out) {
  if (const auto at = taken_.find(row_id); at != taken_.end()) {
    const Entry& entry = entries_[at->second.entry];
    if (at->second.change == change || !entry.present) return false;
    at->second.change = change;
    if (entry.row != kStored) {
      new_rows_.read(entry.row, out);
      return true;
    }
  }
  if (!rows_.holds(row_id)) return changed_meanwhile(layout_.object.name);
  rows_.read(row_id, out);
  return true;
}

/// The rows (of these ids) leave their keys.
void WritePlan::take(std::span<const int64_t> row_ids, duckdb::DataChunk& rows) {
  keys_.encode(rows, layout_.key_columns);
  for (size_t i = 0; i < row_ids.size(); ++i) {
    const size_t entry = touch(keys_[i]);
    entries_[entry].present = false;
    taken_[row_ids[i]] = {entry, changes_};
  }
}

Result<uint64_t> WritePlan::update(const Change& change) {
  // All rows leave their keys before any takes a new one: SET id = id + 1 is no violation.
  struct Moved {
    int64_t row_id;
    std::string key;
    RowStore::Slot row;
  };
  std::vector<Moved> moved;
  size_t position = 0;
  for (auto& values : change.rows->Chunks()) {
    duckdb::DataChunk old;
    initialize(old, layout_.types);
    duckdb::SelectionVector kept(values.size());
    std::vector<int64_t> row_ids;
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t row_id = change.row_ids[position++];
      MR_TRY(const bool found, locate(row_id, changes_, old));
      if (!found) continue;
      // Before the next: the change may name a row twice.
      taken_.try_emplace(row_id, Taken{0, changes_});
      kept.set_index(row_ids.size(), i);
      row_ids.push_back(row_id);
    }
    take(row_ids, old);
    for (size_t i = 0; i < change.columns.size(); ++i)
      old.data[change.columns[i]].Slice(values.data[i], kept, row_ids.size());
    MR_TRY(check_not_null(old));
    keys_.encode(old, layout_.key_columns);
    std::vector<RowStore::Slot> slots;
    new_rows_.insert(old, slots);
    for (size_t i = 0; i < row_ids.size(); ++i)
      moved.push_back({row_ids[i], std::string(keys_[i]), slots[i]});
  }
  for (const Moved& row : moved) {
    const size_t entry = touch(row.key);
    MR_TRY(put(entry, row.row, Change::Kind::kUpdate));
    taken_[row.row_id].entry = entry;
  }
  return moved.size();
}

Result<uint64_t> WritePlan::erase(const Change& change) {
  uint64_t count = 0;
  for (size_t from = 0; from < change.row_ids.size(); from += STANDARD_VECTOR_SIZE) {
    const size_t until = std::min<size_t>(from + STANDARD_VECTOR_SIZE, change.row_ids.size());
    duckdb::DataChunk old;
    initialize(old, layout_.types);
    std::vector<int64_t> row_ids;
    for (size_t i = from; i < until; ++i) {
      MR_TRY(const bool found, locate(change.row_ids[i], changes_, old));
      if (!found) continue;
      taken_.try_emplace(change.row_ids[i], Taken{0, changes_});
      row_ids.push_back(change.row_ids[i]);
    }
    take(row_ids, old);
    count += row_ids.size();
  }
  return count;
}

Result<std::string> WritePlan::encode(size_t batch_bytes_max, TimestampMs timestamp) {
  std::vector<std::string> names;
  for (const auto& column : layout_.columns) names.push_back(column.name);
  std::vector<duckdb::LogicalType> types = layout_.types;
  types.resize(names.size());
  MR_TRY(auto values, sql::JsonWriter::make(std::move(names), std::move(types)));
  const auto key_types = layout_.key_types();
  MR_TRY(auto keys, sql::JsonWriter::make(std::vector<std::string>(key_types.size()), key_types));
  const KeyReader reader(key_types);
  std::vector<size_t> all_keys(key_types.size());
  std::iota(all_keys.begin(), all_keys.end(), size_t{0});

  TransactionWriter writer(batch_bytes_max, timestamp);
  duckdb::DataChunk key_chunk, rows;
  initialize(key_chunk, key_types);
  initialize(rows, layout_.types);
  std::string key, value;
  for (size_t from = 0; from < entries_.size(); from += STANDARD_VECTOR_SIZE) {
    const size_t until = std::min<size_t>(from + STANDARD_VECTOR_SIZE, entries_.size());
    key_chunk.Reset();
    rows.Reset();
    for (size_t i = from; i < until; ++i) {
      reader.read(entries_[i].key, key_chunk, i - from);
      if (entries_[i].present && entries_[i].row != kStored) new_rows_.read(entries_[i].row, rows);
    }
    key_chunk.SetCardinality(until - from);
    keys->begin(key_chunk);
    values->begin(rows);
    size_t row = 0;
    for (size_t i = from; i < until; ++i) {
      const Entry& entry = entries_[i];
      const bool written = entry.present && entry.row != kStored;
      if (!written && (entry.present || !entry.existed)) continue;
      key.clear();
      value.clear();
      if (layout_.has_primary_key()) {
        keys->write_key(all_keys, i - from, key);
      } else {
        const auto& text =
            duckdb::FlatVector::GetData<duckdb::string_t>(key_chunk.data[0])[i - from];
        key.assign(text.GetData(), text.GetSize());
      }
      if (written) values->write(row++, value);
      writer.add(key, written ? std::optional<std::string_view>(value) : std::nullopt);
    }
  }
  return writer.finish();
}

}  // namespace millrace::table
