#include "broker/dead_letter.h"

#include <charconv>

namespace millrace::broker {

namespace {
constexpr std::string_view kSuffix = ".dead_letter";
constexpr size_t kReasonBytesMax = 1024;
// What a letter is longer than its record, and some.
constexpr int64_t kLetterOverhead = 64 << 10;
}  // namespace

std::string dead_letter_topic(std::string_view topic) {
  return std::string(topic) + std::string(kSuffix);
}

bool is_dead_letter_topic(std::string_view topic) { return topic.ends_with(kSuffix); }

void add_dead_letter(log::BatchBuilder& batch, TimestampMs now, const DeadLetter& letter,
                     const log::RecordView& record) {
  const std::string partition = std::to_string(letter.partition);
  const std::string offset = std::to_string(record.offset);
  const std::string timestamp = std::to_string(record.timestamp);
  const std::string count = std::to_string(letter.delivery_count);
  std::vector<log::Header> headers = {{"reason", letter.reason.substr(0, kReasonBytesMax)},
                                      {"topic", letter.topic},
                                      {"partition", partition},
                                      {"offset", offset},
                                      {"timestamp", timestamp}};
  if (!letter.group.empty()) {
    headers.push_back({"group", letter.group});
    headers.push_back({"delivery_count", count});
  }
  headers.insert(headers.end(), record.headers.begin(), record.headers.end());
  batch.add(now, record.key, record.value, headers);
}

io::Task<Result<std::shared_ptr<Partition>>> open_dead_letters(
    Broker& broker, std::shared_ptr<const Topic> source) {
  const std::string name = dead_letter_topic(source->object.name);
  if (const auto topic = broker.find(name)) co_return topic->partitions.at(0);
  catalog::Object object;
  object.name = name;
  const auto options = effective_options(source->object);
  if (const auto limit = options.find("max.message.bytes"); limit != options.end()) {
    int64_t bytes = 0;
    std::from_chars(limit->second.data(), limit->second.data() + limit->second.size(), bytes);
    constexpr int64_t kMost = 0x7fffffff;
    object.options["max.message.bytes"] = std::to_string(std::min(kMost, bytes + kLetterOverhead));
  }
  auto created = co_await broker.create(std::move(object), false, false);
  if (created) co_return (*created)->partitions.at(0);
  // Someone else may have created it just now.
  if (const auto topic = broker.find(name)) co_return topic->partitions.at(0);
  co_return std::move(created).error();
}

}  // namespace millrace::broker
