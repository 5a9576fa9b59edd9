#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/io/env.h"
#include "base/io/shard.h"
#include "base/owned_bytes.h"
#include "log/record_batch.h"

namespace millrace::log {

enum class Durability { kFsync, kOs };
enum class TimestampType { kCreateTime, kLogAppendTime };

/// Broker-side deduplication: a record whose key (or whose header `header`) was appended within the
/// last `count` records and the last `age_ms` is left out.
struct DedupConfig {
  bool enabled = false;
  std::string header;  // empty: the record's key
  uint64_t count = 0;  // how many distinct keys are remembered
  int64_t age_ms = 0;  // for how long
  bool operator==(const DedupConfig&) const = default;
};

struct LogConfig {
  uint64_t segment_bytes = 256u << 20;
  int64_t segment_ms = 7LL * 24 * 3600 * 1000;
  int64_t retention_ms = 7LL * 24 * 3600 * 1000;  // -1: for ever
  int64_t retention_bytes = -1;                   // -1: no limit
  uint32_t batch_bytes_max = 1'048'588;           // Kafka's max.message.bytes
  uint32_t index_interval_bytes = 4096;
  TimestampType timestamp_type = TimestampType::kCreateTime;
  Durability durability = Durability::kFsync;
  bool cleanup_delete = true;    // old segments go by time and size
  bool cleanup_compact = false;  // the last record of each key is kept
  int64_t min_compaction_lag_ms = 0;
  int64_t max_compaction_lag_ms = std::numeric_limits<int64_t>::max();
  int64_t delete_retention_ms = 24LL * 3600 * 1000;  // of tombstones and transaction markers
  double min_cleanable_dirty_ratio = 0.5;
  std::optional<Compression> compression;  // nullopt: as the producer sent them
  int compression_level = 0;               // of `compression`; 0: its default
  DedupConfig dedup;
  /// How long a sync is put off at the most for the sake of more appends.
  std::chrono::microseconds sync_gather_max{2000};
  /// How many keys one pass of compaction remembers, at some 32 bytes each; with more it takes
  /// several passes.
  size_t compaction_keys_max = 1u << 19;
};

/// What a compaction may use, and when it is to give up.
struct CompactionContext {
  io::Runtime* pool = nullptr;           // decompresses and compresses there; null: on the shard
  std::function<bool()> stop = nullptr;  // asked on the shard, some times a second
};

struct AppendResult {
  Offset base_offset = 0;           // of the first record
  Offset next_offset = 0;           // one past the last
  TimestampMs append_time_ms = -1;  // set when the topic stamps records itself
  Offset start_offset = 0;          // of the partition
  bool duplicate =
      false;  // the batch was appended before (idempotent producer): offsets are the first time's
};

/// When append() answers.
enum class Ack {
  kDurable,  // on disk, by the partition's Durability
  kWritten,  // handed to the operating system
};

/// Which records a reader wants (Kafka's isolation.level).
enum class Isolation {
  kUncommitted,
  kCommitted,  // nothing at or past the last stable offset; aborted ones are named, not left out
};

/// A transaction that was aborted: the records of `producer_id` from `first_offset` up to its next
/// abort marker are to be passed over by who reads committed ones (KIP-98).
struct AbortedTransaction {
  int64_t producer_id = -1;
  Offset first_offset = -1;
};

/// The control record that ends a producer's transaction in one partition.
struct TransactionMarker {
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  bool commit = false;
  int32_t coordinator_epoch = 0;
};

/// Bytes of whole RecordBatch v2, back to back. The first may begin before the offset asked for, as
/// Kafka's fetch does.
struct ReadResult {
  std::string batches;
  io::FileRange file;  // of fetch(): where they stand, instead of `batches`
  Offset next_offset =
      0;  // where to read on: one past the last record in `batches`, or the offset asked for
  Offset high_watermark = 0;
  Offset last_stable_offset = 0;
  Offset start_offset = 0;
  std::vector<AbortedTransaction> aborted;  // that touch `batches`; only for kCommitted
  size_t bytes() const { return file.file ? file.length : batches.size(); }
};

/// Takes the records of aborted transactions, and markers, out of what was read with kCommitted;
/// next_offset stays. For our own readers: a Kafka client does it itself.
void leave_out_aborted(ReadResult& result);

struct TimeOffset {
  Offset offset = -1;
  TimestampMs timestamp = -1;
};

/// What one producer id last appended to the partition: enough to tell a retry, a gap, a zombie
/// (KIP-98).
struct ProducerEntry {
  int64_t producer_id = -1;
  int16_t epoch = -1;
  int32_t last_sequence = -1;
  Offset last_offset = -1;
  TimestampMs last_timestamp = -1;
  Offset transaction_first_offset = -1;  // of the open transaction; -1: none
  int32_t coordinator_epoch = -1;        // of its last marker
};

/// One partition: a folder of segments, each with a sparse offset index and time index beside it,
/// and the producers' state. Lives on one shard. Appends are queued and written in order; one
/// fdatasync serves all that queued meanwhile. The high watermark is what readers may see: with
/// Durability::kFsync it never passes what is on disk. docs/log-format.md is the format.
class PartitionLog {
 public:
  /// Opens or creates the folder `path`. Reads the last segment forward and cuts it at the first
  /// batch that fails its CRC or lengths (a torn tail); a bad batch before the last segment is
  /// reported by read() when met. Errors: kIo, kCorruptRecord.
  static io::Task<Result<std::unique_ptr<PartitionLog>>> open(io::Env& env, io::Shard& shard,
                                                              std::string path, LogConfig config);
  virtual ~PartitionLog() = default;

  /// Appends `batches` (one or more RecordBatch v2, back to back, checked by validate_batches()),
  /// assigning offsets. All batches of one call are contiguous. Concurrent calls are served in the
  /// order they were made. Errors: kDiskFull and kIo (nothing of the call is visible; the log
  /// refuses until it is sane again), kOutOfOrderSequence, kInvalidProducerEpoch, kRecordTooLarge,
  /// kShuttingDown.
  virtual io::Task<Result<AppendResult>> append(OwnedBytes batches, Ack ack) = 0;

  /// Reads whole batches from the one that holds `from`, up to the high watermark; at least one
  /// batch when there is one, else until `bytes_max`. Errors: kOffsetOutOfRange, kCorruptRecord
  /// (says where), kIo.
  virtual io::Task<Result<ReadResult>> read(Offset from, size_t bytes_max,
                                            Isolation isolation = Isolation::kUncommitted) = 0;
  /// As read(), for who passes the bytes on as they are: many bytes that are in the system's memory
  /// and known to be good (appended since the log was opened, or read before) are named as a range
  /// of a file, not read. Less may come than from read(), but for the first batch.
  virtual io::Task<Result<ReadResult>> fetch(Offset from, size_t bytes_max,
                                             Isolation isolation = Isolation::kUncommitted) = 0;

  /// Ends the producer's open transaction here with a control batch, durably; also raises the
  /// producer's epoch to the marker's, so that a zombie of the epoch before is refused. Without an
  /// open transaction the marker is written all the same (KIP-890: the epoch must be fenced).
  /// Errors: kInvalidProducerEpoch (the partition has seen a newer epoch), those of append().
  virtual io::Task<Result<AppendResult>> append_marker(TransactionMarker marker) = 0;

  /// Continues when the high watermark (for kCommitted: the last stable offset) is past `offset`
  /// (true), or at `deadline` or close (false).
  virtual io::Task<bool> wait_past(Offset offset, std::chrono::steady_clock::time_point deadline,
                                   Isolation isolation = Isolation::kUncommitted) = 0;

  virtual Offset start_offset() const = 0;
  virtual Offset high_watermark() const = 0;
  /// The first offset of the earliest open transaction, or the high watermark.
  virtual Offset last_stable_offset() const = 0;
  /// One past the last record written, visible or not.
  virtual Offset end_offset() const = 0;
  virtual uint64_t size_bytes() const = 0;

  /// The first record whose timestamp is at or past `timestamp`; offset -1 when there is none.
  virtual io::Task<Result<TimeOffset>> offset_for_time(TimestampMs timestamp) = 0;
  /// The record with the largest timestamp (ListOffsets -3).
  virtual io::Task<Result<TimeOffset>> max_timestamp() = 0;

  /// Deletes whole old segments by time and size, never one that holds an offset at or past a hold.
  virtual io::Task<Result<>> enforce_retention() = 0;
  /// With cleanup_compact: one pass over the closed segments if enough of them is dirty, keeping
  /// the last record of each key; appends and reads go on meanwhile. Null-key records are kept (the
  /// broker refuses them on compacted topics; changelogs hold epochs in them). Never past a hold,
  /// nor past an open transaction. Errors: kDiskFull, kIo (what was begun goes on the next time),
  /// kCorruptRecord (once; the partition is then left as it is).
  virtual io::Task<Result<>> compact(CompactionContext context = {}) = 0;
  /// Forgets records before `offset` (KIP-107).
  virtual io::Task<Result<>> delete_records(Offset offset) = 0;
  /// Cuts everything from `offset` on. For logs with a single writer of ours (changelogs) at start,
  /// before any reader.
  virtual io::Task<Result<>> truncate_to(Offset offset) = 0;

  /// Retention keeps what is at or past the smallest hold (a dataflow's snapshot needs it). `who`
  /// names the holder; nullopt lets go.
  virtual void hold(const std::string& who, std::optional<Offset> from) = 0;

  virtual void reconfigure(const LogConfig& config) = 0;
  virtual std::vector<ProducerEntry> producers() const = 0;

  /// Finishes what is queued, syncs, writes producer state, closes files. No call overlaps or
  /// follows it.
  virtual io::Task<Result<>> close() = 0;
};

}  // namespace millrace::log
