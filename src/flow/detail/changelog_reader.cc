#include "flow/detail/changelog_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "flow/detail/changelog.h"

namespace millrace::flow {

namespace {

constexpr size_t kReadBytes = 256u << 10;
constexpr size_t kRowOverhead = 64;  // what a row takes besides its text

size_t size_of(const std::string& json) { return json.size() + kRowOverhead; }

Result<uint64_t> epoch_of(const log::RecordView& commit) {
  MR_TRY(const auto parsed, Commit::parse(commit.value.value_or("")));
  return parsed.epochs.back().epoch.number;
}

/// Calls `each(record)` for the records from `from` on that one read gives, until it gives false;
/// gives where to read on.
template <typename Each>
Result<Offset> for_each_from(broker::Partition& log, Offset from, size_t bytes, Each each) {
  MR_TRY(const auto read, log.shard().block_on(log.read(from, bytes)));
  Result<> outcome;
  bool going = true;
  const auto visit = [&](const log::RecordView& record) {
    if (record.offset < from || !going || !outcome) return;
    Result<bool> on = each(record);
    if (on)
      going = *on;
    else
      outcome = std::move(on).error();
  };
  MR_TRY(log::for_each_record(read.batches, true, visit));
  MR_TRY(std::move(outcome));
  if (read.next_offset <= from)
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the changelog of {} cannot be read at {}", log.topic(), from)};
  return read.next_offset;
}

}  // namespace

void Consolidation::add(sql::Changes::Row row) {
  const auto [at, added] = weights_.try_emplace(std::move(row.json), 0);
  at->second += row.weight;
  if (added) bytes_ += size_of(at->first);
  if (at->second != 0) return;
  bytes_ -= size_of(at->first);
  weights_.erase(at);
}

std::vector<sql::Changes::Row> Consolidation::take() {
  std::vector<sql::Changes::Row> rows;
  rows.reserve(weights_.size());
  while (!weights_.empty()) {
    auto row = weights_.extract(weights_.begin());
    rows.push_back({row.mapped(), std::move(row.key())});
  }
  bytes_ = 0;
  std::ranges::partition(rows, [](const auto& row) { return row.weight < 0; });
  return rows;
}

/// What was read, up to a limit: whole epochs, and the rows of one whose commit was not met.
struct ChangelogReader::Window {
  std::vector<ReadEpochs> epochs;
  Offset end = 0;      // of the last whole epoch
  Offset read_to = 0;  // all before was looked at
  size_t bytes = 0;    // of the rows
  bool full = false;
};

Result<ChangelogReader::Window> ChangelogReader::gather(Offset from) {
  Window window;
  window.end = window.read_to = from;
  ReadEpochs open;
  const Offset limit = log_->high_watermark();
  while (window.read_to < limit && !window.full) {
    const auto take = [&](const log::RecordView& record) -> Result<bool> {
      if (is_commit(record)) {
        MR_TRY(open.epoch, epoch_of(record));
        open.until = window.end = record.offset + 1;
        window.epochs.push_back(std::exchange(open, {}));
      } else {
        MR_TRY(const int64_t weight, weight_of(record));
        open.rows.push_back({weight, std::string(record.value.value_or(""))});
        window.bytes += size_of(open.rows.back().json);
      }
      window.full = window.bytes >= kWindowBytes;
      window.read_to = record.offset + 1;
      return !window.full;
    };
    MR_TRY(const Offset next, for_each_from(*log_, window.read_to, kReadBytes, take));
    if (!window.full) window.read_to = next;
  }
  return window;
}

Result<std::vector<ReadEpochs>> ChangelogReader::read() {
  if (commit_at_) return read_part();
  MR_TRY(auto window, gather(position_));
  if (window.epochs.empty()) {
    if (!window.full) return std::vector<ReadEpochs>();  // a commit is still to come
    MR_TRY(find_end_of_epoch(window.read_to));
    if (!commit_at_) return std::vector<ReadEpochs>();
    return read_part();
  }
  if (window.epochs.size() > kEpochsMax || (window.full && window.epochs.size() > 1))
    return put_together(std::move(window));
  position_ = window.end;
  return std::move(window.epochs);
}

Result<std::vector<ReadEpochs>> ChangelogReader::put_together(Window window) {
  Consolidation sums;
  ReadEpochs all;
  size_t bytes = 0;
  for (;;) {
    for (auto& epoch : window.epochs)
      for (auto& row : epoch.rows) sums.add(std::move(row));
    all.epoch = window.epochs.back().epoch;
    position_ = window.end;
    bytes += window.bytes;
    if (!window.full || bytes > kLogBytesMax || sums.bytes() > kWindowBytes / 2) break;
    MR_TRY(window, gather(position_));
    if (window.epochs.empty()) break;
  }
  all.rows = sums.take();
  all.until = position_;
  std::vector<ReadEpochs> one;
  one.push_back(std::move(all));
  return one;
}

Result<> ChangelogReader::find_end_of_epoch(Offset from) {
  const Offset limit = log_->high_watermark();
  while (from < limit && !commit_at_) {
    const auto look = [&](const log::RecordView& record) -> Result<bool> {
      if (!is_commit(record)) return true;
      MR_TRY(commit_epoch_, epoch_of(record));
      commit_at_ = record.offset;
      return false;
    };
    MR_TRY(from, for_each_from(*log_, from, kReadBytes, look));
  }
  return {};
}

Result<std::vector<ReadEpochs>> ChangelogReader::read_part() {
  ReadEpochs part;
  part.epoch = commit_epoch_;
  const auto take = [&](const log::RecordView& record) -> Result<bool> {
    position_ = record.offset + 1;
    if (record.offset == *commit_at_) {
      part.until = position_;
      return false;
    }
    MR_TRY(const int64_t weight, weight_of(record));
    part.rows.push_back({weight, std::string(record.value.value_or(""))});
    return true;
  };
  MR_TRY(for_each_from(*log_, position_, kReadBytes, take));
  if (part.until) commit_at_.reset();
  std::vector<ReadEpochs> one;
  one.push_back(std::move(part));
  return one;
}

Result<> check_is_end_of_epoch(broker::Partition& log, Offset offset) {
  bool is_end = false;
  const auto look = [&](const log::RecordView& record) -> Result<bool> {
    is_end = is_commit(record);
    return false;
  };
  MR_TRY(for_each_from(log, offset - 1, 1, look));
  if (is_end) return {};
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("no epoch of {} ends before offset {}", log.topic(), offset)};
}

}  // namespace millrace::flow
