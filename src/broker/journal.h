#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker {

/// The durable state of a coordinator (groups, transactions, share groups, quotas): a map from key
/// to value that is kept in memory by its owner, and here as the records of one compacted internal
/// topic. The topic is made by the first write, so that a node without groups has no topic for
/// them. Any shard.
class Journal {
 public:
  struct Entry {
    std::string key;
    std::optional<std::string> value;  // nullopt: the key is gone (a tombstone)
  };

  /// `topic` is the internal topic's name, e.g. "__consumer_offsets".
  static std::unique_ptr<Journal> make(io::Env& env, Broker& broker, std::string topic);
  virtual ~Journal() = default;

  /// Gives every record in order; later ones of a key replace earlier ones. Before the first
  /// write. Errors: kIo, kCorruptRecord.
  virtual io::Task<Result<>> load(
      std::function<void(std::string_view key, std::optional<std::string_view> value)> each) = 0;

  /// Appends `entries` as one batch: all of them are durable when it answers, or none is. Writes
  /// made at the same time share an fsync, and are kept in the order of the calls. Errors: those of
  /// Partition::append().
  virtual io::Task<Result<>> put(std::vector<Entry> entries) = 0;
};

/// Where sources keep how far they have read, each position in one transaction with its records.
inline constexpr std::string_view kSourcePositionsTopic = "__source_positions";

/// Whether `topic` is one of ours that clients may read and not write, and that Metadata marks as
/// internal.
bool is_internal_topic(std::string_view topic);

}  // namespace millrace::broker
