#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "connect/connectors.h"
#include "connect/detail/guests.h"
#include "connect/detail/progress.h"
#include "connect/detail/sink.h"
#include "log/remake.h"

namespace millrace::connect {

/// One run of a sink: committed records of its topic, in each partition's order, through the
/// transforms to the other system; when that has them, the position is committed as the offsets of
/// a group. On the connector's thread.
class SinkRun {
 public:
  SinkRun(const Connectors::Rooms& rooms, const catalog::Object& object,
          std::shared_ptr<Progress> progress, std::unique_ptr<Sink> sink, bool from_latest);
  ~SinkRun();
  SinkRun(const SinkRun&) = delete;
  SinkRun& operator=(const SinkRun&) = delete;
  /// Until the connector is to stop, or something fails.
  Result<> run();

  /// "millrace.sink.NAME"
  static std::string group_of(const catalog::Object& object);
  /// Commits its offsets again, so that they do not expire.
  static void renew(const Connectors::Rooms& rooms, const catalog::Object& object);
  static Result<> forget(const Connectors::Rooms& rooms, const catalog::Object& object);

 private:
  /// What one round has read; `records` views the rest.
  struct Round {
    Records records;
    std::deque<std::string> batches;
    std::deque<log::BatchContents> contents;
    std::deque<std::vector<wasm::HeaderView>> headers;
    SinkPosition next;
  };

  Result<> begin();
  void listen();
  Result<> read(Round& round);
  Result<> read_partition(int32_t partition, size_t bytes_max, Round& round);
  static void add(const log::RecordView& record, int32_t partition, Round& round);
  Result<> write(const Round& round);
  Result<> write_letters(const Round& round, const Shaped& shaped);
  Result<> commit();
  uint64_t lag() const;

  const Connectors::Rooms& rooms_;
  const catalog::Object& object_;
  const std::shared_ptr<Progress> progress_;
  std::unique_ptr<Sink> sink_;
  const bool from_latest_;
  Guests guests_;
  io::Shard& shard_;
  std::shared_ptr<const broker::Topic> topic_;
  SinkPosition position_;
  int32_t turn_ = 0;  // whose partition is read first
};

}  // namespace millrace::connect
