#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "broker/broker.h"
#include "broker/detail/option_rules.h"

namespace millrace::broker {

namespace {

constexpr int64_t kInt = std::numeric_limits<int32_t>::max();
constexpr int64_t kLong = std::numeric_limits<int64_t>::max();
constexpr std::string_view kLongText = "9223372036854775807";

/// Names, types, defaults: Apache Kafka 4.3, TopicConfig and LogConfig; where Millrace differs the
/// documentation says so.
const detail::OptionRules& rules() {
  static const detail::OptionRules kRules(
      "topic",
      {
          {{"cleanup.policy", "delete", "LIST",
            "delete: old segments go by time and size; compact: the last record of each key is "
            "kept"},
           0,
           0,
           {"delete", "compact"}},
          {{"compression.gzip.level", "-1", "INT", "How hard compression.type=gzip tries; -1: 6"},
           -1,
           9},
          {{"compression.lz4.level", "9", "INT",
            "How hard compression.type=lz4 tries; 9, the default, is the fast compressor, as in "
            "Kafka"},
           1,
           17},
          {{"compression.type", "producer", "STRING",
            "The codec that batches are kept in; those of another are compressed anew when they "
            "come. "
            "producer: as they were sent"},
           0,
           0,
           {"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}},
          {{"compression.zstd.level", "3", "INT", "How hard compression.type=zstd tries"},
           -131072,
           22},
          {{"deduplication", "none", "STRING",
            "key: a record whose key was appended within deduplication.count records and "
            "deduplication.age.ms is left out; header:<name>: the same by the value of that "
            "header. "
            "Records of transactions, and those without the key or header, are always kept"}},
          {{"deduplication.age.ms", "3600000", "LONG", "How long deduplication remembers a record"},
           1,
           kLong},
          {{"deduplication.count", "65536", "INT",
            "How many records deduplication remembers, at some 100 bytes of memory each"},
           1,
           10'000'000},
          {{"delayed.delivery", "false", "BOOLEAN",
            "Share groups wait for the time that a record's header deliver_at says"},
           0,
           0,
           {"true", "false"}},
          {{"delete.retention.ms", "86400000", "LONG",
            "How long compaction keeps tombstones and the markers of transactions"},
           0,
           kLong},
          {{"durability", "fsync", "STRING",
            "fsync: acks=all is answered when the records are on disk; os: when they are written"},
           0,
           0,
           {"fsync", "os"}},
          {{"file.delete.delay.ms", "60000", "LONG", "Accepted; files go at once"}, 0, kLong},
          {{"flush.messages", kLongText, "LONG",
            "Accepted; durability says when records are on disk"},
           1,
           kLong},
          {{"flush.ms", kLongText, "LONG", "Accepted; durability says when records are on disk"},
           0,
           kLong},
          {{"follower.replication.throttled.replicas", "", "LIST",
            "Accepted; there are no followers"}},
          {{"format", "json", "STRING",
            "json: the value is an object with the columns; raw: the value is one column of bytes"},
           0,
           0,
           {"json", "raw"}},
          {{"index.interval.bytes", "4096", "INT", "Bytes of log between two entries of the index"},
           0,
           kInt},
          {{"leader.replication.throttled.replicas", "", "LIST",
            "Accepted; there are no followers"}},
          {{"local.retention.bytes", "-2", "LONG", "Accepted; there is no remote storage"},
           -2,
           kLong},
          {{"local.retention.ms", "-2", "LONG", "Accepted; there is no remote storage"}, -2, kLong},
          {{"max.compaction.lag.ms", kLongText, "LONG",
            "After this a segment is closed and compacted, however little is dirty"},
           1,
           kLong},
          {{"max.message.bytes", "1048588", "INT", "The largest record batch that is taken"},
           0,
           kInt},
          {{"message.timestamp.after.max.ms", "3600000", "LONG",
            "How far a record's timestamp may be in the future"},
           0,
           kLong},
          {{"message.timestamp.before.max.ms", kLongText, "LONG",
            "How far a record's timestamp may be in the past"},
           0,
           kLong},
          {{"message.timestamp.type", "CreateTime", "STRING",
            "CreateTime: the producer's timestamp; LogAppendTime: the node's"},
           0,
           0,
           {"CreateTime", "LogAppendTime"}},
          {{"min.cleanable.dirty.ratio", "0.5", "DOUBLE",
            "Compaction begins when more than this share of the log was never compacted"},
           0,
           1},
          {{"min.compaction.lag.ms", "0", "LONG", "Before this no record is compacted"}, 0, kLong},
          {{"min.insync.replicas", "1", "INT", "Accepted; there is one replica"}, 1, kInt},
          {{"on_error", "dead_letter", "STRING",
            "A record that does not fit the columns: reject refuses it at produce, dead_letter "
            "sets it "
            "aside in <topic>.dead_letter, skip passes it over"},
           0,
           0,
           {"dead_letter", "reject", "skip"}},
          {{"preallocate", "false", "BOOLEAN", "Accepted; segments grow"}, 0, 0, {"true", "false"}},
          {{"remote.log.copy.disable", "false", "BOOLEAN", "Accepted; there is no remote storage"},
           0,
           0,
           {"true", "false"}},
          {{"remote.log.delete.on.disable", "false", "BOOLEAN",
            "Accepted; there is no remote storage"},
           0,
           0,
           {"true", "false"}},
          {{"remote.storage.enable", "false", "BOOLEAN", "There is no remote storage"},
           0,
           0,
           {"false"}},
          {{"retention.bytes", "-1", "LONG", "Bytes of a partition that are kept; -1: no limit"},
           -1,
           kLong},
          {{"retention.ms", "604800000", "LONG", "How long records are kept; -1: for ever"},
           -1,
           kLong},
          {{"segment.bytes", "268435456", "INT",
            "The size at which a segment is closed (Kafka: 1 GiB)"},
           4096,
           kInt},
          {{"segment.index.bytes", "10485760", "INT", "Accepted; indexes grow"}, 4, kInt},
          {{"segment.jitter.ms", "0", "LONG", "Accepted; segments are closed on time"}, 0, kLong},
          {{"segment.ms", "604800000", "LONG", "The age at which a segment is closed"}, 1, kLong},
          {{"unclean.leader.election.enable", "false", "BOOLEAN", "Accepted; there is one replica"},
           0,
           0,
           {"true", "false"}},
          {{"watermark.idle.timeout.ms", "30000", "LONG",
            "A partition without new rows for so long holds the watermark back no more; when all "
            "are, it goes on with the clock; -1: never"},
           -1,
           kInt},
      });
  return kRules;
}

std::string_view word(const std::map<std::string, std::string>& options, const std::string& name) {
  const auto at = options.find(name);
  return at != options.end() ? std::string_view(at->second)
                             : rules().find(name)->option.default_value;
}

int64_t integer(const std::map<std::string, std::string>& options, const std::string& name) {
  return detail::integer_of(word(options, name));
}

}  // namespace

namespace {

/// Of a level, Kafka's default is ours: 0.
void set_compression(const std::map<std::string, std::string>& options, log::LogConfig& config) {
  const auto type = word(options, "compression.type");
  if (type == "uncompressed") config.compression = log::Compression::kNone;
  if (type == "snappy") config.compression = log::Compression::kSnappy;
  const auto with_level = [&](log::Compression codec, const std::string& option, int64_t standard) {
    config.compression = codec;
    const int64_t level = integer(options, option);
    config.compression_level = level == standard ? 0 : static_cast<int>(level);
  };
  if (type == "gzip") with_level(log::Compression::kGzip, "compression.gzip.level", -1);
  if (type == "lz4") with_level(log::Compression::kLz4, "compression.lz4.level", 9);
  if (type == "zstd") with_level(log::Compression::kZstd, "compression.zstd.level", 3);
}

Result<> set_dedup(const std::map<std::string, std::string>& options, log::LogConfig& config) {
  constexpr std::string_view kHeader = "header:";
  const auto by = word(options, "deduplication");
  if (by == "none") return {};
  if (by != "key" && (!by.starts_with(kHeader) || by.size() == kHeader.size())) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("topic option deduplication: \"{}\" is not allowed; allowed: none, "
                             "key, header:<name>",
                             by)};
  }
  config.dedup.enabled = true;
  if (by != "key") config.dedup.header = by.substr(kHeader.size());
  config.dedup.count = static_cast<uint64_t>(integer(options, "deduplication.count"));
  config.dedup.age_ms = integer(options, "deduplication.age.ms");
  return {};
}

}  // namespace

const std::vector<ConfigOption>& topic_options() { return rules().options(); }

Result<log::LogConfig> to_log_config(const std::map<std::string, std::string>& options) {
  for (const auto& [name, value] : options) MR_TRY(rules().check(name, value));
  log::LogConfig config;
  config.segment_bytes = static_cast<uint64_t>(integer(options, "segment.bytes"));
  config.segment_ms = integer(options, "segment.ms");
  config.retention_ms = integer(options, "retention.ms");
  config.retention_bytes = integer(options, "retention.bytes");
  config.batch_bytes_max = static_cast<uint32_t>(integer(options, "max.message.bytes"));
  config.index_interval_bytes = static_cast<uint32_t>(integer(options, "index.interval.bytes"));
  if (word(options, "message.timestamp.type") == "LogAppendTime") {
    config.timestamp_type = log::TimestampType::kLogAppendTime;
  }
  if (word(options, "durability") == "os") config.durability = log::Durability::kOs;
  const auto policy = detail::split_list(word(options, "cleanup.policy"));
  config.cleanup_delete = std::ranges::find(policy, "delete") != policy.end();
  config.cleanup_compact = std::ranges::find(policy, "compact") != policy.end();
  config.min_compaction_lag_ms = integer(options, "min.compaction.lag.ms");
  config.max_compaction_lag_ms = integer(options, "max.compaction.lag.ms");
  config.delete_retention_ms = integer(options, "delete.retention.ms");
  const auto ratio = word(options, "min.cleanable.dirty.ratio");
  std::from_chars(ratio.data(), ratio.data() + ratio.size(), config.min_cleanable_dirty_ratio);
  set_compression(options, config);
  MR_TRY(set_dedup(options, config));
  return config;
}

std::map<std::string, std::string> effective_options(const catalog::Object& object) {
  auto options = object.options;
  // A view's own options are its dataflow's, not its changelog's.
  if (object.kind == catalog::Kind::kMaterializedView) {
    std::erase_if(options, [](const auto& o) { return !rules().find(o.first); });
    options.erase("on_error");
  }
  if (object.kind != catalog::Kind::kTopic) {
    options.try_emplace("cleanup.policy", "compact");
    // Rows keep the time of their event, whatever it is.
    options.try_emplace("message.timestamp.after.max.ms", kLongText);
    // A batch of rows is as large as its epoch.
    options.try_emplace("max.message.bytes", "67108864");
  } else if (object.columns.empty()) {
    options.try_emplace("format", "raw");
  }
  for (const auto& option : topic_options()) {
    options.try_emplace(std::string(option.name), option.default_value);
  }
  return options;
}

Result<> check_topic_name(std::string_view name) {
  constexpr size_t kNameBytesMax = 249;
  const auto error = [&](std::string_view why) {
    constexpr size_t kShown = 300;
    return Error{ErrorCode::kInvalidName,
                 fmt::format("\"{}\" is no name for a topic: {}", name.substr(0, kShown), why)};
  };
  if (name.empty()) return error("it is empty");
  if (name == "." || name == "..") return error("it names a folder");
  if (name.size() > kNameBytesMax) return error("it is longer than 249 characters");
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!std::ranges::all_of(name, good)) {
    return error("only letters of ASCII, digits, '.', '_' and '-' are allowed");
  }
  return {};
}

}  // namespace millrace::broker
