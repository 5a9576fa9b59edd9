#pragma once

#include <duckdb.hpp>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "flow/detail/dataflow.h"
#include "flow/detail/delta.h"
#include "flow/detail/parallel.h"
#include "log/batch_writer.h"
#include "log/record_batch.h"
#include "sql/format.h"

namespace millrace::flow {

/// Offsets [from, until) of one partition.
struct OffsetRange {
  int32_t partition = 0;
  Offset from = 0;
  Offset until = 0;
  bool operator==(const OffsetRange&) const = default;
};

/// What one epoch took in: by topic name, sorted by partition; only ranges that hold something.
using InputRanges = std::map<std::string, std::vector<OffsetRange>>;

/// One epoch as it was computed: enough to compute it again.
struct EpochInputs {
  Epoch epoch;
  InputRanges inputs;
  /// By topic, where it moved in this epoch: silence and the clock went into it, so that the rows
  /// alone do not give it back.
  std::map<std::string, int64_t> watermarks = {};
};

/// A row of an epoch that is set aside: one that an expression failed over, and why; or one that
/// came too late, and behind which watermark.
struct FailedRow {
  std::string reason;
  std::string json;
  int64_t weight = 1;
};

/// The record that makes everything before it in a changelog final: the epochs since the commit
/// before, the last one being the commit's own. All but the last had no output.
/// docs/dataflow.md is the format.
struct Commit {
  std::vector<EpochInputs> epochs;
  // Of the last epoch, for <view>.dead_letter and <view>.late.
  std::vector<FailedRow> failed = {};
  std::vector<FailedRow> late = {};
  size_t shares = 1;  // that the view's dataflow has, for good

  std::string to_json() const;
  /// Errors: kCorruptRecord.
  static Result<Commit> parse(std::string_view json);
};

/// What a record of a changelog is, told by its headers.
bool is_commit(const log::RecordView& record);
/// How often the row is inserted (+) or removed (-). Errors: kCorruptRecord.
Result<int64_t> weight_of(const log::RecordView& record);

/// Writes epochs of one view as the bytes of one append: rows, then the commit.
class ChangelogWriter {
 public:
  static Result<std::unique_ptr<ChangelogWriter>> make(std::vector<std::string> names,
                                                       std::vector<duckdb::LogicalType> types);
  /// RecordBatches back to back; the last record of the last is the commit. `records` is their
  /// number. `parallel` (may be null) takes part where there are many.
  std::string write(const DeltaStream& rows, const Commit& commit, size_t* records,
                    Parallel* parallel = nullptr);

 private:
  /// Writes a run of an epoch's rows.
  struct Encoder {
    std::unique_ptr<sql::JsonWriter> json;
    log::BatchWriter batch;
    std::string row;
    std::string bytes;  // batches
    void add(const Delta& delta, TimestampMs timestamp);
  };
  explicit ChangelogWriter(std::vector<Encoder> encoders) : encoders_(std::move(encoders)) {}

  std::vector<Encoder> encoders_;
  size_t row_bytes_ = 0;  // of a record of the last epoch, its share of the commit included
};

}  // namespace millrace::flow
