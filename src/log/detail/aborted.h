#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/io/env.h"
#include "log/partition_log.h"

namespace millrace::log::detail {

inline constexpr std::string_view kAbortedSuffix = ".txnindex";

/// The aborted transactions whose markers stand in one segment, in the order of their markers: what
/// a reader of committed records must pass over. Beside a sealed segment it is a file, durable
/// before the next segment begins, and in memory only while it is used; a segment without such a
/// file has none. Source: Kafka's .txnindex.
class AbortedIndex {
 public:
  struct Entry {
    int64_t producer_id = -1;
    Offset first_offset = -1;
    Offset last_offset = -1;  // of its marker
    /// Every transaction that begins before this offset has ended by now: later entries cannot
    /// touch what is before it.
    Offset stable_offset = -1;
    bool operator==(const Entry&) const = default;
  };

  const std::vector<Entry>& entries() const { return entries_; }
  /// False: the file has them, and must be read first.
  bool loaded() const { return loaded_; }
  void note(const Entry& entry);
  /// Forgets those whose markers are at or past `offset`.
  void cut(Offset offset);
  /// A file has the entries.
  void set_on_disk();
  /// Forgets everything, a file too.
  void clear();
  /// Leaves the entries to the file, if there is one.
  void unload();

  /// Makes the file tell the entries, durably: none when there are no entries.
  io::Task<Result<>> save(io::FileSystem& files, std::string path);
  /// Errors: kCorruptRecord, kIo.
  io::Task<Result<>> load(io::FileSystem& files, std::string path);
  /// The entries as they were made anew, when the file is damaged.
  void set(std::vector<Entry> entries);

 private:
  std::vector<Entry> entries_;
  bool loaded_ = true;
  bool on_disk_ = false;
};

}  // namespace millrace::log::detail
