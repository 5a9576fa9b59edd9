#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "sql/detail/core.h"
#include "sql/detail/errors.h"
#include "sql/detail/topic_writer.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

constexpr size_t kReadBytes = 1u << 20;

/// One partition's part of a scan: read in pieces, decoded into chunks. Used by one thread at a
/// time.
class Strand {
 public:
  Strand(const catalog::Object& topic, std::shared_ptr<broker::Partition> partition, Offset from,
         Offset until)
      : topic_(topic), partition_(std::move(partition)), position_(from), until_(until) {}

  /// The next rows, or null at the end.
  Result<duckdb::unique_ptr<duckdb::DataChunk>> next(const std::vector<size_t>& columns) {
    if (!decoder_) {
      MR_TRY(decoder_, Decoder::make(topic_, columns));
      renew();
    }
    while (ready_.empty() && position_ < until_) MR_TRY(read());
    if (ready_.empty() && open_->size() > 0) {
      ready_.push_back(std::move(open_));
      renew();
    }
    if (ready_.empty()) return duckdb::unique_ptr<duckdb::DataChunk>();
    auto chunk = std::move(ready_.front());
    ready_.pop_front();
    return chunk;
  }

 private:
  void renew() {
    open_ = duckdb::make_uniq<duckdb::DataChunk>();
    open_->Initialize(
        duckdb::Allocator::DefaultAllocator(),
        duckdb::vector<duckdb::LogicalType>(decoder_->types().begin(), decoder_->types().end()));
  }

  Result<> read() {
    auto read = partition_->shard().block_on(
        partition_->read(position_, kReadBytes, log::Isolation::kCommitted));
    if (!read && read.error().code == ErrorCode::kOffsetOutOfRange &&
        partition_->start_offset() > position_) {
      position_ = partition_->start_offset();  // retention passed us
      return {};
    }
    if (!read) return std::move(read).error();
    log::leave_out_aborted(*read);
    if (read->next_offset <= position_) {
      position_ = until_;  // nothing more to see
      return {};
    }
    const auto full = [this](duckdb::DataChunk& chunk) {
      auto taken = duckdb::make_uniq<duckdb::DataChunk>();
      taken->Move(chunk);
      chunk.Initialize(duckdb::Allocator::DefaultAllocator(), taken->GetTypes());
      ready_.push_back(std::move(taken));
    };
    MR_TRY(decoder_->decode(read->batches, partition_->index(), position_, until_, *open_, full,
                            nullptr));
    position_ = read->next_offset;
    return {};
  }

  const catalog::Object& topic_;
  std::shared_ptr<broker::Partition> partition_;
  Offset position_;
  Offset until_;
  std::unique_ptr<Decoder> decoder_;
  duckdb::unique_ptr<duckdb::DataChunk> open_;  // being filled
  std::deque<duckdb::unique_ptr<duckdb::DataChunk>> ready_;
};

/// A scan of a topic up to where it was when the scan began. A thread takes a partition that no
/// other reads, gives one chunk, and lets it go.
class TopicScan : public RelationScan {
 public:
  TopicScan(std::shared_ptr<const broker::Topic> topic, std::vector<size_t> columns)
      : topic_(std::move(topic)), columns_(std::move(columns)) {}

  void add(std::shared_ptr<broker::Partition> partition, Offset from, Offset until) {
    idle_.push_back(std::make_unique<Strand>(topic_->object, std::move(partition), from, until));
  }

  Result<> next(duckdb::DataChunk& out) override {
    return guarded([&]() -> Result<> {
      while (auto strand = take()) {
        MR_TRY(auto chunk, strand->next(columns_));
        if (!chunk) continue;  // this partition is done
        out.Reference(*chunk);
        std::lock_guard lock(mutex_);
        idle_.push_front(std::move(strand));
        return {};
      }
      return {};
    });
  }

 private:
  std::unique_ptr<Strand> take() {
    std::lock_guard lock(mutex_);
    if (idle_.empty()) return nullptr;
    auto strand = std::move(idle_.front());
    idle_.pop_front();
    return strand;
  }

  std::shared_ptr<const broker::Topic> topic_;
  std::vector<size_t> columns_;
  std::mutex mutex_;
  std::deque<std::unique_ptr<Strand>> idle_;
};

class TopicRelation : public Relation {
 public:
  TopicRelation(Core& core, std::shared_ptr<const broker::Topic> topic,
                std::vector<RelationColumn> columns)
      : core_(core), topic_(std::move(topic)), columns_(std::move(columns)) {}

  const catalog::Object& object() const override { return topic_->object; }
  const std::vector<RelationColumn>& columns() const override { return columns_; }

  size_t row_count_estimate() const override {
    Offset rows = 0;
    for (const auto& partition : topic_->partitions) {
      rows += std::max<Offset>(0, partition->high_watermark() - partition->start_offset());
    }
    return static_cast<size_t>(rows);
  }

  Result<std::unique_ptr<RelationScan>> scan(ScanRequest request) override {
    // A topic's rows have no address; who asks for one counts rows, and any column will do.
    const auto offset_column = std::ranges::find(columns_, "_offset", &RelationColumn::name);
    for (auto& column : request.columns) {
      if (column != ScanRequest::kRowId) continue;
      column = static_cast<size_t>(offset_column - columns_.begin());
    }
    auto scan = std::make_unique<TopicScan>(topic_, request.columns);
    for (const auto& partition : topic_->partitions) {
      if (request.partition && *request.partition != partition->index()) continue;
      MR_TRY(auto range, range_of(*partition, request));
      if (range.first < range.second) scan->add(partition, range.first, range.second);
    }
    return std::unique_ptr<RelationScan>(std::move(scan));
  }

  Result<uint64_t> apply(std::vector<Change> changes) override {
    return append_rows(core_, *topic_, columns_, std::move(changes));
  }

 private:
  static Result<std::pair<Offset, Offset>> range_of(broker::Partition& partition,
                                                    const ScanRequest& request) {
    auto from = partition.start_offset();
    auto until = partition.last_stable_offset();
    if (request.offsets.from) from = std::max(from, *request.offsets.from);
    if (request.offsets.until) until = std::min(until, *request.offsets.until);
    if (request.timestamps.from && from < until) {
      // Timestamps need not ascend: records before the first that is young enough are all too old;
      // an upper bound says nothing about what follows.
      MR_TRY(auto first,
             partition.shard().block_on(partition.offset_for_time(*request.timestamps.from)));
      from = first.offset < 0 ? until : std::max(from, first.offset);
    }
    return std::pair(from, until);
  }

  Core& core_;
  std::shared_ptr<const broker::Topic> topic_;
  std::vector<RelationColumn> columns_;
};

}  // namespace

Result<std::shared_ptr<Relation>> make_topic_relation(Core& core, const catalog::Object& object) {
  auto topic = core.broker.find(object.name);
  if (!topic || topic->object.id != object.id) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("topic \"{}\" is gone", object.name)};
  }
  // The definition that the statement was bound with, over the partitions as they are.
  auto bound = std::make_shared<broker::Topic>(broker::Topic{object, topic->partitions});
  MR_TRY(auto columns, columns_of(object));
  return std::shared_ptr<Relation>(
      std::make_shared<TopicRelation>(core, std::move(bound), std::move(columns)));
}

}  // namespace millrace::sql
