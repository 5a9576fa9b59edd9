#pragma once

#include <string>
#include <utility>

#include "base/metrics.h"
#include "flow/detail/view.h"

namespace millrace::flow {

/// A view's metrics; they go with it.
struct View::Instruments {
  Instruments(Metrics& metrics, const std::string& view)
      : metrics(metrics),
        labels{{"view", view}},
        epochs(metrics.counter("millrace_flow_epochs_total", "Epochs computed", labels)),
        rows_in(metrics.counter("millrace_flow_rows_in_total", "Rows taken from inputs", labels)),
        rows_out(metrics.counter("millrace_flow_rows_out_total", "Rows put out", labels)),
        rows(metrics.gauge("millrace_flow_rows", "Distinct rows of the view", labels)),
        state_bytes(metrics.gauge("millrace_flow_state_bytes",
                                  "Memory of the operators' state and the rows", labels)),
        failed_rows(metrics.counter("millrace_flow_failed_rows_total",
                                    "Rows left out because an expression failed", labels)),
        late_rows(metrics.gauge("millrace_flow_late_rows",
                                "Rows that came after their window had closed", labels)),
        snapshots(metrics.counter("millrace_flow_snapshots_total", "Snapshots written", labels)),
        snapshot_bytes(metrics.gauge("millrace_flow_snapshot_bytes",
                                     "Size of the last snapshot's file", labels)),
        snapshot_pause(metrics.gauge("millrace_flow_snapshot_pause_seconds",
                                     "How long the last snapshot stopped the view", labels)),
        spilled_bytes(metrics.gauge("millrace_flow_spilled_bytes",
                                    "Of the state, what is in a file", labels)),
        full(metrics.gauge("millrace_flow_full", "1 while the view waits for memory", labels)),
        failed(metrics.gauge("millrace_flow_failed", "1 when the view has stopped", labels)) {
    full.set(0);
    failed.set(0);
  }
  ~Instruments() { retire(); }
  /// Takes them off the node's metrics: another view of the same name may have its own from now on.
  void retire() {
    if (std::exchange(retired, true)) return;
    for (const char* name :
         {"millrace_flow_epochs_total", "millrace_flow_rows_in_total",
          "millrace_flow_rows_out_total", "millrace_flow_rows", "millrace_flow_state_bytes",
          "millrace_flow_late_rows", "millrace_flow_snapshots_total",
          "millrace_flow_snapshot_bytes", "millrace_flow_snapshot_pause_seconds",
          "millrace_flow_spilled_bytes", "millrace_flow_full", "millrace_flow_failed",
          "millrace_flow_failed_rows_total"})
      metrics.remove(name, labels);
  }

  Metrics& metrics;
  bool retired = false;
  Metrics::Labels labels;
  Metrics::Counter& epochs;
  Metrics::Counter& rows_in;
  Metrics::Counter& rows_out;
  Metrics::Gauge& rows;
  Metrics::Gauge& state_bytes;
  Metrics::Counter& failed_rows;
  Metrics::Gauge& late_rows;
  Metrics::Counter& snapshots;
  Metrics::Gauge& snapshot_bytes;
  Metrics::Gauge& snapshot_pause;
  Metrics::Gauge& spilled_bytes;
  Metrics::Gauge& full;
  Metrics::Gauge& failed;
};

}  // namespace millrace::flow
