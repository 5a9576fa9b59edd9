#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "log/detail/key_map.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

/// The thinking of a compaction, without I/O and without a shard: first it is shown the batches
/// that came since the last time (note), then all of them, to make them again without what is
/// needless (clean). Source: Kafka's LogCleaner, KIP-98, KIP-534.
class Cleaner {
 public:
  /// The offsets of one transaction that was aborted in the log.
  struct Aborted {
    int64_t producer_id = -1;
    Offset first = 0;
    Offset last = 0;  // its marker
  };
  /// What must stay of a producer, so that its next batch can be told from a gap.
  struct LastBatch {
    Offset data_offset = -1;  // of its last record; -1: only markers
    int16_t epoch = -1;
  };
  struct Task {
    Offset first_dirty = 0;
    Offset end = 0;  // nothing at or past it is looked at
    TimestampMs now = 0;
    int64_t delete_retention_ms = 0;
    uint64_t seed = 0;
    size_t keys_max = 0;
    std::vector<Aborted> aborted;
    std::unordered_map<int64_t, LastBatch> producers;
  };
  explicit Cleaner(Task task);

  /// First all batches from `first_dirty` on. False when the memory for keys is full: then clean as
  /// far as reach(). Errors: kCorruptRecord.
  Result<bool> note(std::string_view batches);
  /// One past the last offset that was noted.
  Offset reach() const { return reach_; }

  /// Whether nothing of what was noted can replace or end anything: then all stays as it is.
  bool is_needless() const { return keys_.size() == 0 && !ends_something_; }

  /// Then all batches from the log's start, in order: appends what stays to `out`.
  Result<> clean(std::string_view batches, std::string& out);
  /// Whether anything given to clean() since the last call came out otherwise.
  /// Whether the marker at `offset` ends a transaction of which nothing was left before.
  bool is_idle_marker(Offset offset) const { return idle_markers_.contains(offset); }
  bool take_changed() { return std::exchange(changed_, false); }

 private:
  bool is_aborted(const BatchHeader& header) const;
  bool is_last_of_producer(const BatchHeader& header) const;
  Result<> note_batch(std::string_view batch);
  Result<> clean_batch(const BatchHeader& header, std::string_view batch, std::string& out);
  Result<> clean_records(const BatchHeader& header, std::string_view batch, bool set_horizon,
                         std::string& out);
  bool stays(Offset offset, std::optional<std::string_view> key, bool has_value,
             bool deletes_stay) const;
  void keep_head(const BatchHeader& header, std::string_view batch, std::string& out);

  const Task task_;
  std::unordered_map<int64_t, std::vector<Aborted>> aborted_;  // by producer, in order
  KeyMap keys_;
  Offset reach_;
  bool ends_something_ = false;  // transactions
  /// Producers with records of a transaction in front of its marker: the marker stays with them.
  std::unordered_set<int64_t> seen_;
  std::unordered_set<Offset> idle_markers_;
  bool changed_ = false;
};

}  // namespace millrace::log::detail
