#include <fmt/format.h>
#include <time.h>

#include <charconv>
#include <deque>

#include "catalog/connector.h"
#include "connect/detail/kafka_client.h"
#include "connect/detail/kinds.h"

namespace millrace::connect {

namespace {

/// A batch is as large as one call of a transform has time for.
constexpr size_t kRecordsMax = 4096;
constexpr size_t kBytesMax = 1 << 20;
/// New partitions of the far topics are looked for.
constexpr auto kLookAgain = std::chrono::seconds(30);
/// Who goes on in the far group's place finds the last commit, if that does not take long.
constexpr int kLastCommitMs = 1'000;

/// Where a partition without a position begins.
struct Start {
  int64_t at = RD_KAFKA_OFFSET_BEGINNING;  // or RD_KAFKA_OFFSET_END, or a time
};

struct KafkaSourceOptions {
  KafkaSettings settings;
  std::vector<std::string> topics;
  std::string group;  // of the far side; empty: none
  Start start;
  std::string id;
};

/// Reads partitions of a far cluster as the member of no group: how far is kept here.
class KafkaSource final : public Source {
 public:
  explicit KafkaSource(const KafkaSourceOptions& options) : options_(options) {}
  ~KafkaSource() override { settle(kLastCommitMs); }

  Result<Position> open(const Position& position) override {
    const auto group = options_.group.empty() ? "millrace-source-" + options_.id : options_.group;
    MR_TRY(client_.start(RD_KAFKA_CONSUMER, options_.settings,
                         {{"group.id", group},
                          {"enable.auto.commit", "false"},
                          {"enable.auto.offset.store", "false"},
                          {"auto.offset.reset", "error"},
                          {"allow.auto.create.topics", "false"},
                          {"queued.max.messages.kbytes", "16384"}}));
    queue_.reset(rd_kafka_queue_get_consumer(client_.handle()));
    commits_.reset(rd_kafka_queue_new(client_.handle()));
    return assign(position);
  }

  Result<> read(SourceBatch& out, std::chrono::milliseconds wait) override {
    messages_.clear();
    headers_.clear();
    MR_TRY(client_.health());
    if (std::chrono::steady_clock::now() > look_again_) {
      MR_TRY(out.moved, assign(position()));
    }
    // One is waited for; what else is there comes along.
    KafkaMessage first(rd_kafka_consumer_poll(client_.handle(), static_cast<int>(wait.count())));
    if (!first) return {};
    MR_TRY(take(std::move(first), out));
    while (out.records.records.size() < kRecordsMax && out.records.bytes < kBytesMax) {
      rd_kafka_message_t* more[256];
      const auto count = rd_kafka_consume_batch_queue(queue_.get(), 0, more, std::size(more));
      if (count <= 0) break;
      Result<> taken;
      for (ssize_t i = 0; i < count; ++i) {
        KafkaMessage message(more[i]);
        if (taken) taken = take(std::move(message), out);
      }
      MR_TRY(std::move(taken));
    }
    return {};
  }

  void kept() override {
    if (options_.group.empty() || messages_.empty()) return;
    // For who looks at the far side alone: ours is what counts.
    KafkaPartitions list = listed();
    rd_kafka_commit_queue(client_.handle(), list.get(), commits_.get(), nullptr, nullptr);
    ++commits_under_way_;
    settle(0);
  }

  std::optional<uint64_t> lag() override {
    uint64_t lag = 0;
    for (const auto& [at, next] : next_) {
      int64_t low = 0, high = 0;
      if (rd_kafka_get_watermark_offsets(client_.handle(), at.first.c_str(), at.second, &low,
                                         &high) == RD_KAFKA_RESP_ERR_NO_ERROR &&
          high > next) {
        lag += static_cast<uint64_t>(high - next);
      }
    }
    return lag;
  }

 private:
  using Part = std::pair<std::string, int32_t>;

  static std::string name_of(const Part& part) {
    return fmt::format("{}/{}", part.first, part.second);
  }
  Position position() const {
    Position out;
    for (const auto& [part, next] : next_) out.emplace(name_of(part), std::to_string(next));
    return out;
  }
  /// Takes what the far side has answered to commits, and waits so long for the next answer.
  void settle(int wait_ms) {
    while (commits_under_way_ > 0) {
      rd_kafka_event_t* const event = rd_kafka_queue_poll(commits_.get(), wait_ms);
      if (!event) return;
      rd_kafka_event_destroy(event);
      --commits_under_way_;
    }
  }
  KafkaPartitions listed() const {
    KafkaPartitions list(rd_kafka_topic_partition_list_new(static_cast<int>(next_.size())));
    for (const auto& [part, next] : next_) {
      rd_kafka_topic_partition_list_add(list.get(), part.first.c_str(), part.second)->offset = next;
    }
    return list;
  }

  /// Reads every partition that there is now: from `position`, else from the start. Gives what was
  /// decided for those that are new.
  Result<Position> assign(const Position& position) {
    const bool first_time = next_.empty();
    look_again_ = std::chrono::steady_clock::now() + kLookAgain;
    Position decided;
    bool changed = false;
    for (const auto& topic : options_.topics) {
      MR_TRY(const auto count, client_.partitions(topic));
      for (int32_t p = 0; p < count; ++p) {
        const Part part(topic, p);
        if (next_.contains(part)) continue;
        changed = true;
        const auto known = position.find(name_of(part));
        if (known != position.end()) {
          next_[part] = std::strtoll(known->second.c_str(), nullptr, 10);
          continue;
        }
        // A partition that comes later is read whole.
        const auto start = first_time && position.empty() ? options_.start : Start{};
        MR_TRY(const auto from, decide(part, start));
        next_[part] = from;
        decided.emplace(name_of(part), std::to_string(from));
      }
    }
    if (first_time) client_.answered();
    if (!changed) return decided;
    const auto list = listed();
    const auto code = rd_kafka_assign(client_.handle(), list.get());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(code, "assigning partitions");
    return decided;
  }

  Result<int64_t> decide(const Part& part, const Start& start) {
    if (!options_.group.empty()) {
      const KafkaPartitions one(rd_kafka_topic_partition_list_new(1));
      auto& at = *rd_kafka_topic_partition_list_add(one.get(), part.first.c_str(), part.second);
      const auto code = rd_kafka_committed(client_.handle(), one.get(), kKafkaAnswerMs);
      if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(code, fmt::format("asking kafka for the offsets of {}", options_.group));
      }
      if (at.offset >= 0) return at.offset;
    }
    MR_TRY(const auto from, client_.offset(part.first, part.second, start.at));
    if (from >= 0) return from;
    return client_.offset(part.first, part.second, RD_KAFKA_OFFSET_END);  // no record is so late
  }

  Result<> take(KafkaMessage message, SourceBatch& out) {
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
      return Error{ErrorCode::kOffsetOutOfRange,
                   fmt::format("the far side has no longer what comes next: {}",
                               rd_kafka_message_errstr(message.get())),
                   std::nullopt, "DROP the source and CREATE it to begin anew."};
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return Error{ErrorCode::kConnectionClosed,
                   fmt::format("reading from kafka: {}", rd_kafka_message_errstr(message.get()))};
    }
    wasm::RecordView record;
    rd_kafka_timestamp_type_t type;
    record.timestamp = rd_kafka_message_timestamp(message.get(), &type);
    const auto view = [](const void* bytes, size_t size) -> std::optional<std::string_view> {
      if (!bytes) return std::nullopt;
      return std::string_view(static_cast<const char*>(bytes), size);
    };
    record.key = view(message->key, message->key_len);
    record.value = view(message->payload, message->len);
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(message.get(), &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      auto& kept = headers_.emplace_back();
      const char* name = nullptr;
      const void* value = nullptr;
      size_t size = 0;
      for (size_t i = 0;
           rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
           ++i) {
        kept.push_back({name, view(value, size)});
      }
      record.headers = kept;
    }
    const Part part(rd_kafka_topic_name(message->rkt), message->partition);
    next_[part] = message->offset + 1;
    out.moved[name_of(part)] = std::to_string(message->offset + 1);
    out.records.add(record, message->partition);
    messages_.push_back(std::move(message));
    return {};
  }

  const KafkaSourceOptions& options_;
  KafkaClient client_;
  KafkaQueue queue_, commits_;
  size_t commits_under_way_ = 0;
  std::vector<KafkaMessage> messages_;  // that the last batch views
  std::deque<std::vector<wasm::HeaderView>> headers_;
  std::map<Part, int64_t> next_;
  std::chrono::steady_clock::time_point look_again_;
};

/// 2026-01-31T12:00:00Z, or milliseconds since the epoch.
std::optional<TimestampMs> time_of(const std::string& text) {
  int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed == std::errc() && end == text.data() + text.size()) return number;
  tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (!rest || (std::string_view(rest) != "Z" && *rest != '\0')) return std::nullopt;
  return timegm(&parts) * 1000;
}

std::vector<std::string> names_of(const std::string& list) {
  std::vector<std::string> out;
  for (size_t from = 0; from < list.size();) {
    const size_t comma = std::min(list.find(',', from), list.size());
    auto name = list.substr(from, comma - from);
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    if (!name.empty()) out.push_back(std::move(name));
    from = comma + 1;
  }
  return out;
}

}  // namespace

Result<Recipe> kafka_source(Options& given, const catalog::Object& object) {
  auto options = std::make_shared<KafkaSourceOptions>();
  options->id = object.id.to_string();
  MR_TRY(options->settings, KafkaSettings::take(given));
  const auto topics = given.text("topics");
  const auto topic = given.text("topic");
  options->topics = names_of(topics ? *topics : topic.value_or(""));
  if (options->topics.empty() || (topics && topic)) {
    return Error{ErrorCode::kInvalidConfig, "the option topic is needed, or topics", std::nullopt,
                 "For example topic = 'orders', or topics = 'orders, payments'."};
  }
  options->group = given.text("group").value_or("");
  const auto start = given.text("start").value_or("earliest");
  if (start == "latest") {
    options->start.at = RD_KAFKA_OFFSET_END;
  } else if (start != "earliest") {
    const auto time = time_of(start);
    if (!time) {
      return Error{ErrorCode::kInvalidConfig, fmt::format("start = '{}' is not known", start),
                   std::nullopt, "It is earliest, latest, or a time as 2026-01-31T12:00:00Z."};
    }
    options->start.at = *time;
  }
  Recipe recipe;
  recipe.source = [options](const Progress&) { return std::make_unique<KafkaSource>(*options); };
  return recipe;
}

}  // namespace millrace::connect
