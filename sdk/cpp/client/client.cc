#include "millrace/client.h"

#include <algorithm>
#include <utility>

#include "detail/guests.h"
#include "detail/kafka.h"
#include "wasm/record_views.h"

namespace millrace::client {

namespace {

/// Of what came out of a batch, and of the records that went in.
Result<> write_letters(detail::Letters& letters, const detail::Shaped& shaped,
                       std::span<const wasm::RecordView> views, std::span<const Record> records) {
  if (shaped.letters.empty()) return {};
  for (const auto& each : shaped.letters) {
    const auto& record = records[each.input];
    MR_TRY(letters.put(record.topic, record.partition, views[each.input], each.why));
  }
  return letters.flush();
}

Record made_of(const Record& from, const wasm::RecordView& view) {
  Record out{.topic = from.topic,
             .partition = from.partition,
             .offset = from.offset,
             .timestamp = view.timestamp,
             .key = std::optional<std::string>(view.key),
             .value = std::optional<std::string>(view.value),
             .headers = {}};
  out.headers.reserve(view.headers.size());
  for (const auto& header : view.headers) {
    out.headers.push_back({std::string(header.name), std::optional<std::string>(header.value)});
  }
  return out;
}

std::vector<std::string> hashes(const detail::Guests& guests) {
  std::vector<std::string> out;
  for (const auto& module : guests.modules().now()->modules) out.push_back(module->hash());
  return out;
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// ---- Producer

Producer::Producer() = default;
Producer::~Producer() = default;

Result<std::unique_ptr<Producer>> Producer::open(Options options) {
  if (options.kafka.contains("transactional.id")) {
    return Error{ErrorCode::kNotSupported, "transactions are not supported: transactional.id",
                 std::nullopt, "enable.idempotence=true keeps order and writes nothing twice."};
  }
  std::unique_ptr<Producer> made(new Producer());
  MR_TRY(made->sender_, detail::Sender::open(options.kafka));
  MR_TRY(made->guests_, detail::Guests::open(options));
  made->letters_ = std::make_unique<detail::Letters>(std::move(options.kafka));
  return made;
}

Result<> Producer::send(std::vector<Record> records) {
  for (auto& record : records) {
    if (record.timestamp == 0) record.timestamp = now_ms();
  }
  const wasm::RecordViews views(records, &Header::name, false);
  MR_TRY(const auto shaped, guests_->shape(views.all()));
  MR_TRY(write_letters(*letters_, shaped, views.all(), records));
  for (const auto& each : shaped.records) {
    const auto& from = records[each.input];
    MR_TRY(sender_->put(from.topic, from.partition, each));
  }
  sender_->poll();
  return {};
}

Result<> Producer::flush(std::chrono::milliseconds timeout) { return sender_->flush(timeout); }
std::vector<std::string> Producer::modules() const { return hashes(*guests_); }
Result<> Producer::following() const { return guests_->modules().following(); }
Counts Producer::counts() const { return guests_->counts(); }

// ---- Consumer

Consumer::Consumer() = default;
Consumer::~Consumer() = default;

Result<std::unique_ptr<Consumer>> Consumer::open(Options options,
                                                 const std::vector<std::string>& topics) {
  if (!options.kafka.contains("group.id")) {
    return Error{ErrorCode::kInvalidConfig, "a consumer is of a group: group.id is not given"};
  }
  std::unique_ptr<Consumer> made(new Consumer());
  // First: a member of the group that cannot start its modules would take partitions from others.
  MR_TRY(made->guests_, detail::Guests::open(options));
  MR_TRY(made->receiver_, detail::Receiver::open(options.kafka, topics));
  made->letters_ = std::make_unique<detail::Letters>(std::move(options.kafka));
  return made;
}

Result<std::vector<Record>> Consumer::consume(std::chrono::milliseconds timeout,
                                              size_t records_max) {
  receiver_->store();
  MR_TRY(const auto* records, receiver_->batch(timeout, records_max));
  const wasm::RecordViews views(*records, &Header::name, true);
  MR_TRY(const auto shaped, guests_->shape(views.all()));
  MR_TRY(write_letters(*letters_, shaped, views.all(), *records));
  std::vector<Record> out;
  out.reserve(shaped.records.size());
  for (const auto& each : shaped.records) out.push_back(made_of((*records)[each.input], each));
  receiver_->done();
  return out;
}

Result<> Consumer::commit() { return receiver_->commit(); }
std::vector<std::string> Consumer::modules() const { return hashes(*guests_); }
Result<> Consumer::following() const { return guests_->modules().following(); }
Counts Consumer::counts() const { return guests_->counts(); }

}  // namespace millrace::client
