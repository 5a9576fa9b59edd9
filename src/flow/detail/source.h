#pragma once

#include <duckdb.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "flow/detail/watermark.h"
#include "sql/format.h"

namespace millrace::flow {

class BatchWindows;

/// By number of a view's column: no row that comes later has a smaller time there.
using ColumnBounds = std::map<size_t, int64_t>;

/// A run of one partition's records, decoded once for every reader. Immutable.
struct Piece {
  Offset from = 0;  // of the offsets that it covers, whether or not they gave rows
  Offset until = 0;
  std::shared_ptr<const std::vector<size_t>> columns;  // of the relation; what `rows` holds
  duckdb::DataChunk rows;
  std::vector<Offset> offsets;         // of each row
  std::vector<int64_t> weights;        // a view's changelog; else empty: all 1
  std::vector<int64_t> watermarks_us;  // WATERMARK FOR, of each row; empty: the topic has none
  std::vector<sql::BadRecord> bad;
  std::vector<std::pair<Offset, ColumnBounds>> bounds;  // what a changelog's commits say, by offset
  size_t bytes = 0;
};

/// Rows [begin, end) of a piece.
struct Span {
  std::shared_ptr<const Piece> piece;
  size_t begin = 0;
  size_t end = 0;
};

/// What decoded pieces may occupy, over all sources of a node.
struct DecodeBudget {
  size_t bytes_max = 64u << 20;
  std::atomic<size_t> bytes = 0;
};

/// One topic, table or changelog as its readers see it: log ranges, decoded once for all of them.
/// Readers of nearby positions share what a bounded cache keeps. Threads that are not shards may
/// call anything at once.
class Source {
 public:
  /// A reader's columns, and how far it has come: what every reader has passed is dropped.
  struct Reader {
    std::vector<size_t> columns;
    std::vector<Offset> positions;  // by partition; under Source::mutex_
  };

  /// `watermark` may be null.
  Source(io::Env& env, std::shared_ptr<const broker::Topic> topic, DecodeBudget& budget,
         std::unique_ptr<WatermarkExpression> watermark);
  ~Source();
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const catalog::Object& object() const { return topic_->object; }
  const broker::Topic& topic() const { return *topic_; }
  /// The column that WATERMARK FOR names.
  std::optional<size_t> watermark_column() const {
    return watermark_ ? std::optional(watermark_->column()) : std::nullopt;
  }

  /// Decodes `columns` (indexes into columns_of(object), or Decoder's special ones) from now on.
  /// Errors: kNotSupported.
  Result<std::shared_ptr<Reader>> subscribe(std::vector<size_t> columns);
  void unsubscribe(const std::shared_ptr<Reader>& reader);
  /// The reader needs nothing before `position` any more.
  void advance(Reader& reader, int32_t partition, Offset position);

  /// Offsets that one thread decodes at a time: ranges cut at multiples of it are read in parallel.
  static constexpr Offset kStripe = 8 * STANDARD_VECTOR_SIZE;
  /// Reads one partition from `at` to `until`, in turns.
  struct Cursor {
    int32_t partition = 0;
    Offset at = 0;
    Offset until = 0;
    std::vector<Span> spans;
    bool done() const { return at >= until; }
  };
  /// Goes on with `cursor`. Without `wait` it gives up, not done, when another thread decodes this
  /// stripe just now. `until` is at most the high watermark. Errors: kOffsetOutOfRange,
  /// kCorruptRecord, kIo.
  Result<> read(Cursor& cursor, bool wait);

 private:
  using Columns = std::shared_ptr<const std::vector<size_t>>;
  bool is_changelog() const { return object().kind == catalog::Kind::kMaterializedView; }
  /// Decodes every eighth stripe of a partition.
  struct StripeDecoder {
    std::mutex decoding;  // held while one thread reads and decodes
    std::unique_ptr<sql::Decoder> decoder;
    Columns columns;     // of `decoder`
    Offset counted = 0;  // bad records below were counted
  };
  struct PartitionState {
    std::mutex mutex;  // of pieces
    std::map<Offset, std::shared_ptr<const Piece>> pieces;
    std::list<Offset> by_age;  // keys of pieces, oldest first
    std::array<StripeDecoder, 8> decoders;
    StripeDecoder& decoder_of(Offset at) { return decoders[at / kStripe % decoders.size()]; }
  };

  std::shared_ptr<const Piece> find(PartitionState& state, Offset at);
  Result<std::vector<std::shared_ptr<Piece>>> decode(int32_t partition, Offset from);
  Result<log::ReadResult> read_log(int32_t partition, Offset from);
  Result<std::vector<std::shared_ptr<Piece>>> decode_batches(int32_t partition,
                                                             BatchWindows& windows, Offset from,
                                                             Offset until);
  Result<> add_weights(std::string_view batches, std::vector<std::shared_ptr<Piece>>& pieces);
  Result<> add_watermarks(std::vector<std::shared_ptr<Piece>>& pieces);
  void keep(int32_t partition, std::vector<std::shared_ptr<Piece>> pieces);
  void drop_passed();
  void erase(PartitionState& state, Offset key);

  std::shared_ptr<const broker::Topic> topic_;
  DecodeBudget& budget_;
  std::mutex watermark_mutex_;
  std::unique_ptr<WatermarkExpression> watermark_;
  Metrics::Counter& bad_records_;
  Metrics::Counter& decoded_records_;
  std::vector<std::unique_ptr<PartitionState>> partitions_;

  std::mutex mutex_;
  Columns columns_;  // that all readers need, sorted
  std::vector<std::shared_ptr<Reader>> readers_;
};

/// The asked columns of all rows of a piece, sharing its memory.
void project(const Piece& piece, std::span<const size_t> columns, duckdb::DataChunk& out);

/// Rows of one partition in offset order, cut at offsets that are multiples of
/// STANDARD_VECTOR_SIZE, so that the same range always comes as the same chunks, however it was
/// decoded. Calls `each` for each.
struct ReadChunk {
  duckdb::DataChunk rows;  // the asked columns
  std::vector<int64_t> weights;
};
void cut_chunks(std::span<const Span> spans, std::span<const size_t> columns,
                const std::function<void(ReadChunk&)>& each);

}  // namespace millrace::flow
