#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "flow/detail/lanes.h"
#include "flow/detail/sink_writer.h"

namespace millrace::flow {

/// Writes what the changelog of a sink's query holds to the sink's topic, each change once: the
/// records follow from the changelog alone, and each says which it is, so after a crash the topic's
/// last record says where to go on. Lanes run it; error() is for any thread.
class Sink : public Job {
 public:
  /// Makes the topic when there is none. Errors: Broker::create()'s.
  static Result<std::shared_ptr<Sink>> make(broker::Broker& broker, const catalog::Object& view,
                                            std::shared_ptr<broker::Partition> changelog);
  std::optional<Clock::time_point> run() override;
  /// No lane may run it any more. `release`: its holds go too.
  void close(bool release);

  broker::Partition& changelog() const { return *changelog_; }
  /// Why it has stopped.
  std::optional<Error> error() const;

 private:
  Sink(SinkWriter writer, std::string name, std::shared_ptr<broker::Partition> changelog,
       std::shared_ptr<broker::Partition> topic);
  Result<> recover();
  Result<bool> advance();
  Result<> end_epoch(TimestampMs clock, std::string& out);
  Result<> hold(broker::Partition& log, std::optional<Offset> from);

  const SinkWriter writer_;
  const std::string name_;
  const std::shared_ptr<broker::Partition> changelog_;
  const std::shared_ptr<broker::Partition> topic_;

  bool recovered_ = false;
  Offset epoch_at_ = 0;  // where the epoch begins whose rows are being gathered
  size_t written_ = 0;   // records of that epoch that the topic holds already
  Offset read_at_ = 0;
  std::vector<SinkWriter::Row> rows_;  // of that epoch

  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace millrace::flow
