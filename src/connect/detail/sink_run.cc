#include "connect/detail/sink_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "catalog/connector.h"
#include "connect/detail/letters.h"

namespace millrace::connect {

namespace {

constexpr size_t kRoundBytes = 1 << 20;
constexpr size_t kPartitionBytesMin = 64 << 10;
constexpr size_t kInflatedMax = 128u << 20;
/// Offsets of a group that nobody is a member of expire after days: an idle sink commits again.
constexpr auto kRenewAfter = std::chrono::hours(1);
constexpr auto kTurn = std::chrono::seconds(1);

io::Shard& shard_of(const Connectors::Rooms& rooms, const catalog::Object& object) {
  return rooms.runtime.shard_of(std::hash<std::string>()(object.name));
}

}  // namespace

SinkRun::SinkRun(const Connectors::Rooms& rooms, const catalog::Object& object,
                 std::shared_ptr<Progress> progress, std::unique_ptr<Sink> sink, bool from_latest)
    : rooms_(rooms),
      object_(object),
      progress_(std::move(progress)),
      sink_(std::move(sink)),
      from_latest_(from_latest),
      guests_(rooms, object, *progress_),
      shard_(shard_of(rooms, object)) {}

SinkRun::~SinkRun() {
  if (!topic_) return;
  for (const auto& partition : topic_->partitions)
    partition->on_advance(group_of(object_), nullptr);
}

std::string SinkRun::group_of(const catalog::Object& object) {
  return "millrace.sink." + object.name;
}

Result<> SinkRun::run() {
  MR_TRY(begin());
  auto renew_at = std::chrono::steady_clock::now() + kRenewAfter;
  while (!progress_->stopping()) {
    Round round;
    MR_TRY(read(round));
    progress_->set_lag(lag());
    if (round.next == position_) {
      if (std::chrono::steady_clock::now() >= renew_at) {
        MR_TRY(commit());
        renew_at = std::chrono::steady_clock::now() + kRenewAfter;
      }
      MR_TRY(sink_->check());
      progress_->sleep(kTurn);
      continue;
    }
    MR_TRY(write(round));
    position_ = std::move(round.next);
    MR_TRY(commit());
    progress_->kept(round.records.records.size(), round.records.bytes);
    progress_->set_lag(lag());
    renew_at = std::chrono::steady_clock::now() + kRenewAfter;
  }
  return {};
}

Result<> SinkRun::begin() {
  const auto name = catalog::option_of(object_, catalog::kTopicOption);
  topic_ = rooms_.broker.find(name);
  if (!topic_) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", name)};
  }
  for (const auto& partition : topic_->partitions) {
    position_[partition->index()] =
        from_latest_ ? partition->high_watermark() : partition->start_offset();
  }
  MR_TRY(const auto known,
         shard_.block_on(rooms_.groups.fetch(group_of(object_), {}, std::nullopt, false)));
  const bool first_time = known.empty();
  for (const auto& each : known) {
    if (each.at.topic == name && each.committed && position_.contains(each.at.partition)) {
      position_[each.at.partition] = each.committed->offset;
    }
  }
  MR_TRY(const auto far, sink_->open());
  progress_->set_open(true);
  if (far) {
    for (const auto& [partition, offset] : *far) {
      if (position_.contains(partition)) position_[partition] = offset;
    }
  }
  // Where "latest" was is decided once.
  if (first_time || far) MR_TRY(commit());
  listen();
  return {};
}

void SinkRun::listen() {
  for (const auto& partition : topic_->partitions) {
    partition->on_advance(group_of(object_), [progress = progress_] { progress->ring(); });
  }
}

Result<> SinkRun::read(Round& round) {
  if (const auto now = rooms_.broker.find(topic_->object.name);
      !now || now->partitions.size() != topic_->partitions.size()) {
    return Error{ErrorCode::kCancelled, "the topic has other partitions now"};
  }
  round.next = position_;
  const auto count = static_cast<int32_t>(topic_->partitions.size());
  const size_t each = std::max(kPartitionBytesMin, kRoundBytes / static_cast<size_t>(count));
  for (int32_t i = 0; i < count && round.records.bytes < kRoundBytes; ++i) {
    MR_TRY(read_partition((turn_ + i) % count, each, round));
  }
  turn_ = (turn_ + 1) % count;
  return {};
}

Result<> SinkRun::read_partition(int32_t index, size_t bytes_max, Round& round) {
  auto& partition = *topic_->partitions[static_cast<size_t>(index)];
  auto& from = round.next[index];
  // Retention may have taken what was not read yet; it is gone for every reader.
  from = std::max(from, partition.start_offset());
  if (from >= partition.last_stable_offset()) return {};
  MR_TRY(auto read, shard_.block_on(partition.read(from, bytes_max, log::Isolation::kCommitted)));
  log::leave_out_aborted(read);
  const auto& batches = round.batches.emplace_back(std::move(read.batches));
  std::string_view left = batches;
  while (const auto header = log::parse_batch_header(left)) {
    const auto batch = left.substr(0, header->total_bytes());
    left.remove_prefix(batch.size());
    if (header->control() || header->record_count == 0) continue;
    MR_TRY(auto contents, log::BatchContents::open(batch, kInflatedMax));
    const auto& kept = round.contents.emplace_back(std::move(contents));
    for (const auto& record : kept.records()) {
      if (record.offset >= from) add(record, index, round);
    }
  }
  from = std::max(from, read.next_offset);
  return {};
}

void SinkRun::add(const log::RecordView& record, int32_t partition, Round& round) {
  wasm::RecordView view{.timestamp = record.timestamp,
                        .offset = record.offset,
                        .key = record.key,
                        .value = record.value};
  if (!record.headers.empty()) {
    auto& headers = round.headers.emplace_back();
    for (const auto& header : record.headers) headers.push_back({header.key, header.value});
    view.headers = headers;
  }
  round.records.add(view, partition);
}

Result<> SinkRun::write(const Round& round) {
  MR_TRY(const auto shaped, guests_.shape(round.records));
  MR_TRY(write_letters(round, shaped));
  Records out;
  for (auto record : shaped.records) {
    const auto input = record.input;
    record.offset = round.records.records[input].offset;
    out.add(record, round.records.partitions[input]);
  }
  return sink_->write(out, round.next);
}

/// Durable before the position moves; a round that is written again writes them again.
Result<> SinkRun::write_letters(const Round& round, const Shaped& shaped) {
  if (shaped.letters.empty()) return {};
  MR_TRY(const auto partition, shard_.block_on(broker::open_dead_letters(rooms_.broker, topic_)));
  log::BatchBuilder letters;
  for (const auto& letter : shaped.letters) {
    add_letter(letters, rooms_.env.now_ms(), object_, topic_->object.name, letter, round.records);
    if (letters.bytes() < kRoundBytes / 4 && &letter != &shaped.letters.back()) continue;
    MR_TRY(shard_.block_on(partition->append(letters.finish(), log::Ack::kDurable)));
  }
  return {};
}

Result<> SinkRun::commit() {
  std::vector<broker::OffsetToCommit> offsets;
  for (const auto& [partition, offset] : position_) {
    offsets.push_back({.at = {topic_->object.name, partition}, .offset = offset, .metadata = {}});
  }
  MR_TRY(auto outcomes,
         shard_.block_on(rooms_.groups.commit(group_of(object_), {}, std::move(offsets))));
  for (auto& outcome : outcomes) MR_TRY(std::move(outcome));
  return {};
}

uint64_t SinkRun::lag() const {
  uint64_t lag = 0;
  for (const auto& partition : topic_->partitions) {
    const Offset behind = partition->last_stable_offset() - position_.at(partition->index());
    if (behind > 0) lag += static_cast<uint64_t>(behind);
  }
  return lag;
}

void SinkRun::renew(const Connectors::Rooms& rooms, const catalog::Object& object) {
  auto& shard = shard_of(rooms, object);
  auto known = shard.block_on(rooms.groups.fetch(group_of(object), {}, std::nullopt, false));
  if (!known || known->empty()) return;
  std::vector<broker::OffsetToCommit> offsets;
  for (const auto& each : *known) {
    if (each.committed)
      offsets.push_back({.at = each.at, .offset = each.committed->offset, .metadata = {}});
  }
  const auto renewed =
      shard.block_on(rooms.groups.commit(group_of(object), {}, std::move(offsets)));
  if (renewed) return;
  logging::warn("a paused sink's offsets were not renewed",
                {{"sink", object.name}, {"reason", renewed.error().text}});
}

Result<> SinkRun::forget(const Connectors::Rooms& rooms, const catalog::Object& object) {
  auto removed = shard_of(rooms, object).block_on(rooms.groups.remove(group_of(object)));
  if (!removed && removed.error().code == ErrorCode::kGroupNotFound) return {};
  return removed;
}

}  // namespace millrace::connect
