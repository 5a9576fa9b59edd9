#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/detail/pipeline_state.h"
#include "wasm/chain.h"

namespace millrace::broker::detail {

/// The header in which a guest names the topic that a record goes to, where a pipeline has several;
/// and the one that says which topic a record is of. Both are taken away from what is written.
inline constexpr std::string_view kOutputHeader = "millrace.output";
inline constexpr std::string_view kInputHeader = "millrace.input";
inline bool is_hosts_header(std::string_view key) {
  return key == kOutputHeader || key == kInputHeader;
}

/// A topic that a pipeline writes.
struct PipelineOutput {
  std::string topic;
  size_t partitions = 1;
  size_t batch_bytes_max = 0;
  bool keys_required = false;  // it is compacted
};

/// What a pipeline's batches are made under. Immutable.
struct PipelineTerms {
  std::vector<std::string> inputs;
  std::vector<PipelineOutput> outputs;
  std::vector<std::string> steps;  // "redact.mask"
  catalog::Transform::OnError on_error = catalog::Transform::OnError::kReject;
  bool stateful = false;  // one of the steps is an aggregate
  int32_t partition = 0;  // of the inputs
};

/// What was read of one input: committed batches, of which those from `from` on are new.
struct PipelineInput {
  size_t input = 0;
  Offset from = 0;
  Offset next = 0;  // where to go on behind them
  std::string batches;
  size_t inflated_bytes_max = 0;
};

/// What a pipeline's batch gives.
struct PipelineResult {
  /// By output and partition: batches.
  std::map<std::pair<size_t, size_t>, std::string> outputs;
  std::map<size_t, std::string> letters;  // by input
  uint64_t records_in = 0, records_out = 0, record_errors = 0;
  /// Why nothing of it may be committed. kGuestFailed: ON ERROR reject, or a paused module.
  std::optional<Error> error;
};

/// Sends `inputs` through `chain`, on this thread, which must not be a shard's; `state` gets what
/// the aggregate changes. A call that fails as a whole is repeated with halves of its records, so
/// that one record is lost with it and no other.
PipelineResult run_pipeline(wasm::Chain& chain, const PipelineTerms& terms, PipelineState& state,
                            TimestampMs now, const std::vector<PipelineInput>& inputs);

}  // namespace millrace::broker::detail
