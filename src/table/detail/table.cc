#include "table/detail/table.h"

#include <fmt/format.h>

#include <numeric>

#include "base/logging.h"
#include "log/record_batch.h"
#include "table/detail/table_log.h"

namespace millrace::table {
namespace {

constexpr size_t kReadBytes = 4u << 20;

class TableScan final : public sql::RelationScan {
 public:
  TableScan(std::shared_ptr<RowStore::Snapshot> snapshot, std::vector<size_t> columns)
      : snapshot_(std::move(snapshot)), columns_(std::move(columns)) {}
  Result<> next(duckdb::DataChunk& out) override {
    snapshot_->next(columns_, out);
    return {};
  }

 private:
  std::shared_ptr<RowStore::Snapshot> snapshot_;
  std::vector<size_t> columns_;
};
static_assert(sql::ScanRequest::kRowId == std::numeric_limits<size_t>::max());

}  // namespace

struct Table::Parts {
  io::Runtime& runtime;
  io::Env& env;
  Layout layout;
  std::shared_ptr<const broker::Topic> topic;
  size_t batch_bytes_max;
  std::unique_ptr<sql::Decoder> decoder;
  std::unique_ptr<sql::RecordKeyReader> key_reader;
};

Result<std::shared_ptr<Table>> Table::make(io::Runtime& runtime, io::Env& env,
                                           broker::Broker& broker, catalog::Object object) {
  auto topic = broker.find(object.name);
  if (!topic || topic->partitions.empty())
    return Error{ErrorCode::kUndefinedObject, fmt::format("the table {} has no log", object.name)};
  MR_TRY(const auto config, broker::to_log_config(broker::effective_options(object)));
  MR_TRY(Layout layout, Layout::of(std::move(object)));
  // What is stored, then what the fold needs besides: the record's key and whether it has a value.
  const size_t key = layout.columns.size();
  std::vector<size_t> columns(key);
  std::iota(columns.begin(), columns.end(), size_t{0});
  columns.push_back(key);
  columns.push_back(sql::Decoder::kTombstone);
  MR_TRY(auto decoder, sql::Decoder::make(layout.object, std::move(columns)));
  std::unique_ptr<sql::RecordKeyReader> key_reader;
  if (layout.has_primary_key()) {
    MR_TRY(key_reader, sql::RecordKeyReader::make(layout.key_types()));
  }
  return std::make_shared<Table>(Parts{runtime, env, std::move(layout), std::move(topic),
                                       config.batch_bytes_max, std::move(decoder),
                                       std::move(key_reader)});
}

Table::Table(Parts parts)
    : runtime_(parts.runtime),
      env_(parts.env),
      layout_(std::move(parts.layout)),
      topic_(std::move(parts.topic)),
      partition_(*topic_->partitions[0]),
      batch_bytes_max_(parts.batch_bytes_max),
      decoder_(std::move(parts.decoder)),
      key_reader_(std::move(parts.key_reader)),
      bad_records_(env_.metrics().counter("millrace_table_bad_records_total",
                                          "Records of a table's log that are no rows of it",
                                          {{"table", layout_.object.name}})),
      row_count_(env_.metrics().gauge("millrace_table_rows", "Rows of a table",
                                      {{"table", layout_.object.name}})),
      row_bytes_(env_.metrics().gauge("millrace_table_memory_bytes",
                                      "Memory that a table's rows occupy",
                                      {{"table", layout_.object.name}})),
      listener_(fmt::format("table {} {}", layout_.object.name, fmt::ptr(this))),
      rows_(layout_.types) {
  initialize(chunk_, decoder_->types());
}

// ---- following the log

Result<> Table::cut_torn_transaction() {
  auto& shard = partition_.shard();
  const Offset end = partition_.high_watermark();
  if (end <= partition_.start_offset()) return {};
  auto reading = partition_.read(end - 1, 1);
  MR_TRY(const auto tail, shard.block_on(std::move(reading)));
  MR_TRY(const auto torn, torn_transaction(tail.batches));
  if (!torn) return {};
  logging::warn("table: the last write was not finished before a crash, and is taken back",
                {{"table", layout_.object.name}, {"from", *torn}, {"until", end}});
  auto cutting = partition_.truncate_to(std::max(*torn, partition_.start_offset()));
  return shard.block_on(std::move(cutting));
}

Result<> Table::replay() {
  std::lock_guard writing(write_mutex_);
  MR_TRY(cut_torn_transaction());
  folded_ = partition_.start_offset();
  return catch_up();
}

Result<> Table::catch_up() {
  // Records that someone deleted from the log (Kafka's DeleteRecords) stay in the rows.
  folded_ = std::max(folded_, partition_.start_offset());
  while (folded_ < partition_.high_watermark()) {
    auto reading = partition_.read(folded_, kReadBytes);
    MR_TRY(const auto read, partition_.shard().block_on(std::move(reading)));
    MR_TRY(fold(read.batches));
    if (read.next_offset <= folded_) break;
    folded_ = read.next_offset;
  }
  return {};
}

void Table::follow() {
  std::weak_ptr<Table> weak = weak_from_this();
  partition_.on_advance(listener_, [weak] {
    if (const auto self = weak.lock()) self->schedule();
  });
}

void Table::schedule() {
  {
    std::lock_guard lock(background_mutex_);
    if (stopped_ || scheduled_) return;
    scheduled_ = true;
    ++running_;
  }
  runtime_.run_in_pool([self = shared_from_this()] {
    {
      std::lock_guard lock(self->background_mutex_);
      self->scheduled_ = false;
    }
    {
      std::lock_guard writing(self->write_mutex_);
      if (const auto done = self->catch_up(); !done)
        logging::error("table: cannot follow its log",
                       {{"table", self->layout_.object.name}, {"reason", done.error().text}});
    }
    // Notified under the lock: stop() returns after it, and the runtime may go.
    std::lock_guard lock(self->background_mutex_);
    --self->running_;
    self->background_changed_.notify_all();
  });
}

void Table::stop() {
  partition_.on_advance(listener_, nullptr);
  std::unique_lock lock(background_mutex_);
  stopped_ = true;
  background_changed_.wait(lock, [&] { return running_ == 0; });
}

// ---- folding

Result<> Table::fold(std::string_view batches) {
  std::lock_guard state(state_mutex_);
  std::vector<std::string> reasons;
  std::vector<sql::BadRecord> bad;
  chunk_.Reset();
  MR_TRY(decoder_->decode(
      batches, 0, folded_, std::numeric_limits<Offset>::max(), chunk_,
      [&](duckdb::DataChunk& full) { fold_chunk(full, reasons); }, &bad));
  fold_chunk(chunk_, reasons);
  for (const auto& record : bad)
    reasons.push_back(fmt::format("offset {}: {}", record.offset, record.reason));
  if (!reasons.empty()) {
    bad_records_.add(static_cast<double>(reasons.size()));
    logging::warn(
        "table: records that are no rows are passed over",
        {{"table", layout_.object.name}, {"count", reasons.size()}, {"first", reasons.front()}});
  }
  row_count_.set(static_cast<double>(rows_.size()));
  row_bytes_.set(static_cast<double>(rows_.memory_bytes()));
  return {};
}

Result<std::string> Table::key_of_tombstone(duckdb::DataChunk& chunk, size_t row) {
  const auto& key_column = chunk.data[layout_.columns.size()];
  if (!duckdb::FlatVector::Validity(key_column).RowIsValid(row))
    return Error{ErrorCode::kInvalidRecord, "a record with neither key nor value"};
  const auto& text = duckdb::FlatVector::GetData<duckdb::string_t>(key_column)[row];
  duckdb::DataChunk values;
  initialize(values, layout_.key_types());
  if (key_reader_) {
    MR_TRY(key_reader_->read({text.GetData(), text.GetSize()}, values, 0));
  } else {
    duckdb::FlatVector::GetData<duckdb::string_t>(values.data[0])[0] = text;
  }
  values.SetCardinality(1);
  std::vector<size_t> all(layout_.key_columns.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return encode_key(values, 0, all);
}

void Table::forget(std::string_view key) {
  const auto at = index_.find(key);
  if (at == index_.end()) return;
  rows_.erase(at->second);
  index_.erase(at);
}

void Table::fold_chunk(duckdb::DataChunk& chunk, std::vector<std::string>& reasons) {
  const size_t count = chunk.size();
  duckdb::DataChunk stored;
  initialize(stored, layout_.types);
  for (size_t i = 0; i < layout_.types.size(); ++i) stored.data[i].Reference(chunk.data[i]);
  stored.SetCardinality(count);
  keys_.encode(stored, layout_.key_columns);
  std::vector<RowStore::Slot> slots;
  rows_.insert(stored, slots);
  const auto* gone = duckdb::FlatVector::GetData<bool>(chunk.data.back());
  const auto& has_key = duckdb::FlatVector::Validity(chunk.data[layout_.columns.size()]);
  for (size_t row = 0; row < count; ++row) {
    if (gone[row]) {
      rows_.erase(slots[row]);
      if (const auto key = key_of_tombstone(chunk, row)) {
        forget(*key);
      } else {
        reasons.push_back(key.error().text);
      }
    } else if (!layout_.has_primary_key() && !has_key.RowIsValid(row)) {
      rows_.erase(slots[row]);
      reasons.push_back("a record without a key, in a table without a primary key");
    } else if (const auto at = index_.find(keys_[row]); at != index_.end()) {
      rows_.erase(at->second);
      at->second = slots[row];
    } else {
      index_.emplace(keys_[row], slots[row]);
    }
  }
  chunk.Reset();
}

// ---- reading and writing

Result<std::unique_ptr<sql::RelationScan>> Table::scan(sql::ScanRequest request) {
  std::lock_guard state(state_mutex_);
  return std::unique_ptr<sql::RelationScan>(
      std::make_unique<TableScan>(rows_.snapshot(), std::move(request.columns)));
}

Result<uint64_t> Table::apply(std::vector<sql::Change> changes) {
  std::lock_guard writing(write_mutex_);
  {
    std::lock_guard lock(background_mutex_);
    if (stopped_)
      return Error{ErrorCode::kShuttingDown,
                   fmt::format("the table {} is being stopped", layout_.object.name)};
  }
  MR_TRY(catch_up());
  try {
    WritePlan plan(layout_, rows_, index_, env_.random());
    uint64_t count = 0;
    for (const auto& change : changes) {
      MR_TRY(const uint64_t changed, plan.add(change));
      count += changed;
    }
    MR_TRY(std::string batches, plan.encode(batch_bytes_max_, env_.now_ms()));
    if (!batches.empty()) MR_TRY(append(std::move(batches)));
    return count;
  } catch (const std::exception& e) {
    return Error{ErrorCode::kInternal, fmt::format("writing to {}: {}", layout_.object.name,
                                                   duckdb::ErrorData(e).RawMessage())};
  }
}

Result<> Table::append(std::string batches) {
  auto appending = partition_.append(batches, log::Ack::kDurable);
  MR_TRY(const auto appended, partition_.shard().block_on(std::move(appending)));
  // Another client wrote in between: its records come first.
  if (appended.base_offset != folded_) return catch_up();
  Offset offset = appended.base_offset;
  for (size_t at = 0; at < batches.size();) {
    const auto head = log::parse_batch_header(std::string_view(batches).substr(at));
    MR_CHECK(head.has_value());
    log::patch_batch(batches.data() + at, offset, 0, std::nullopt);
    offset += head->last_offset_delta + 1;
    at += head->total_bytes();
  }
  MR_CHECK(offset == appended.next_offset);
  MR_TRY(fold(batches));
  folded_ = appended.next_offset;
  return {};
}

}  // namespace millrace::table
