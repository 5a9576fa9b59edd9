#include "connect/detail/connector_metrics.h"

namespace millrace::connect {

namespace {

constexpr const char* kRecords = "millrace_connect_records_total";
constexpr const char* kBytes = "millrace_connect_bytes_total";
constexpr const char* kErrors = "millrace_connect_errors_total";
constexpr const char* kRestarts = "millrace_connect_restarts_total";
constexpr const char* kLag = "millrace_connect_lag_records";
constexpr const char* kState = "millrace_connect_state";
constexpr const char* kStates[] = {"starting", "running", "waiting", "paused", "failed"};

}  // namespace

ConnectorMetrics::ConnectorMetrics(Metrics& metrics, const catalog::Object& object)
    : metrics_(metrics),
      labels_({{"connector", object.name}, {"kind", std::string(catalog::name_of(object.kind))}}) {}

void ConnectorMetrics::report(const ConnectorStatus& status) {
  std::lock_guard lock(mutex_);
  if (forgotten_) return;
  count(kRecords, "Records that a source has kept, or a sink's system acknowledged.", records_,
        status.records);
  count(kBytes, "Bytes of their keys and values.", bytes_, status.bytes);
  count(kErrors, "Runs of a connector that failed.", errors_, status.errors);
  count(kRestarts, "Runs of a connector after the first.", restarts_, status.restarts);
  if (status.lag) {
    metrics_.gauge(kLag, "Records that a connector has still to read.", labels_)
        .set(static_cast<double>(*status.lag));
  }
  for (const char* state : kStates) {
    metrics_.gauge(kState, "1 for the state that a connector is in.", labels_of(state))
        .set(status.state == state ? 1 : 0);
  }
}

void ConnectorMetrics::forget() {
  std::lock_guard lock(mutex_);
  forgotten_ = true;
  for (const char* name : {kRecords, kBytes, kErrors, kRestarts, kLag}) {
    metrics_.remove(name, labels_);
  }
  for (const char* state : kStates) metrics_.remove(kState, labels_of(state));
}

void ConnectorMetrics::count(const char* name, const char* help, uint64_t& before, uint64_t now) {
  metrics_.counter(name, help, labels_).add(static_cast<double>(now - before));
  before = now;
}

Metrics::Labels ConnectorMetrics::labels_of(const char* state) const {
  auto labels = labels_;
  labels["state"] = state;
  return labels;
}

}  // namespace millrace::connect
