#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "connect/connectors.h"
#include "connect/detail/connector_metrics.h"
#include "connect/detail/feed.h"
#include "connect/detail/kinds.h"
#include "connect/detail/progress.h"

namespace millrace::connect {

/// One connector on its thread: runs it, and again when a run fails, after a pause that doubles
/// until something was kept. Any thread that is no shard's.
class Connector {
 public:
  /// Starts it, unless it is paused. Without a recipe it has failed: it says why, and only keeps
  /// its place.
  Connector(const Connectors::Rooms& rooms, catalog::Object object, Result<Recipe> recipe);
  ~Connector();  // end()s
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  /// Tells it to stop, and does not wait.
  void stop() { progress_->stop(); }
  /// Stops it, and waits until it has. Once.
  void end();
  const catalog::Object& object() const { return object_; }
  ConnectorStatus status() const;
  /// Brings its metrics up to date.
  void report() { metrics_.report(status()); }
  /// It was dropped. After end().
  void forget_metrics() { metrics_.forget(); }
  /// Of a source that others feed; see Feed. Errors: kNotSupported (it reads by itself),
  /// kThrottled (it is paused), those of its definition.
  Result<uint64_t> feed(std::string_view body);
  /// Null counts: it has no transforms.
  std::optional<broker::TransformCounts> counts() const;

 private:
  void main();
  Result<> run_once();
  void failed(const Error& error, uint64_t in_a_row);
  void set_state(const char* state);

  const Connectors::Rooms& rooms_;
  const catalog::Object object_;
  const Result<Recipe> recipe_;
  ConnectorMetrics metrics_;
  const std::shared_ptr<Progress> progress_ = std::make_shared<Progress>();  // listeners keep it
  std::unique_ptr<Feed> feed_;  // of a source that others feed; it has no thread
  mutable std::mutex mutex_;
  ConnectorStatus status_;
  std::jthread thread_;  // the last: it uses what stands above
};

}  // namespace millrace::connect
