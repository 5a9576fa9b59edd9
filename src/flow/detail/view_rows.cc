#include "flow/detail/view_rows.h"

#include <xxhash.h>

#include <atomic>
#include <deque>
#include <limits>
#include <mutex>
#include <numeric>
#include <random>

#include "flow/detail/evaluator.h"

namespace millrace::flow {

namespace {

std::vector<duckdb::LogicalType> with_weight(std::vector<duckdb::LogicalType> types) {
  types.push_back(duckdb::LogicalType::BIGINT);
  return types;
}

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

/// Gives each row as often as its weight says. Rows that do not fit one chunk wait for the next.
class ViewScan : public sql::RelationScan {
 public:
  ViewScan(std::shared_ptr<table::RowStore::Snapshot> rows, std::vector<size_t> columns,
           std::vector<duckdb::LogicalType> types)
      : rows_(std::move(rows)), columns_(std::move(columns)), types_(std::move(types)) {
    columns_.push_back(types_.size() - 1);  // the weight
    for (const size_t column : columns_)
      chunk_types_.push_back(column == sql::ScanRequest::kRowId ? duckdb::LogicalType::BIGINT
                                                                : types_[column]);
  }

  Result<> next(duckdb::DataChunk& out) override {
    for (;;) {
      Repeated part;
      if (!take_waiting(part)) {
        part.chunk = std::make_shared<duckdb::DataChunk>();
        part.chunk->Initialize(duckdb::Allocator::DefaultAllocator(), chunk_types_);
        if (!rows_->next(columns_, *part.chunk)) return {};
        if (part.chunk->size() == 0) continue;
        part.left = weight(*part.chunk, 0);
      }
      emit(part, out);
      if (part.row < part.chunk->size()) {
        std::lock_guard lock(mutex_);
        waiting_.push_back(std::move(part));
      }
      if (out.size() > 0) return {};
    }
  }

 private:
  struct Repeated {
    std::shared_ptr<duckdb::DataChunk> chunk;
    size_t row = 0;
    int64_t left = 0;  // how often that row is still to be given
  };

  static int64_t weight(duckdb::DataChunk& chunk, size_t row) {
    return duckdb::FlatVector::GetData<int64_t>(chunk.data.back())[row];
  }

  bool take_waiting(Repeated& part) {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) return false;
    part = std::move(waiting_.front());
    waiting_.pop_front();
    return true;
  }

  static void emit(Repeated& part, duckdb::DataChunk& out) {
    duckdb::SelectionVector sel(STANDARD_VECTOR_SIZE);
    size_t count = 0;
    while (part.row < part.chunk->size() && count < STANDARD_VECTOR_SIZE) {
      if (part.left > 0) {
        sel.set_index(count++, part.row);
        --part.left;
      }
      if (part.left <= 0 && ++part.row < part.chunk->size())
        part.left = weight(*part.chunk, part.row);
    }
    for (size_t i = 0; i < out.ColumnCount(); ++i) {
      if (count == part.chunk->size() && part.row == count)
        out.data[i].Reference(part.chunk->data[i]);
      else
        out.data[i].Slice(part.chunk->data[i], sel, count);
    }
    out.SetCardinality(count);
  }

  std::shared_ptr<table::RowStore::Snapshot> rows_;
  std::vector<size_t> columns_;
  std::vector<duckdb::LogicalType> types_;
  duckdb::vector<duckdb::LogicalType> chunk_types_;
  std::mutex mutex_;
  std::deque<Repeated> waiting_;
};

}  // namespace

ViewRows::ViewRows(std::vector<duckdb::LogicalType> types, bool append_only,
                   std::shared_ptr<StateMemory> memory)
    : types_(std::move(types)),
      append_only_(append_only),
      seed_(random_seed()),
      codec_(types_, RowCodec::Use::kRow),
      store_(with_weight(types_), memory),
      index_(memory) {}

ViewRows::Entry* ViewRows::find(const RowHash& hash) const {
  return index_.find(Entry{hash}.place(), [&](const Entry& entry) { return entry.hash == hash; });
}

Result<> ViewRows::apply(const DeltaStream& changes, std::optional<ChangelogEnd> end) {
  std::lock_guard lock(mutex_);
  for (const auto& delta : changes.chunks) MR_TRY(apply(*delta));
  end_ = end.value_or(end_);
  return {};
}

Result<> ViewRows::apply(const Delta& delta) {
  duckdb::vector<duckdb::LogicalType> all(types_.begin(), types_.end());
  all.push_back(duckdb::LogicalType::BIGINT);
  duckdb::DataChunk chunk;
  chunk.InitializeEmpty(all);
  for (size_t i = 0; i < types_.size(); ++i) chunk.data[i].Reference(delta.rows.data[i]);
  duckdb::Vector weights(duckdb::LogicalType::BIGINT, std::max<size_t>(delta.weights.size(), 1));
  auto* weight = duckdb::FlatVector::GetData<int64_t>(weights);
  std::ranges::copy(delta.weights, weight);
  chunk.data.back().Reference(weights);
  chunk.SetCardinality(delta.weights.size());
  if (append_only_) {
    std::vector<table::RowStore::Slot> slots;
    store_.insert(chunk, slots);
    return {};
  }
  codec_.encode(delta.rows, encoded_);
  hashes_.clear();
  for (size_t row = 0; row < delta.weights.size(); ++row) {
    const auto bytes = encoded_[row];
    const auto hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed_);
    hashes_.push_back({hash.low64, hash.high64});
  }
  for (size_t row = 0; row < delta.weights.size(); ++row) {
    if (row + kWarmPlace < hashes_.size()) index_.warm(Entry{hashes_[row + kWarmPlace]}.place());
    const RowHash key = hashes_[row];
    Entry* at = find(key);
    if (at && at->slot == kPending) insert_pending(chunk);
    const int64_t before = at ? at->weight : 0;
    const int64_t after = before + delta.weights[row];
    if (after < 0)
      return Error{ErrorCode::kInternal, "a row is to be removed that the view does not hold"};
    if (before > 0) store_.erase(at->slot);
    if (after == 0) {
      if (at) index_.erase(at);
      continue;
    }
    weight[row] = after;
    if (at)
      *at = {key, kPending, after};
    else
      index_.insert({key, kPending, after});
    pending_rows_.push_back(row);
    pending_hashes_.push_back(key);
  }
  insert_pending(chunk);
  return {};
}

void ViewRows::insert_pending(duckdb::DataChunk& chunk) {
  if (pending_rows_.empty()) return;
  std::vector<table::RowStore::Slot> slots;
  if (pending_rows_.size() == chunk.size()) {
    store_.insert(chunk, slots);
  } else {
    duckdb::SelectionVector sel(pending_rows_.data());
    duckdb::DataChunk rows;
    slice_chunk(chunk, sel, pending_rows_.size(), rows);
    store_.insert(rows, slots);
  }
  for (size_t i = 0; i < slots.size(); ++i) find(pending_hashes_[i])->slot = slots[i];
  pending_rows_.clear();
  pending_hashes_.clear();
}

void ViewRows::set_end(ChangelogEnd end) {
  std::lock_guard lock(mutex_);
  end_ = end;
}

size_t ViewRows::size() const {
  std::lock_guard lock(mutex_);
  return store_.size();
}

size_t ViewRows::memory_bytes() const {
  std::lock_guard lock(mutex_);
  return store_.memory_bytes() + index_.memory_bytes();
}

std::unique_ptr<sql::RelationScan> ViewRows::scan(std::vector<size_t> columns) const {
  ChangelogEnd end;
  return scan(std::move(columns), &end);
}

std::unique_ptr<sql::RelationScan> ViewRows::scan(std::vector<size_t> columns,
                                                  ChangelogEnd* end) const {
  std::lock_guard lock(mutex_);
  *end = end_;
  return std::make_unique<ViewScan>(store_.snapshot(), std::move(columns), with_weight(types_));
}

std::function<void(StateWriter&)> ViewRows::freeze() const {
  std::lock_guard lock(mutex_);
  auto rows = store_.snapshot();
  return [rows, types = with_weight(types_)](StateWriter& out) {
    const RowCodec codec(types, RowCodec::Use::kRow);
    std::vector<size_t> columns(types.size());
    std::iota(columns.begin(), columns.end(), size_t{0});
    EncodedRows encoded;
    out.begin("view rows", 1);
    duckdb::DataChunk chunk;
    chunk.Initialize(duckdb::Allocator::DefaultAllocator(), {types.begin(), types.end()});
    while (rows->next(columns, chunk)) {
      codec.encode(chunk, encoded);
      out.number(static_cast<uint64_t>(chunk.size()));
      for (size_t i = 0; i < chunk.size(); ++i) out.bytes(encoded[i]);
      chunk.Reset();
    }
    out.number(std::numeric_limits<uint64_t>::max());
  };
}

Result<> ViewRows::load(StateReader& in) {
  const auto types = with_weight(types_);
  const RowCodec codec(types, RowCodec::Use::kRow);
  in.begin("view rows", 1);
  for (;;) {
    const auto count = in.number<uint64_t>();
    if (!in.ok() || count == std::numeric_limits<uint64_t>::max()) return in.result();
    std::vector<std::string> kept;
    for (uint64_t i = 0; i < count && in.ok(); ++i) kept.emplace_back(in.bytes());
    MR_TRY(in.result());
    std::vector<const char*> rows;
    for (const auto& row : kept) rows.push_back(row.data());
    duckdb::DataChunk chunk;
    make_chunk(chunk, {types.begin(), types.end()}, rows.size());
    codec.decode(rows, chunk);
    chunk.SetCardinality(rows.size());
    const auto* weights = duckdb::FlatVector::GetData<int64_t>(chunk.data.back());
    Delta delta;
    delta.weights.assign(weights, weights + rows.size());
    delta.rows.InitializeEmpty({types_.begin(), types_.end()});
    for (size_t c = 0; c < types_.size(); ++c) delta.rows.data[c].Reference(chunk.data[c]);
    delta.rows.SetCardinality(rows.size());
    std::lock_guard lock(mutex_);
    MR_TRY(apply(delta));
  }
}

}  // namespace millrace::flow
