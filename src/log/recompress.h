#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "log/partition_log.h"

namespace millrace::log {

/// What a topic asks of the inside of a batch before it is appended.
struct IntakeRules {
  bool keys_required = false;              // a compacted topic
  std::optional<Compression> compression;  // nullopt: as the producer sent them
  int level = 0;                           // of `compression`; 0: its default
  size_t batch_bytes_max = 0;              // before it is remade, as Kafka
  size_t inflated_bytes_max = 0;           // of what one batch may decompress to

  /// Whether there is anything to do.
  bool any() const { return keys_required || compression; }
  bool operator==(const IntakeRules&) const = default;
};
IntakeRules intake_rules(const LogConfig& config, bool keys_required);

/// Looks into `batches` (which validate_batches() has passed), and makes those anew that are of
/// another codec than the topic's; producers, sequences and offsets stay. Pure CPU work: some
/// 100 MB/s. Errors: kInvalidRecord for a record without a key, kRecordTooLarge, kCorruptRecord.
/// Source: Kafka's LogValidator.
Result<std::string> take_in(std::string batches, const IntakeRules& rules);

}  // namespace millrace::log
