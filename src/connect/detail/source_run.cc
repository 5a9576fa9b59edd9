#include "connect/detail/source_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/io/gate.h"
#include "broker/journal.h"
#include "catalog/connector.h"
#include "connect/detail/letters.h"
#include "connect/detail/positions.h"

namespace millrace::connect {

namespace {

/// How long a transaction may be open; it is some milliseconds.
constexpr int32_t kTransactionMs = 60'000;
/// Batches are cut here, or below what the topic takes.
constexpr size_t kBatchBytes = 512 << 10;
constexpr auto kReadWait = std::chrono::milliseconds(100);

/// What stays below the topic's limit once a batch has its head and its records theirs.
size_t batch_bytes(const catalog::Object& topic) {
  const auto options = broker::effective_options(topic);
  const auto limit = options.find("max.message.bytes");
  size_t bytes = 2 * kBatchBytes;
  if (limit != options.end()) {
    std::from_chars(limit->second.data(), limit->second.data() + limit->second.size(), bytes);
  }
  return std::min(kBatchBytes, bytes / 2);
}

io::Task<void> append_one(Piece piece, Result<>& outcome) {
  auto appending = piece.partition->append(std::move(piece.batches), log::Ack::kDurable);
  auto appended = co_await std::move(appending);
  if (!appended) outcome = std::move(appended).error();
}

}  // namespace

SourceRun::SourceRun(const Connectors::Rooms& rooms, const catalog::Object& object,
                     Progress& progress, std::unique_ptr<Source> source)
    : rooms_(rooms),
      object_(object),
      progress_(progress),
      source_(std::move(source)),
      guests_(rooms, object, progress),
      shard_(rooms.runtime.shard_of(std::hash<std::string>()(object.name))),
      transactional_id_("__source-" + object.id.to_string()) {}

Result<> SourceRun::run() {
  MR_TRY(begin());
  MR_TRY(auto position, shard_.block_on(read_position(positions_, object_.id.to_string())));
  SourceBatch batch;
  MR_TRY(batch.moved, source_->open(position));
  progress_.set_open(true);
  if (!batch.moved.empty()) MR_TRY(keep(batch));
  while (!progress_.stopping()) {
    batch.records.clear();
    batch.moved.clear();
    MR_TRY(source_->read(batch, kReadWait));
    progress_.set_lag(source_->lag());
    if (batch.records.records.empty() && batch.moved.empty()) continue;
    MR_TRY(keep(batch));
    source_->kept();
    progress_.kept(batch.records.records.size(), batch.records.bytes);
  }
  return {};
}

Result<> SourceRun::begin() {
  MR_TRY(positions_, shard_.block_on(open_positions(rooms_.broker)));
  // Whatever a run before has left open is aborted, or its end carried through.
  MR_TRY(producer_, shard_.block_on(
                        rooms_.transactions.init(transactional_id_, kTransactionMs, std::nullopt)));
  return {};
}

PartitionPtr SourceRun::target(int32_t partition) {
  const auto count = static_cast<uint32_t>(topic_->partitions.size());
  const auto wanted = partition < 0 ? next_partition_ : static_cast<uint32_t>(partition);
  return topic_->partitions[wanted % count];
}

Result<> SourceRun::keep(const SourceBatch& batch) {
  const auto name = catalog::option_of(object_, catalog::kTopicOption);
  topic_ = rooms_.broker.find(name);  // it may have more partitions now
  if (!topic_) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", name)};
  }
  MR_TRY(const auto shaped, guests_.shape(batch.records));
  Batches batches(producer_, batch_bytes(topic_->object), sequences_);
  const TimestampMs now = rooms_.env.now_ms();
  ++next_partition_;
  for (auto record : shaped.records) {
    if (record.timestamp < 0) record.timestamp = now;
    batches.add(target(batch.records.partitions[record.input]), record);
  }
  MR_TRY(add_letters(batch, shaped, batches));
  for (const auto& [part, where] : batch.moved) {
    const auto key = position_key(object_.id.to_string(), part);
    batches.builder(positions_, key.size() + where.size()).add(now, key, where);
  }
  return shard_.block_on(commit(batches.finish()));
}

/// In the same transaction: a letter is written once, as its record would be.
Result<> SourceRun::add_letters(const SourceBatch& batch, const Shaped& shaped, Batches& batches) {
  if (shaped.letters.empty()) return {};
  MR_TRY(const auto partition, shard_.block_on(broker::open_dead_letters(rooms_.broker, topic_)));
  for (const auto& letter : shaped.letters) {
    const auto& record = batch.records.records[letter.input];
    const size_t bytes = record.key.value_or("").size() + record.value.value_or("").size();
    add_letter(batches.builder(partition, bytes), rooms_.env.now_ms(), object_, topic_->object.name,
               letter, batch.records);
  }
  return {};
}

io::Task<Result<>> SourceRun::append_all(std::vector<Piece> pieces) {
  std::vector<Result<>> outcomes(pieces.size());
  io::Gate under_way;
  for (size_t i = 0; i < pieces.size(); ++i) {
    shard_.spawn(under_way, append_one(std::move(pieces[i]), outcomes[i]));
  }
  co_await under_way.close();
  for (auto& outcome : outcomes) MR_CO_TRY(std::move(outcome));
  co_return Result<>();
}

io::Task<Result<>> SourceRun::commit(std::vector<Piece> pieces) {
  if (pieces.empty()) co_return Result<>();
  auto& transactions = rooms_.transactions;
  std::vector<PartitionPtr> partitions;
  for (const auto& piece : pieces) partitions.push_back(piece.partition);
  auto admitting = transactions.admit(transactional_id_, producer_, std::move(partitions), true);
  MR_CO_TRY(auto admitted, co_await std::move(admitting));
  Result<> done;
  for (auto& each : admitted.partitions) {
    if (!each && done) done = std::move(each);
  }
  if (done) {
    auto appending = append_all(std::move(pieces));
    done = co_await std::move(appending);
  }
  auto recording = transactions.recorded(admitted.admission);
  auto recorded = co_await std::move(recording);
  if (done) done = std::move(recorded);
  admitted.admission = {};
  // What cannot be kept ends now: readers of the topic wait for open transactions.
  auto ending = transactions.end(transactional_id_, producer_, done.has_value(), false);
  auto ended = co_await std::move(ending);
  if (!done) co_return done;
  MR_CO_TRY(producer_, std::move(ended));
  co_return Result<>();
}

Result<> SourceRun::forget(const Connectors::Rooms& rooms, const catalog::Object& object) {
  if (!rooms.broker.find(broker::kSourcePositionsTopic)) return {};
  auto& shard = rooms.runtime.shard(0);
  MR_TRY(const auto positions, shard.block_on(open_positions(rooms.broker)));
  MR_TRY(const auto position, shard.block_on(read_position(positions, object.id.to_string())));
  if (position.empty()) return {};
  log::BatchBuilder tombstones;
  for (const auto& [part, where] : position) {
    tombstones.add(rooms.env.now_ms(), position_key(object.id.to_string(), part), std::nullopt);
  }
  MR_TRY(shard.block_on(positions->append(tombstones.finish(), log::Ack::kDurable)));
  return {};
}

}  // namespace millrace::connect
