#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/broker.h"
#include "sql/subscription.h"

namespace millrace::flow {

/// A whole epoch of a changelog, or a part of one that is large, or several at once.
struct ReadEpochs {
  uint64_t epoch = 0;
  std::vector<sql::Changes::Row> rows;
  std::optional<Offset> until;  // after its commit; nothing: more of the epoch follows
};

/// Sums the weights of equal rows.
class Consolidation {
 public:
  void add(sql::Changes::Row row);
  size_t bytes() const { return bytes_; }
  /// What is left: rows that go before rows that come, so that who applies them in order never
  /// holds a row that should have gone.
  std::vector<sql::Changes::Row> take();

 private:
  std::unordered_map<std::string, int64_t> weights_;
  size_t bytes_ = 0;
};

/// Reads a view's changelog epoch by epoch. Epochs of which a reader is behind are put together;
/// what is held at a time is bounded, however large an epoch is. One thread at a time, not a
/// shard's.
class ChangelogReader {
 public:
  /// `from`: right after a commit.
  ChangelogReader(std::shared_ptr<broker::Partition> log, Offset from)
      : log_(std::move(log)), position_(from) {}

  /// The epochs that come next, at most kWindowBytes of rows; none at the end of the log. Errors:
  /// kOffsetOutOfRange, kCorruptRecord, kIo.
  Result<std::vector<ReadEpochs>> read();

  /// More epochs than these that wait are put together, and so are those of a full window.
  static constexpr size_t kEpochsMax = 16;
  static constexpr size_t kWindowBytes = 512u << 10;
  /// How much of the log one read() goes through to put epochs together.
  static constexpr size_t kLogBytesMax = 16u << 20;

 private:
  struct Window;
  Result<Window> gather(Offset from);
  Result<std::vector<ReadEpochs>> put_together(Window window);
  Result<> find_end_of_epoch(Offset from);
  Result<std::vector<ReadEpochs>> read_part();

  const std::shared_ptr<broker::Partition> log_;
  Offset position_;
  // An epoch that is larger than a window is given in parts; its commit was looked up.
  std::optional<Offset> commit_at_;
  uint64_t commit_epoch_ = 0;
};

/// Errors: kInvalidArgument when no commit stands right before `offset`; the log's.
Result<> check_is_end_of_epoch(broker::Partition& log, Offset offset);

}  // namespace millrace::flow
