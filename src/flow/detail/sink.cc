#include "flow/detail/sink.h"

#include <fmt/format.h>

#include <charconv>

#include "base/logging.h"
#include "catalog/sink.h"
#include "flow/detail/changelog.h"
#include "flow/detail/place.h"

namespace millrace::flow {

namespace {

constexpr size_t kReadBytes = 1u << 20;
constexpr size_t kBatchBytes = 256u << 10;
constexpr size_t kAppendBytes = 4u << 20;
constexpr auto kRetry = std::chrono::seconds(1);

catalog::Object topic_of(const catalog::Object& sink) {
  catalog::Object topic;
  topic.name = catalog::sink_topic(sink);
  topic.sql = sink.sql;
  for (const auto& [name, value] : sink.options)
    if (name.starts_with(catalog::kSinkOption))
      topic.options[name.substr(catalog::kSinkOption.size())] = value;
  topic.options.erase("key");
  const auto format = std::exchange(topic.options["format"], "json");
  if (format == "debezium")
    topic.options["format"] = "raw";
  else
    topic.columns = sink.columns;
  if (format == "upsert") topic.options.try_emplace("cleanup.policy", "compact");
  // Its records fit: nobody need look at them for dead letters.
  topic.options.try_emplace("on_error", "skip");
  // A row is taken however large it is, as its changelog takes it.
  topic.options.try_emplace("max.message.bytes", "67108864");
  return topic;
}

}  // namespace

Sink::Sink(SinkWriter writer, std::string name, std::shared_ptr<broker::Partition> changelog,
           std::shared_ptr<broker::Partition> topic)
    : writer_(std::move(writer)),
      name_(std::move(name)),
      changelog_(std::move(changelog)),
      topic_(std::move(topic)) {}

Result<std::shared_ptr<Sink>> Sink::make(broker::Broker& broker, const catalog::Object& view,
                                         std::shared_ptr<broker::Partition> changelog) {
  MR_TRY(auto writer, SinkWriter::make(view));
  const auto name = catalog::sink_topic(view);
  auto topic = broker.find(name);
  auto wanted = topic_of(view);
  auto& shard = changelog->shard();
  if (!topic) {
    MR_TRY(topic, shard.block_on(broker.create(std::move(wanted), false, false)));
  } else if (topic->object.columns != wanted.columns) {  // the sink was replaced
    auto wider = topic->object;
    wider.columns = std::move(wanted.columns);
    wider.sql = std::move(wanted.sql);
    MR_TRY(topic, shard.block_on(broker.create(std::move(wider), true, false)));
  }
  return std::shared_ptr<Sink>(
      new Sink(std::move(writer), name, std::move(changelog), topic->partitions.at(0)));
}

std::optional<Error> Sink::error() const {
  std::lock_guard lock(mutex_);
  return error_;
}

std::optional<Clock::time_point> Sink::run() {
  if (error()) return std::nullopt;
  auto more = advance();
  if (more) return *more ? std::optional(Clock::now()) : std::nullopt;
  auto& error = more.error();
  // A failed append has left nothing of itself, or all: the topic says which.
  recovered_ = false;
  if (error.code == ErrorCode::kIo || error.code == ErrorCode::kDiskFull) {
    logging::warn("a sink cannot be written, trying again",
                  {{"sink", name_}, {"reason", error.text}});
    return Clock::now() + kRetry;
  }
  if (error.code != ErrorCode::kShuttingDown)
    logging::error("a sink has stopped", {{"sink", name_}, {"reason", error.text}});
  error.text = fmt::format("sink {} has stopped: {}", name_, error.text);
  std::lock_guard lock(mutex_);
  error_ = std::move(error);
  return std::nullopt;
}

Result<> Sink::recover() {
  const Offset start = topic_->start_offset();
  const Offset end = topic_->high_watermark();
  MR_TRY(const auto last, last_place(*topic_, {}, 0));
  if (!last && end > 0)
    return Error{ErrorCode::kOffsetOutOfRange,
                 fmt::format("the records that it wrote to {} are deleted, so that nothing says "
                             "where it stood: drop it and create it anew",
                             name_)};
  epoch_at_ = last ? last->at : changelog_->start_offset();
  written_ = last ? last->index + 1 : 0;
  read_at_ = epoch_at_;
  rows_.clear();
  MR_TRY(hold(*changelog_, epoch_at_));
  if (end > start) MR_TRY(hold(*topic_, end - 1));
  recovered_ = true;
  return {};
}

Result<bool> Sink::advance() {
  if (!recovered_) MR_TRY(recover());
  if (read_at_ >= changelog_->high_watermark()) return false;
  std::string out;
  const Offset epoch_before = epoch_at_;
  while (read_at_ < changelog_->high_watermark() && out.size() < kAppendBytes) {
    MR_TRY(const auto read, read_log(*changelog_, read_at_, kReadBytes));
    Result<> outcome;
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (record.offset < read_at_ || !outcome) return;
      if (is_commit(record)) {
        outcome = end_epoch(record.timestamp, out);
        epoch_at_ = record.offset + 1;
        written_ = 0;
        return;
      }
      auto weight = weight_of(record);
      if (!weight)
        outcome = std::move(weight).error();
      else
        rows_.push_back({std::string(record.value.value_or("")), *weight});
    }));
    MR_TRY(std::move(outcome));
    if (read.next_offset <= read_at_)
      return Error{ErrorCode::kCorruptRecord, fmt::format("its changelog ends at {}", read_at_)};
    read_at_ = read.next_offset;
  }
  if (!out.empty()) {
    MR_TRY(const auto written,
           topic_->shard().block_on(topic_->append(std::move(out), log::Ack::kDurable)));
    MR_TRY(hold(*topic_, written.next_offset - 1));
  }
  if (epoch_at_ != epoch_before) MR_TRY(hold(*changelog_, epoch_at_));
  return read_at_ < changelog_->high_watermark();
}

Result<> Sink::end_epoch(TimestampMs clock, std::string& out) {
  MR_TRY(const auto records, writer_.write(rows_, clock));
  rows_.clear();
  log::BatchBuilder batch;
  for (size_t i = written_; i < records.size(); ++i) {
    const auto place = place_text({}, {epoch_at_, i});
    batch.add(clock, records[i].key, records[i].value, {{kPlaceHeader, place}});
    if (batch.bytes() >= kBatchBytes) out += batch.finish();
  }
  if (batch.count() > 0) out += batch.finish();
  return {};
}

Result<> Sink::hold(broker::Partition& log, std::optional<Offset> from) {
  return log.shard().block_on(log.hold("sink " + name_, from));
}

void Sink::close(bool release) {
  if (!release) return;
  for (auto* log : {changelog_.get(), topic_.get()})
    if (auto released = hold(*log, std::nullopt); !released && !log->closed())
      logging::warn("cannot let go of a log", {{"sink", name_}, {"reason", released.error().text}});
}

}  // namespace millrace::flow
