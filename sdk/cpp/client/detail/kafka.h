#pragma once

#include <librdkafka/rdkafka.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/frees.h"
#include "millrace/client.h"
#include "wasm/records.h"

namespace millrace::client::detail {

using Properties = std::map<std::string, std::string>;

using Handle = std::unique_ptr<rd_kafka_t, Frees<rd_kafka_destroy>>;

/// A librdkafka producer that remembers what was not delivered. One thread at a time.
class Sender {
 public:
  /// `quiet`: its properties are another client's, and it says nothing of those it does not need.
  /// Errors: kInvalidConfig.
  static Result<std::unique_ptr<Sender>> open(const Properties& properties, bool quiet = false);

  /// Copies the record; waits while librdkafka's queue is full. Errors: kConnectionClosed,
  /// kRecordTooLarge.
  Result<> put(const std::string& topic, int32_t partition, const wasm::RecordView& record);
  /// Errors: as of Producer::flush().
  Result<> flush(std::chrono::milliseconds timeout);
  /// Hears of what was delivered, without waiting.
  void poll() { rd_kafka_poll(handle_.get(), 0); }

 private:
  static void delivered(rd_kafka_t* client, const rd_kafka_message_t* message, void* opaque);

  uint64_t lost_ = 0;  // since the last flush()
  std::string why_;
  Handle handle_;
};

/// Records that failed, in TOPIC.dead_letter, as a node writes them there: before a record's own
/// headers stand reason, topic, partition, offset and timestamp. The producer is made for the
/// first.
class Letters {
 public:
  explicit Letters(Properties properties) : properties_(std::move(properties)) {}

  /// `record` was to go to, or came from, `topic` and `partition`.
  Result<> put(const std::string& topic, int32_t partition, const wasm::RecordView& record,
               std::string_view why);
  /// Waits until those that were put are acknowledged. Errors: kConnectionClosed.
  Result<> flush();

 private:
  Properties properties_;
  std::unique_ptr<Sender> sender_;  // null: nothing was put yet
};

/// A librdkafka consumer that gives batches, and stores their offsets when it is told to. One
/// thread at a time.
class Receiver {
 public:
  static Result<std::unique_ptr<Receiver>> open(const Properties& properties,
                                                const std::vector<std::string>& topics);
  ~Receiver();

  /// The batch that is held: the same until done(), a new one after. Errors: what librdkafka says.
  Result<const std::vector<Record>*> batch(std::chrono::milliseconds timeout, size_t records_max);
  /// The batch was given to the application; its offsets are stored by store().
  void done();
  void store();
  Result<> commit();

 private:
  Receiver() = default;

  std::vector<Record> held_;
  std::map<std::pair<std::string, int32_t>, int64_t> given_;  // where to go on, not stored yet
  std::optional<Error> next_error_;                           // came after records
  Handle handle_;
};

}  // namespace millrace::client::detail
