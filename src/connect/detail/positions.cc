#include "connect/detail/positions.h"

#include <fmt/format.h>

#include "broker/journal.h"

namespace millrace::connect {

namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr auto kWaitMax = std::chrono::seconds(10);
constexpr const char* kSegmentBytes = "16777216";  // small, so that compaction has closed ones

}  // namespace

std::string position_key(const std::string& source, const std::string& part) {
  return source + "/" + part;
}

io::Task<Result<PartitionPtr>> open_positions(broker::Broker& broker) {
  const std::string name(broker::kSourcePositionsTopic);
  if (const auto topic = broker.find(name)) co_return topic->partitions.at(0);
  catalog::Object object;
  object.name = name;
  object.options = {{"cleanup.policy", "compact"}, {"segment.bytes", kSegmentBytes}};
  auto created = co_await broker.create(std::move(object), false, false);
  if (created) co_return (*created)->partitions.at(0);
  // Another source was first.
  if (const auto topic = broker.find(name)) co_return topic->partitions.at(0);
  co_return std::move(created).error();
}

io::Task<Result<Position>> read_position(PartitionPtr positions, std::string source) {
  constexpr auto kCommitted = log::Isolation::kCommitted;
  Position position;
  const Offset end = positions->high_watermark();
  Offset from = positions->start_offset();
  // Our own transactions have ended, but another source's may hold back what stands behind it.
  if (end > from) {
    const auto deadline = std::chrono::steady_clock::now() + kWaitMax;
    const bool stable = co_await positions->wait_past(end - 1, deadline, kCommitted);
    if (!stable) {
      co_return Error{ErrorCode::kCancelled,
                      "the source's position cannot be read yet: a transaction of another source "
                      "does not end"};
    }
  }
  const auto prefix = position_key(source, {});
  while (from < end) {
    auto reading = positions->read(from, kReadBytes, kCommitted);
    MR_CO_TRY(auto read, co_await std::move(reading));
    log::leave_out_aborted(read);
    MR_CO_TRY(log::for_each_record(read.batches, false, [&](const log::RecordView& record) {
      if (!record.key || !record.key->starts_with(prefix)) return;
      const std::string part(record.key->substr(prefix.size()));
      if (record.value) {
        position.insert_or_assign(part, std::string(*record.value));
      } else {
        position.erase(part);
      }
    }));
    if (read.next_offset <= from) break;
    from = read.next_offset;
  }
  co_return position;
}

}  // namespace millrace::connect
