#pragma once

#include <map>
#include <string>
#include <vector>

#include "broker/groups.h"
#include "broker/journal.h"

namespace millrace::broker::detail {

/// An offset as it is kept. The topic's id tells the offsets of a topic that was dropped from those
/// of another that has its name now.
struct KeptOffset {
  CommittedOffset committed;
  Uuid topic_id;
  uint64_t order = 0;  // of the write that made it: the journal's order
};

/// The committed offsets of one group, and those that open transactions have staged. Memory alone;
/// the registry writes the journal first.
struct GroupOffsets {
  using Map = std::map<TopicPartition, KeptOffset>;
  struct Staged {
    int16_t producer_epoch = -1;
    Map offsets;
  };
  Map committed;
  std::map<int64_t, Staged> staged;  // by producer id

  bool is_pending(const TopicPartition& at) const;
  bool empty() const { return committed.empty() && staged.empty(); }
};

// ---- how offsets stand in the journal: docs/kafka.md, "What is kept"

std::string offset_key(std::string_view group, const TopicPartition& at);
std::string staged_key(int64_t producer_id, std::string_view group, const TopicPartition& at);
std::string group_key(std::string_view group);
std::string offset_value(const KeptOffset& offset);
std::string staged_value(const KeptOffset& offset, int16_t producer_epoch);

/// A key of the journal, read.
struct JournalKey {
  enum class Kind { kOffset, kStaged, kGroup, kOther } kind = Kind::kOther;
  std::string group;
  TopicPartition at;
  int64_t producer_id = -1;
};
/// Keys that others write (an array whose first element is another word) are kOther. Errors:
/// kCorruptRecord.
Result<JournalKey> read_journal_key(std::string_view key);
/// The value of an offset, staged or committed; `producer_epoch` may be null. Errors:
/// kCorruptRecord.
Result<KeptOffset> read_offset_value(std::string_view value, int16_t* producer_epoch);

}  // namespace millrace::broker::detail
