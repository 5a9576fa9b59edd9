#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::flow {

/// One operator of a view's dataflow and what it has done since the view was started. Numbers run
/// from the view's own operator, 0, to its inputs, as EXPLAIN shows them.
struct OperatorStatus {
  std::optional<size_t> parent;  // none: it is the view's own; of several, the first
  std::string description;
  uint64_t rows_in = 0;
  uint64_t rows_out = 0;
  uint64_t state_rows = 0;
  uint64_t state_bytes = 0;
  uint64_t late_rows = 0;
  int64_t busy_us = 0;                  // time in its step
  std::optional<int64_t> watermark_us;  // what it promises of a column, microseconds since 1970
};

/// A materialized view, or what a sink's query is kept by.
struct ViewStatus {
  std::string name;  // as the user calls it
  std::string kind;
  std::string state;      // recovering, backfilling, live, replacing, paused, full, failed
  double progress = 100;  // of the records that its inputs hold, those taken in, in percent
  int64_t lag = 0;        // records
  uint64_t rows = 0;
  uint64_t late_rows = 0;                 // that came after their window had closed
  int64_t late_seen_ms = 0;               // the clock of the last epoch that had some
  std::optional<std::string> late_topic;  // where they are kept
  uint64_t state_bytes = 0;               // of the operators and of the rows
  uint64_t epoch = 0;
  std::optional<int64_t> watermark_us;
  std::string error;  // why it has failed; else empty
  std::vector<OperatorStatus> operators;
};

}  // namespace millrace::flow
