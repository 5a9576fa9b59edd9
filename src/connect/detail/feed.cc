#include "connect/detail/feed.h"

#include <fmt/format.h>

#include <algorithm>

#include "catalog/connector.h"
#include "connect/detail/letters.h"

namespace millrace::connect {

namespace {

constexpr size_t kBatchBytes = 512 << 10;
/// What one call of a transform has time for.
constexpr size_t kRecordsMax = 4096;

}  // namespace

Feed::Feed(const Connectors::Rooms& rooms, const catalog::Object& object, Progress& progress,
           BodyFormat format)
    : rooms_(rooms),
      object_(object),
      progress_(progress),
      format_(format),
      guests_(rooms, object, progress) {}

Result<uint64_t> Feed::put(std::string_view body) {
  const auto name = catalog::option_of(object_, catalog::kTopicOption);
  const auto topic = rooms_.broker.find(name);
  if (!topic) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", name)};
  }
  MR_TRY(const auto values, values_of(format_, body));
  Fed fed;
  for (size_t from = 0; from < values.size(); from += kRecordsMax) {
    const auto count = std::min(kRecordsMax, values.size() - from);
    MR_TRY(add(std::span(values).subspan(from, count), fed));
  }
  if (fed.builder.count() > 0) fed.batches += fed.builder.finish();
  auto& shard = rooms_.runtime.shard(0);
  if (fed.letters.count() > 0) fed.letter_batches += fed.letters.finish();
  if (!fed.letter_batches.empty()) {
    MR_TRY(const auto letters, shard.block_on(broker::open_dead_letters(rooms_.broker, topic)));
    MR_TRY(shard.block_on(letters->append(std::move(fed.letter_batches), log::Ack::kDurable)));
  }
  if (!fed.batches.empty()) {
    const auto& partitions = topic->partitions;
    const auto& partition = partitions[next_partition_.fetch_add(1) % partitions.size()];
    MR_TRY(shard.block_on(partition->append(std::move(fed.batches), log::Ack::kDurable)));
  }
  progress_.kept(values.size(), body.size());
  return values.size();
}

Result<> Feed::add(std::span<const std::string> values, Fed& fed) {
  Records records;
  for (const auto& value : values) {
    wasm::RecordView record;
    record.timestamp = rooms_.env.now_ms();
    record.value = value;
    records.add(record, -1);
  }
  MR_TRY(const auto shaped, guests_.shape(records));
  std::vector<log::Header> headers;
  for (const auto& record : shaped.records) {
    headers.clear();
    for (const auto& header : record.headers) headers.push_back({header.name, header.value});
    if (fed.builder.count() > 0 && fed.builder.bytes() > kBatchBytes) {
      fed.batches += fed.builder.finish();
    }
    fed.builder.add(record.timestamp, record.key, record.value, headers);
  }
  const auto topic = catalog::option_of(object_, catalog::kTopicOption);
  for (const auto& letter : shaped.letters) {
    add_letter(fed.letters, rooms_.env.now_ms(), object_, topic, letter, records);
    if (fed.letters.bytes() > kBatchBytes) fed.letter_batches += fed.letters.finish();
  }
  return {};
}

}  // namespace millrace::connect
