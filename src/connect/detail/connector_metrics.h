#pragma once

#include <mutex>

#include "base/metrics.h"
#include "connect/connectors.h"

namespace millrace::connect {

/// What a connector tells Prometheus. Its counters go on when it is replaced. Any thread.
class ConnectorMetrics {
 public:
  ConnectorMetrics(Metrics& metrics, const catalog::Object& object);
  /// Adds what has come since the last one.
  void report(const ConnectorStatus& status);
  /// The connector was dropped: nothing is told of it any more.
  void forget();

 private:
  void count(const char* name, const char* help, uint64_t& before, uint64_t now);
  Metrics::Labels labels_of(const char* state) const;

  Metrics& metrics_;
  const Metrics::Labels labels_;
  std::mutex mutex_;
  bool forgotten_ = false;
  uint64_t records_ = 0, bytes_ = 0, errors_ = 0, restarts_ = 0;  // that were reported
};

}  // namespace millrace::connect
