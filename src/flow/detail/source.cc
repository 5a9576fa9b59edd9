#include "flow/detail/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <duckdb/common/vector_operations/vector_operations.hpp>

#include "flow/detail/batch_windows.h"
#include "flow/detail/changelog.h"
#include "flow/detail/changelog_bounds.h"

namespace millrace::flow {

namespace {

constexpr Offset kBlock = STANDARD_VECTOR_SIZE;
// Of the log at a time: a stripe of small records. Of what must be read into memory first it is a
// part: some four chunks.
constexpr size_t kReadBytes = 8u << 20;
constexpr size_t kCopiedBytes = 1u << 20;
constexpr size_t kSmallRows = STANDARD_VECTOR_SIZE / 4;

Offset align_down(Offset at) { return at / kBlock * kBlock; }
Offset align_up(Offset at) { return align_down(at + kBlock - 1); }

/// Takes the rows of `from`, which is ready for more afterwards. A few rows are copied into a chunk
/// of their size: live topics come in small reads, and a full chunk costs 300 kB.
void take_rows(duckdb::DataChunk& from, duckdb::DataChunk& into) {
  auto& allocator = duckdb::Allocator::DefaultAllocator();
  const auto types = from.GetTypes();
  if (from.size() < kSmallRows) {
    into.Initialize(allocator, types, std::bit_ceil(std::max<size_t>(from.size(), 1)));
    into.Append(from);
    from.Reset();
  } else {
    into.Move(from);
    from.Initialize(allocator, types);
  }
}

/// The offsets stand in the last column, which is taken off.
std::vector<Offset> take_offsets(duckdb::DataChunk& rows) {
  duckdb::UnifiedVectorFormat values;
  rows.data.back().ToUnifiedFormat(rows.size(), values);
  const auto* data = duckdb::UnifiedVectorFormat::GetData<int64_t>(values);
  std::vector<Offset> offsets(rows.size());
  for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = data[values.sel->get_index(i)];
  rows.data.pop_back();
  return offsets;
}

size_t bytes_of(const Piece& piece) {
  size_t bytes = piece.rows.ColumnCount() > 0 ? piece.rows.GetAllocationSize() : 0;
  bytes += 8 * (piece.offsets.size() + piece.weights.size() + piece.watermarks_us.size());
  for (const auto& bad : piece.bad)
    bytes += (bad.key ? bad.key->size() : 0) + (bad.value ? bad.value->size() : 0) + 200;
  return bytes + sizeof(Piece);
}

/// Keeps the rows whose weight is not 0.
void drop_weightless(Piece& piece) {
  duckdb::SelectionVector sel(std::max<size_t>(piece.offsets.size(), 1));
  size_t count = 0;
  for (size_t i = 0; i < piece.weights.size(); ++i) {
    if (piece.weights[i] == 0) continue;
    piece.weights[count] = piece.weights[i];
    piece.offsets[count] = piece.offsets[i];
    sel.set_index(count++, i);
  }
  if (count == piece.weights.size()) return;
  piece.weights.resize(count);
  piece.offsets.resize(count);
  if (piece.rows.ColumnCount() == 0) return piece.rows.SetCardinality(count);
  duckdb::DataChunk kept;
  kept.Initialize(duckdb::Allocator::DefaultAllocator(), piece.rows.GetTypes(),
                  std::bit_ceil(std::max<size_t>(count, 1)));
  if (count > 0) kept.Append(piece.rows, false, &sel, count);
  piece.rows.Destroy();
  piece.rows.Move(kept);
}

/// Sorted: what the watermark and all readers need.
std::vector<size_t> needed_columns(const WatermarkExpression* watermark,
                                   std::span<const std::shared_ptr<Source::Reader>> readers) {
  std::vector<size_t> all;
  if (watermark) all = watermark->columns();
  for (const auto& reader : readers)
    all.insert(all.end(), reader->columns.begin(), reader->columns.end());
  std::ranges::sort(all);
  all.erase(std::ranges::unique(all).begin(), all.end());
  return all;
}

}  // namespace

Source::Source(io::Env& env, std::shared_ptr<const broker::Topic> topic, DecodeBudget& budget,
               std::unique_ptr<WatermarkExpression> watermark)
    : topic_(std::move(topic)),
      budget_(budget),
      watermark_(std::move(watermark)),
      bad_records_(env.metrics().counter("millrace_flow_bad_records_total",
                                         "Records that did not fit their topic's columns",
                                         {{"topic", topic_->object.name}})),
      decoded_records_(env.metrics().counter("millrace_flow_decoded_records_total",
                                             "Records decoded for views, again ones included",
                                             {{"topic", topic_->object.name}})) {
  for (size_t i = 0; i < topic_->partitions.size(); ++i)
    partitions_.push_back(std::make_unique<PartitionState>());
  columns_ = std::make_shared<const std::vector<size_t>>(needed_columns(watermark_.get(), {}));
}

Source::~Source() {
  for (auto& state : partitions_)
    while (!state->pieces.empty()) erase(*state, state->pieces.begin()->first);
}

Result<std::shared_ptr<Source::Reader>> Source::subscribe(std::vector<size_t> columns) {
  std::lock_guard lock(mutex_);
  auto reader = std::make_shared<Reader>();
  reader->columns = std::move(columns);
  reader->positions.resize(partitions_.size());
  auto readers = readers_;
  readers.push_back(reader);
  auto all = needed_columns(watermark_.get(), readers);
  if (all != *columns_ || readers_.empty()) {
    // Refuses now what the first decoding would refuse.
    MR_TRY(auto decoder, sql::Decoder::make(topic_->object, all));
    columns_ = std::make_shared<const std::vector<size_t>>(std::move(all));
  }
  readers_ = std::move(readers);
  return reader;
}

void Source::unsubscribe(const std::shared_ptr<Reader>& reader) {
  std::lock_guard lock(mutex_);
  std::erase(readers_, reader);
  auto all = needed_columns(watermark_.get(), readers_);
  if (all != *columns_) columns_ = std::make_shared<const std::vector<size_t>>(std::move(all));
  drop_passed();
}

void Source::advance(Reader& reader, int32_t partition, Offset position) {
  std::lock_guard lock(mutex_);
  reader.positions[partition] = position;
  drop_passed();
}

void Source::drop_passed() {
  for (size_t p = 0; p < partitions_.size(); ++p) {
    Offset least = std::numeric_limits<Offset>::max();
    for (const auto& reader : readers_) least = std::min(least, reader->positions[p]);
    auto& state = *partitions_[p];
    std::lock_guard lock(state.mutex);
    while (!state.pieces.empty() && state.pieces.begin()->second->until <= least)
      erase(state, state.pieces.begin()->first);
  }
}

void Source::erase(PartitionState& state, Offset key) {
  const auto found = state.pieces.find(key);
  budget_.bytes -= found->second->bytes;
  state.pieces.erase(found);
  state.by_age.remove(key);
}

std::shared_ptr<const Piece> Source::find(PartitionState& state, Offset at) {
  Columns columns;
  {
    std::lock_guard lock(mutex_);
    columns = columns_;
  }
  std::lock_guard lock(state.mutex);
  auto found = state.pieces.upper_bound(at);
  if (found == state.pieces.begin()) return nullptr;
  --found;
  if (found->second->until <= at) return nullptr;
  // A piece may have been decoded before a reader came that needs more.
  if (!std::ranges::includes(*found->second->columns, *columns)) {
    erase(state, found->first);
    return nullptr;
  }
  return found->second;
}

namespace {

void add_span(Source::Cursor& cursor, const std::shared_ptr<const Piece>& piece) {
  const auto& offsets = piece->offsets;
  const size_t begin = std::ranges::lower_bound(offsets, cursor.at) - offsets.begin();
  const size_t end = std::ranges::lower_bound(offsets, cursor.until) - offsets.begin();
  if (begin < end || !piece->bad.empty() || !piece->bounds.empty())
    cursor.spans.push_back({piece, begin, end});
  cursor.at = std::min(piece->until, cursor.until);
}

}  // namespace

Result<> Source::read(Cursor& cursor, bool wait) {
  auto& state = *partitions_.at(cursor.partition);
  while (!cursor.done()) {
    if (const auto piece = find(state, cursor.at)) {
      add_span(cursor, piece);
      continue;
    }
    std::unique_lock decoding(state.decoder_of(cursor.at).decoding, std::defer_lock);
    if (!decoding.try_lock()) {
      if (!wait) return {};
      decoding.lock();
    }
    if (find(state, cursor.at)) continue;
    MR_TRY(auto pieces, decode(cursor.partition, cursor.at));
    // Taken from here, not from the cache: that may be too small for them.
    for (const auto& piece : pieces)
      if (piece->from <= cursor.at && !cursor.done()) add_span(cursor, piece);
    keep(cursor.partition, std::move(pieces));
  }
  return {};
}

Result<std::vector<std::shared_ptr<Piece>>> Source::decode(int32_t partition, Offset from) {
  auto& state = *partitions_[partition];
  MR_TRY(auto read, read_log(partition, from));
  Offset until = read.next_offset;
  if (until <= from)
    return Error{ErrorCode::kOffsetOutOfRange,
                 fmt::format("partition {} of {} holds nothing at offset {}", partition,
                             topic_->object.name, from)};
  // What is begun again by the next read would be decoded in two pieces: leave it to that read.
  if (until < read.high_watermark && align_down(until) > from) until = align_down(until);
  until = std::min(until, (from / kStripe + 1) * kStripe);  // beyond, others may be at work
  {
    std::lock_guard lock(state.mutex);
    const auto next = state.pieces.lower_bound(from);
    if (next != state.pieces.end()) until = std::min(until, next->first);
  }
  BatchWindows windows(std::move(read));
  MR_TRY(auto pieces, decode_batches(partition, windows, from, until));
  if (is_changelog()) MR_TRY(add_weights(windows.in_memory(), pieces));
  for (auto& piece : pieces) {
    decoded_records_.add(static_cast<double>(piece->offsets.size() + piece->bad.size()));
    piece->bytes = bytes_of(*piece);
  }
  return pieces;
}

Result<log::ReadResult> Source::read_log(int32_t partition, Offset from) {
  auto& log = *topic_->partitions[partition];
  if (!is_changelog()) {
    MR_TRY(auto named,
           log.shard().block_on(log.fetch(from, kReadBytes, log::Isolation::kCommitted)));
    // Records of aborted transactions are taken out in memory.
    if (!named.file.file || named.aborted.empty()) {
      log::leave_out_aborted(named);
      return named;
    }
  }
  MR_TRY(auto read, log.shard().block_on(log.read(from, kCopiedBytes, log::Isolation::kCommitted)));
  log::leave_out_aborted(read);
  return read;
}

Result<std::vector<std::shared_ptr<Piece>>> Source::decode_batches(int32_t partition,
                                                                   BatchWindows& windows,
                                                                   Offset from, Offset until) {
  auto& state = partitions_[partition]->decoder_of(from);
  Columns columns;
  {
    std::lock_guard lock(mutex_);
    columns = columns_;
  }
  if (!state.decoder || state.columns != columns) {
    std::vector<size_t> asked = *columns;
    asked.push_back(sql::ScanRequest::kRowId);
    MR_TRY(state.decoder, sql::Decoder::make(topic_->object, std::move(asked)));
    state.columns = columns;
  }
  std::vector<std::shared_ptr<Piece>> pieces;
  std::vector<sql::BadRecord> bad;
  duckdb::DataChunk out;
  const auto& types = state.decoder->types();
  out.Initialize(duckdb::Allocator::DefaultAllocator(),
                 duckdb::vector<duckdb::LogicalType>(types.begin(), types.end()));
  Offset next = from;
  const auto take = [&](duckdb::DataChunk& chunk, Offset end) {
    auto piece = std::make_shared<Piece>();
    piece->columns = columns;
    take_rows(chunk, piece->rows);
    piece->offsets = take_offsets(piece->rows);
    piece->from = std::exchange(next, end);
    piece->until = end;
    pieces.push_back(std::move(piece));
  };
  const std::function<void(duckdb::DataChunk&)> full = [&](duckdb::DataChunk& chunk) {
    const auto& last = chunk.data.back();
    take(chunk, duckdb::FlatVector::GetData<int64_t>(last)[chunk.size() - 1] + 1);
  };
  // Up to where chunks are cut, so that those that follow are whole.
  const Offset first_end = std::min(align_up(from), until);
  for (Offset done = from; done < until;) {
    MR_TRY(const auto window, windows.next());
    for (const Offset end : {first_end, until}) {
      const Offset stop = std::min(end, window.until);
      if (stop <= done) continue;
      MR_TRY(state.decoder->decode(window.batches, partition, done, stop, out, full, &bad));
      done = stop;
      if (done == end && next < end) take(out, end);
    }
  }
  for (auto& record : bad) {
    const auto holds = [&](const auto& piece) { return record.offset < piece->until; };
    bad_records_.add(record.offset >= state.counted ? 1 : 0);
    (*std::ranges::find_if(pieces, holds))->bad.push_back(std::move(record));
  }
  state.counted = std::max(state.counted, until);
  if (watermark_) MR_TRY(add_watermarks(pieces));
  return pieces;
}

Result<> Source::add_watermarks(std::vector<std::shared_ptr<Piece>>& pieces) {
  std::lock_guard lock(watermark_mutex_);
  for (auto& piece : pieces) {
    if (piece->offsets.empty()) continue;
    duckdb::DataChunk asked;
    project(*piece, watermark_->columns(), asked);
    MR_TRY(piece->watermarks_us, watermark_->evaluate(asked));
  }
  return {};
}

namespace {

Result<> add_bounds(const log::RecordView& record, std::vector<std::shared_ptr<Piece>>& pieces) {
  MR_TRY(auto bounds, bounds_of(record));
  if (bounds.empty()) return {};
  const auto holds = [&](const auto& piece) { return record.offset < piece->until; };
  (*std::ranges::find_if(pieces, holds))->bounds.emplace_back(record.offset, std::move(bounds));
  return {};
}

}  // namespace

Result<> Source::add_weights(std::string_view batches,
                             std::vector<std::shared_ptr<Piece>>& pieces) {
  const Offset from = pieces.front()->from;
  std::vector<int64_t> weights(pieces.back()->until - from, 0);  // 0: no row, a commit
  Result<> outcome;
  const auto each = [&](const log::RecordView& record) {
    const auto at = static_cast<uint64_t>(record.offset - from);
    if (record.offset < from || at >= weights.size() || !outcome) return;
    if (is_commit(record)) {
      outcome = add_bounds(record, pieces);
      return;
    }
    auto weight = weight_of(record);
    if (weight)
      weights[at] = *weight;
    else
      outcome = std::move(weight).error();
  };
  MR_TRY(log::for_each_record(batches, true, each));
  MR_TRY(std::move(outcome));
  for (auto& piece : pieces) {
    for (const auto& bad : piece->bad)
      if (weights[bad.offset - from] != 0)
        return Error{ErrorCode::kCorruptRecord,
                     fmt::format("record {} of the changelog {} is no row of it: {}", bad.offset,
                                 topic_->object.name, bad.reason)};
    piece->bad.clear();
    for (const Offset offset : piece->offsets) piece->weights.push_back(weights[offset - from]);
    drop_weightless(*piece);
  }
  return {};
}

void Source::keep(int32_t partition, std::vector<std::shared_ptr<Piece>> pieces) {
  auto& state = *partitions_[partition];
  std::lock_guard lock(state.mutex);
  for (auto& piece : pieces) {
    while (!state.by_age.empty() && budget_.bytes + piece->bytes > budget_.bytes_max)
      erase(state, state.by_age.front());
    if (budget_.bytes + piece->bytes > budget_.bytes_max) return;  // others have it all
    budget_.bytes += piece->bytes;
    state.by_age.push_back(piece->from);
    state.pieces.emplace(piece->from, std::move(piece));
  }
}

void project(const Piece& piece, std::span<const size_t> columns, duckdb::DataChunk& out) {
  if (columns.empty()) return out.SetCardinality(piece.offsets.size());
  duckdb::vector<duckdb::LogicalType> types;
  std::vector<size_t> at;
  for (const size_t column : columns) {
    const auto found = std::ranges::find(*piece.columns, column);
    MR_CHECK(found != piece.columns->end());
    at.push_back(found - piece.columns->begin());
    types.push_back(piece.rows.data[at.back()].GetType());
  }
  out.InitializeEmpty(types);
  for (size_t i = 0; i < at.size(); ++i) out.data[i].Reference(piece.rows.data[at[i]]);
  out.SetCardinality(piece.offsets.size());
}

}  // namespace millrace::flow
