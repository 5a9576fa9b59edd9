#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/detail/share_partition.h"
#include "log/partition_log.h"

namespace millrace::broker::detail {

/// The milliseconds since the epoch that a `deliver_at` header says: decimal, or RFC 3339
/// ("2026-11-21T09:00:00Z", with an offset and up to nine digits of a second's fraction, too);
/// nullopt when it says nothing.
std::optional<TimestampMs> parse_deliver_at(std::string_view text);

/// Milliseconds of an ISO 8601 duration ("P1DT2H", "PT30M", "PT0.5S"); nullopt when it is none.
std::optional<int64_t> parse_duration(std::string_view text);

/// What was read, as spans from `from` on: one a batch, and one for each hole between them. With
/// `committed`, records of aborted transactions are passed over; with `delayed`, records are looked
/// into for their `deliver_at` header, which costs a decompression. Errors: kCorruptRecord.
Result<std::vector<ShareSpan>> share_spans(const log::ReadResult& read, Offset from, bool committed,
                                           bool delayed);

/// The bytes of the spans that were taken from.
std::string taken_batches(std::string batches, const std::vector<ShareSpan>& spans);

}  // namespace millrace::broker::detail
