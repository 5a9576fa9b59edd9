#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "catalog/catalog.h"
#include "wasm/chain.h"

namespace millrace::broker::detail {

/// What one chain of transforms is for, beside the guests that it runs.
struct ChainTerms {
  std::string topic;
  std::vector<std::string> names;                     // by step: "redact.mask"
  std::vector<catalog::Transform::OnError> on_error;  // by step
  bool filters_only = false;                          // what comes out is as it went in
  bool has_offsets = false;                           // at fetch; at produce there are none yet
  bool keys_required = false;                         // produce to a compacted topic
  size_t inflated_bytes_max = 0;                      // of one batch
};

/// What came out of record batches.
struct TransformedBatches {
  std::string batches;               // up to the one that was rejected
  std::optional<Error> error;        // why it was; kGuestFailed
  std::vector<std::string> letters;  // batches of dead letters
  uint64_t lost = 0;                 // records that failed, each of them
};

/// Sends record batches through `chain`, on this thread, which must not be a shard's. Control
/// batches pass as they are; a batch of which no record stays is a head alone, so that its offsets
/// and its producer's sequences are accounted for. Errors, beside those of records: kCorruptRecord,
/// kRecordTooLarge.
Result<TransformedBatches> transform_batches(wasm::Chain& chain, const ChainTerms& terms,
                                             int32_t partition, TimestampMs now,
                                             std::string_view batches);

}  // namespace millrace::broker::detail
