#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "log/partition_log.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

/// The control batch that holds `marker`. Source: Kafka's EndTransactionMarker and
/// ControlRecordType.
std::string marker_batch(const TransactionMarker& marker, TimestampMs now);

/// The marker in the control batch `batch`; nothing when it holds another control record, or none
/// (any more: compaction leaves empty batches).
std::optional<TransactionMarker> parse_marker(const BatchHeader& header, std::string_view batch);

}  // namespace millrace::log::detail
