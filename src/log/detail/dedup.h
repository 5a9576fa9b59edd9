#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "log/partition_log.h"

namespace millrace::log::detail {

struct RecordSlice;

/// What was appended of late, by key or header: 128 bits of hash each, oldest first, at most
/// `count` and none older than `age_ms`. What is on its way counts too, and is forgotten when it
/// does not arrive.
class DedupWindow {
 public:
  struct Id {
    uint64_t low = 0;
    uint64_t high = 0;
    bool operator==(const Id&) const = default;
  };
  using Ids = std::vector<Id>;

  DedupWindow(uint64_t seed, DedupConfig config) : seed_(seed), config_(std::move(config)) {}
  const DedupConfig& config() const { return config_; }

  /// Leaves out of `batches` what was appended before; `added` gets what is now on its way, for
  /// settle(). False, and nothing is changed, when the outcome of an earlier append must be known
  /// first. Records of transactions pass: whether they count is not known yet. Errors:
  /// kCorruptRecord, kRecordTooLarge.
  Result<bool> filter(std::string& batches, TimestampMs now, size_t inflated_max, Ids& added);
  /// The append of `added` succeeded, or did not.
  void settle(const Ids& added, bool appended);

  /// The records of `batches`, that stand in the log, as ids with their batch's time.
  struct Old {
    Id id;
    TimestampMs time = 0;
  };
  Result<> collect(std::string_view batches, std::vector<Old>& out) const;
  /// Takes what was appended before this window was made, oldest first.
  void recall(const std::vector<Old>& old, TimestampMs now);

 private:
  struct Entry {
    TimestampMs time = 0;
    uint64_t serial = 0;
    bool pending = false;
  };
  struct Hash {
    size_t operator()(const Id& id) const { return id.low; }
  };
  /// nullopt: the record is never a duplicate.
  std::optional<Id> id_of(const RecordSlice& record) const;
  void add(const Id& id, TimestampMs now, bool pending);
  void expire(TimestampMs now);

  const uint64_t seed_;
  const DedupConfig config_;
  std::unordered_map<Id, Entry, Hash> seen_;
  std::deque<std::pair<Id, uint64_t>> order_;  // with the entry's serial: it may have gone since
  std::deque<TimestampMs> times_;              // of order_
  uint64_t next_serial_ = 0;
};

}  // namespace millrace::log::detail
