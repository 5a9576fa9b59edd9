#include "flow/detail/bridge.h"

#include <fmt/format.h>

#include <algorithm>

#include "flow/detail/changelog_bounds.h"
#include "flow/detail/place.h"

namespace millrace::flow {

namespace {

constexpr size_t kReadBytes = 1u << 20;
constexpr size_t kBatchBytes = 256u << 10;

}  // namespace

Result<std::optional<Commit>> find_commit(broker::Partition& changelog, Offset from) {
  for (Offset at = from; at < changelog.high_watermark();) {
    MR_TRY(const auto read, read_log(changelog, at, kReadBytes));
    std::optional<std::string> json;
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (!json && record.offset >= from && is_commit(record)) json = record.value.value_or("");
    }));
    if (json) {
      MR_TRY(auto commit, Commit::parse(*json));
      return std::optional(std::move(commit));
    }
    if (read.next_offset <= at) break;
    at = read.next_offset;
  }
  return std::optional<Commit>();
}

bool is_bridge(const Commit& commit) {
  return commit.epochs.size() > 1 && commit.epochs.front().epoch.number == 0;
}

BridgeBuilder::BridgeBuilder(std::shared_ptr<broker::Partition> before,
                             std::shared_ptr<broker::Partition> next)
    : before_{std::move(before)}, next_{std::move(next)} {
  before_.read = before_.partition->start_offset();
  next_.read = next_.partition->start_offset();
}

Result<> BridgeBuilder::advance() {
  MR_TRY(advance(before_, -1));
  return advance(next_, 1);
}

Result<> BridgeBuilder::advance(Log& log, int64_t sign) {
  const Offset end = log.partition->high_watermark();
  while (log.read < end) {
    MR_TRY(const auto read, read_log(*log.partition, log.read, kReadBytes));
    Result<> outcome;
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (record.offset >= log.read && record.offset < end && outcome)
        outcome = add(record, log, sign);
    }));
    MR_TRY(std::move(outcome));
    if (read.next_offset <= log.read)
      return Error{ErrorCode::kCorruptRecord, fmt::format("a changelog ends at {}", log.read)};
    log.read = std::min(read.next_offset, end);
  }
  return {};
}

Result<> BridgeBuilder::add(const log::RecordView& record, Log& log, int64_t sign) {
  const bool of_next = &log == &next_;
  const auto text = record.value.value_or("");
  if (is_commit(record)) {
    MR_TRY(auto commit, Commit::parse(text));
    log.last = commit.epochs.back().epoch;
    if (of_next) {
      shares_ = commit.shares;
      std::ranges::move(commit.epochs, std::back_inserter(history_));
      return {};
    }
    MR_TRY(const auto bounds, bounds_of(record));
    for (const auto& [column, time_us] : bounds) bounded_.insert(column);
    return {};
  }
  MR_TRY(const auto weight, weight_of(record));
  const auto [row, added] = rows_.try_emplace(Digest{XXH3_128bits(text.data(), text.size())},
                                              Row{0, record.offset, of_next});
  row->second.weight += sign * weight;
  if (row->second.weight == 0) rows_.erase(row);
  return {};
}

uint64_t BridgeBuilder::epoch() const {
  return std::max(before_.last.number, next_.last.number) + 1;
}

bool BridgeBuilder::takes_back() const {
  return std::ranges::any_of(rows_, [](const auto& row) { return row.second.weight < 0; });
}

Result<std::string> BridgeBuilder::bytes(size_t bytes_max) {
  const int64_t clock_us = std::max(before_.last.clock_us, next_.last.clock_us);
  std::vector<Place> places[2][2];  // of what goes and what comes, in either log
  for (const auto& [digest, row] : rows_)
    places[row.weight > 0][row.of_next].push_back({row.at, row.weight});
  std::string out;
  for (auto& of_a_sign : places)
    for (size_t log = 0; log < 2; ++log) {
      std::ranges::sort(of_a_sign[log], {}, &Place::at);
      auto& from = *(log == 0 ? before_ : next_).partition;
      MR_TRY(copy(from, of_a_sign[log], clock_us / 1000, bytes_max, out));
    }
  Commit commit{history_, {}, {}, shares_};
  commit.epochs.push_back({{epoch(), clock_us}, {}});
  const auto number = std::to_string(epoch());
  log::BatchBuilder batch;
  batch.add(clock_us / 1000, std::nullopt, commit.to_json(), {{"epoch", number}});
  out += batch.finish();
  return out;
}

/// The rows at `places`, which are sorted, with the weights that stand there.
Result<> BridgeBuilder::copy(broker::Partition& log, const std::vector<Place>& places,
                             TimestampMs clock, size_t bytes_max, std::string& out) const {
  log::BatchBuilder batch;
  for (size_t i = 0; i < places.size();) {
    const size_t before = i;
    MR_TRY(const auto read, read_log(log, places[i].at, kReadBytes));
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (i == places.size() || record.offset != places[i].at) return;
      const auto weight = std::to_string(places[i].weight);
      if (places[i].weight == 1)
        batch.add(clock, std::nullopt, record.value);
      else
        batch.add(clock, std::nullopt, record.value, {{"weight", weight}});
      if (batch.bytes() >= kBatchBytes) out += batch.finish();
      ++i;
    }));
    if (i == before)
      return Error{ErrorCode::kCorruptRecord,
                   fmt::format("a changelog lacks offset {}", places[i].at)};
    if (out.size() > bytes_max)
      return Error{ErrorCode::kNotSupported,
                   fmt::format("what it changes takes more than {} MiB, all of which those that "
                               "read it would have to take in at once",
                               bytes_max >> 20),
                   std::nullopt,
                   "Give the node a larger --memory, or drop what reads it and create it anew."};
  }
  if (batch.count() > 0) out += batch.finish();
  return {};
}

}  // namespace millrace::flow
