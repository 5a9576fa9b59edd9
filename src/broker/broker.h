#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "catalog/catalog.h"
#include "log/partition_log.h"

namespace millrace::broker {

class TopicTransforms;  // transforms.h
class Transforms;

/// One partition as the broker serves it: its log, on the shard that owns it. Calls may come from
/// any shard (or, through Shard::block_on, from any thread): they cross to the owner by themselves.
class Partition {
 public:
  virtual ~Partition() = default;
  virtual const std::string& topic() const = 0;
  virtual int32_t index() const = 0;
  virtual io::Shard& shard() = 0;

  /// Validates `batches` (bytes from outside), runs the topic's checks, appends. See
  /// log::PartitionLog::append().
  virtual io::Task<Result<log::AppendResult>> append(OwnedBytes batches, log::Ack ack) = 0;
  virtual io::Task<Result<log::ReadResult>> read(
      Offset from, size_t bytes_max, log::Isolation isolation = log::Isolation::kUncommitted) = 0;
  /// As read(), but may name a range of a file instead of reading it. See
  /// log::PartitionLog::fetch().
  virtual io::Task<Result<log::ReadResult>> fetch(
      Offset from, size_t bytes_max, log::Isolation isolation = log::Isolation::kUncommitted) {
    return read(from, bytes_max, isolation);
  }
  virtual io::Task<Result<log::AppendResult>> append_marker(log::TransactionMarker marker) = 0;
  /// What the partition knows of idempotent and transactional producers.
  virtual io::Task<Result<std::vector<log::ProducerEntry>>> producers() = 0;
  /// Continues when the high watermark (for kCommitted: the last stable offset) is past `offset`
  /// (true), or at `deadline` or close (false).
  virtual io::Task<bool> wait_past(Offset offset, std::chrono::steady_clock::time_point deadline,
                                   log::Isolation isolation = log::Isolation::kUncommitted) = 0;
  virtual io::Task<Result<log::TimeOffset>> offset_for_time(TimestampMs timestamp) = 0;
  virtual io::Task<Result<log::TimeOffset>> max_timestamp() = 0;
  virtual io::Task<Result<>> delete_records(Offset offset) = 0;
  virtual io::Task<Result<>> truncate_to(Offset offset) = 0;
  virtual io::Task<Result<>> hold(std::string who, std::optional<Offset> from) = 0;

  /// Calls `f` on the partition's shard whenever the high watermark or the last stable offset has
  /// moved (several moves may be one call; never after the partition is closed); `f` must not
  /// block, and finds the new mark by high_watermark(). `who` names the listener: one `f` each,
  /// null removes it. Any thread: takes effect when the shard gets to it, and a listener that is
  /// added is called once at once.
  virtual void on_advance(std::string who, std::function<void()> f) = 0;
  /// Whether it serves no more: its topic was dropped, or the node stops. Any thread.
  virtual bool closed() const { return false; }
  /// What the topic's records go through on their way to consumers; null: nothing, as with most
  /// topics. read() and fetch() give records as they are. Any thread.
  virtual std::shared_ptr<const TopicTransforms> fetch_transforms() const { return nullptr; }

  /// Read without crossing: as of the last append or retention that this thread has seen.
  virtual Offset start_offset() const = 0;
  virtual Offset high_watermark() const = 0;
  virtual Offset last_stable_offset() const = 0;
  virtual uint64_t size_bytes() const = 0;
};

/// A topic and its open partitions. Immutable but for the partitions' contents; kept alive by
/// whoever uses it.
struct Topic {
  catalog::Object object;
  std::vector<std::shared_ptr<Partition>> partitions;
};

/// Sees bytes before they are appended; `app` fills it with sql's decoder. Called on the
/// partition's shard; must not block longer than a batch takes to decode.
class ProduceCheck {
 public:
  virtual ~ProduceCheck() = default;
  /// Errors: kInvalidRecord with the record's index and the reason.
  virtual Result<> check(const catalog::Object& topic, std::string_view batches) = 0;
};

/// One thing that topics, or groups, may be configured with.
struct ConfigOption {
  std::string_view name;
  std::string_view default_value;
  std::string_view type;  // BOOLEAN, STRING, INT, LONG, DOUBLE, LIST, as DescribeConfigs says it
  std::string_view doc;
};
/// Those of topics: Kafka's names and ours.
const std::vector<ConfigOption>& topic_options();
/// Checks names and values. Errors: kInvalidConfig naming the option, its value and what is
/// allowed.
Result<log::LogConfig> to_log_config(const std::map<std::string, std::string>& options);
/// Every option with the value in force for `object`: its own, else the default of its kind (tables
/// and changelogs are compacted; a topic without columns is raw), else the default.
std::map<std::string, std::string> effective_options(const catalog::Object& object);
/// Whether Kafka allows `name` for a topic: 1 to 249 of [a-zA-Z0-9._-], not "." or "..". Errors:
/// kInvalidName.
Result<> check_topic_name(std::string_view name);

/// Topics and what goes through them. Objects are declared in the catalog; the broker opens and
/// serves their partitions. Every catalog object that has a log has it as a topic: topics; tables
/// (topic of the same name); materialized views (their changelog, topic of the same name). All
/// calls: any shard.
class Broker {
 public:
  struct Options {
    std::string path;  // DIR/log: partition p of topic t is the folder t-p
    int32_t partitions_default = 1;
    bool auto_create_topics = true;
    std::chrono::milliseconds cleanup_interval{15'000};  // of retention and of compaction
  };
  /// Opens the partitions of everything in the catalog. Errors: kIo.
  static io::Task<Result<std::unique_ptr<Broker>>> open(io::Runtime& runtime, io::Env& env,
                                                        catalog::Catalog& catalog, Options options);
  virtual ~Broker() = default;

  /// Null when there is none. Names are compared exactly, as in Kafka: a name from SQL goes through
  /// Snapshot::find() first. Any thread; a snapshot that stays valid.
  virtual std::shared_ptr<const Topic> find(std::string_view name) const = 0;
  virtual std::shared_ptr<const Topic> find(const Uuid& id) const = 0;
  virtual std::vector<std::shared_ptr<const Topic>> list() const = 0;

  /// Declares `object` in the catalog (any kind with a log) and opens its partitions. With
  /// `replace`, see Catalog::put: the log is kept for topics and tables (columns and options
  /// change, partitions can be added), and begun anew for materialized views. `validate_only`
  /// checks and changes nothing. Errors: kDuplicateObject, kInvalidName (Kafka's rules),
  /// kInvalidPartitions, kInvalidConfig.
  virtual io::Task<Result<std::shared_ptr<const Topic>>> create(catalog::Object object,
                                                                bool replace,
                                                                bool validate_only) = 0;
  /// Drops the object and its log. Errors: kUndefinedObject, kDependentObjects.
  virtual io::Task<Result<>> drop(std::string name) = 0;

  /// An id that no producer had before, durable (InitProducerId).
  virtual io::Task<Result<int64_t>> next_producer_id() = 0;

  virtual const Options& options() const = 0;
  /// Where a check for topics with on_error='reject' comes from; set once before traffic.
  virtual void set_produce_check(ProduceCheck* check) = 0;
  /// Who runs the transforms of topics; set once before traffic. Null: topics that have some
  /// refuse.
  virtual void set_transforms(Transforms*) {}
  virtual Transforms* transforms() const { return nullptr; }

  /// Stops background work, flushes and closes every partition. Appends and reads fail with
  /// kShuttingDown from now on.
  virtual io::Task<Result<>> close() = 0;
};

}  // namespace millrace::broker
