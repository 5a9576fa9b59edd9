#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/io/env.h"
#include "log/detail/aborted.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

/// The name of a partition's file: 20 digits, then `suffix`.
std::string file_name(const std::string& folder, Offset base, std::string_view suffix);
/// A file of ours that can be made anew when it is lost: its bytes, then their CRC32C; not synced.
io::Task<Result<>> write_checked(io::FileSystem& files, std::string path, std::string bytes);
/// The bytes that write_checked() was given; kCorruptRecord when they are not as they were written.
io::Task<Result<std::string>> read_checked(io::FileSystem& files, std::string path);

/// How far a segment is known to be on disk.
struct Durable {
  uint64_t position = 0;
  Offset next = -1;  // one past the last record before `position`
};

/// One file of record batches and its two sparse indexes. The last segment of a partition grows;
/// the others stand. Files are opened, indexes loaded when first used. Belongs to its log's shard.
class Segment {
 public:
  Segment(io::FileSystem& files, std::string folder, Offset base);

  Offset base() const { return base_; }
  uint64_t size() const { return size_; }
  TimestampMs max_timestamp() const { return max_timestamp_; }
  /// Base offset of the first batch that holds max_timestamp(); -1 when there is none.
  Offset max_timestamp_offset() const { return max_timestamp_offset_; }
  std::string path() const { return file_name(folder_, base_, ".log"); }

  /// What stands in a state file; the file itself is not looked at.
  void set_known(uint64_t size, TimestampMs max_timestamp, Offset max_timestamp_offset);

  /// Makes the file, which the folder need not hold yet.
  Result<> create();
  /// The open file. Errors: kIo; kCorruptRecord when it is missing.
  Result<io::File*> file();
  bool is_open() const { return file_ != nullptr; }
  /// Closes the file until it is used again; the indexes stay.
  void close_file();
  bool has_index() const { return indexed_; }
  /// Makes the indexes stand in memory: from their files, or from the segment when these are
  /// damaged or missing.
  io::Task<Result<>> load_index();
  io::Task<Result<>> save_index();
  /// Closes the file and forgets the indexes, until they are used again.
  void unload();
  Result<> remove();

  /// Takes `header`, written at size(), into account. At most one index entry every `interval`.
  void note(const BatchHeader& header, uint32_t interval);
  /// What note() changes, so that it can be undone.
  struct Mark {
    uint64_t size = 0;
    TimestampMs max_timestamp = -1;
    Offset max_timestamp_offset = -1;
    size_t offsets = 0;
    size_t times = 0;
    uint64_t next_entry_at = 0;
  };
  Mark mark() const;
  void cut(const Mark& mark);

  /// Reads the batches from the start on and notes each; `each` sees them too. Stops at the first
  /// that is cut short, out of order or, with `check_crc`, damaged; size() is then where it stood.
  /// Gives the offset after the last batch.
  using Each = std::function<void(const BatchHeader&)>;
  io::Task<Result<Offset>> scan(bool check_crc, uint32_t interval, Each each);
  /// The same; `each` sees the bytes too, for the call. What is damaged before `durable` was good
  /// once: it is passed over, to the next whole batch.
  using EachBatch = std::function<void(const BatchHeader&, std::string_view)>;
  io::Task<Result<Offset>> scan_batches(bool check_crc, uint32_t interval, EachBatch each,
                                        Durable durable = {});
  /// What the last scan passed over.
  struct Damage {
    uint64_t from = 0;
    uint64_t to = 0;
  };
  const std::vector<Damage>& damaged() const { return damaged_; }

  /// A position at or before the batch that holds `offset`.
  uint64_t position_of(Offset offset) const;
  /// A batch that the index knows: where it begins.
  struct Place {
    Offset offset = 0;
    uint64_t position = 0;
  };
  /// The last one that the index knows at or before `offset`, or a position; the segment's begin
  /// if there is none.
  Place place_before(Offset offset) const;
  Place place_before_position(uint64_t position) const;

  /// Whether the bytes are known to be good: written since the log was opened, or checked since.
  bool is_checked(uint64_t from, uint64_t to) const;
  void set_checked(uint64_t from, uint64_t to);
  /// An offset at or before the first batch with a record at or past `timestamp`.
  Offset offset_before(TimestampMs timestamp) const;

  /// Reads under way: a segment with readers is neither unloaded nor removed.
  size_t readers = 0;
  /// When its first batch came, by the node's clock; rolling by age counts from here.
  int64_t first_append_ms = -1;
  AbortedIndex aborted;
  /// Another has taken its place and its name; only those that read it already still do.
  bool retired = false;

 private:
  struct OffsetEntry {
    uint32_t offset;  // relative to base_
    uint32_t position;
  };
  struct TimeEntry {
    TimestampMs timestamp;  // the largest before `offset`
    uint32_t offset;
  };
  io::Task<Result<>> read_index();
  class Window;
  io::Task<Result<std::string_view>> read_batch(Window& window, uint64_t position, Offset next,
                                                bool check_crc);
  io::Task<Result<std::optional<uint64_t>>> find_batch(Window& window, uint64_t from, Offset next);

  io::FileSystem& files_;
  std::string folder_;
  Offset base_;
  std::unique_ptr<io::File> file_;
  uint64_t size_ = 0;
  TimestampMs max_timestamp_ = -1;
  Offset max_timestamp_offset_ = -1;
  bool indexed_ = false;
  std::vector<OffsetEntry> offsets_;
  std::vector<TimeEntry> times_;
  uint64_t next_entry_at_ = 0;
  uint64_t unchecked_end_ = 0;  // what stands before was written in another life of the node
  std::map<uint64_t, uint64_t> checked_;  // of that, from where to where it was checked; disjoint
  std::vector<Damage> damaged_;
};

/// Keeps a segment in place while it is read.
class Reading {
 public:
  explicit Reading(Segment& segment) : segment_(segment) { ++segment_.readers; }
  ~Reading() { --segment_.readers; }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  Segment& segment() const { return segment_; }

 private:
  Segment& segment_;
};

}  // namespace millrace::log::detail
