#include "broker/journal.h"

#include "catalog/pipeline.h"
#include "log/record_batch.h"

namespace millrace::broker {

namespace {

constexpr size_t kLoadBytes = 1 << 20;
/// A coordinator's state changes often and is small: segments are kept small, so that compaction
/// has closed ones to work on.
constexpr const char* kSegmentBytes = "16777216";
/// One put() is one batch: a group of many members with many partitions is assigned at once.
constexpr const char* kBatchBytesMax = "8388608";

class JournalImpl final : public Journal {
 public:
  JournalImpl(io::Env& env, Broker& broker, std::string topic)
      : env_(env), broker_(broker), topic_(std::move(topic)) {}

  io::Task<Result<>> load(
      std::function<void(std::string_view, std::optional<std::string_view>)> each) override {
    const auto topic = broker_.find(topic_);
    if (!topic) co_return Result<>();
    Partition& partition = *topic->partitions.front();
    Offset from = partition.start_offset();
    while (from < partition.high_watermark()) {
      MR_CO_TRY(const auto read, co_await partition.read(from, kLoadBytes));
      MR_CO_TRY(log::for_each_record(read.batches, false, [&](const log::RecordView& record) {
        if (record.key) each(*record.key, record.value);
      }));
      if (read.next_offset == from) break;
      from = read.next_offset;
    }
    co_return Result<>();
  }

  io::Task<Result<>> put(std::vector<Entry> entries) override {
    if (entries.empty()) co_return Result<>();
    log::BatchBuilder builder;
    const TimestampMs now = env_.now_ms();
    for (const auto& entry : entries) builder.add(now, entry.key, entry.value);
    auto batch = builder.finish();
    MR_CO_TRY(const auto topic, co_await the_topic());
    MR_CO_TRY(co_await topic->partitions.front()->append(std::move(batch), log::Ack::kDurable));
    co_return Result<>();
  }

 private:
  io::Task<Result<std::shared_ptr<const Topic>>> the_topic() {
    if (auto topic = broker_.find(topic_)) co_return topic;
    catalog::Object object;
    object.name = topic_;
    object.partitions = 1;
    object.options = {{"cleanup.policy", "compact"},
                      {"segment.bytes", kSegmentBytes},
                      {"max.message.bytes", kBatchBytesMax}};
    auto created = co_await broker_.create(std::move(object), false, false);
    if (created) co_return created;
    // Another write was first.
    if (auto topic = broker_.find(topic_)) co_return topic;
    co_return created;
  }

  io::Env& env_;
  Broker& broker_;
  const std::string topic_;
};

}  // namespace

std::unique_ptr<Journal> Journal::make(io::Env& env, Broker& broker, std::string topic) {
  return std::make_unique<JournalImpl>(env, broker, std::move(topic));
}

bool is_internal_topic(std::string_view topic) {
  return topic == "__consumer_offsets" || topic == "__transaction_state" ||
         topic == "__share_group_state" || topic == "__client_quotas" ||
         topic == "__group_configs" || topic == kSourcePositionsTopic ||
         topic.starts_with(catalog::kPipelineStatePrefix);
}

}  // namespace millrace::broker
