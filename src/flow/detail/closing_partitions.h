#pragma once

#include <duckdb.hpp>

#include <boost/unordered/unordered_flat_set.hpp>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "flow/detail/closing.h"
#include "flow/detail/evaluator.h"
#include "flow/detail/frontier_map.h"
#include "flow/detail/row_codec.h"

namespace millrace::flow {

/// What an operator that keeps rows by PARTITION BY closes: the partitions of a column that a
/// frontier has passed. Their rows stay in the output, their state goes, and a row that still comes
/// for them is late.
template <typename Partition>
class ClosingPartitions {
 public:
  /// `partitions` and the codec of their values, which make a partition's key, outlive this.
  ClosingPartitions(duckdb::ClientContext& context, const Evaluator& partitions,
                    const RowCodec& codec)
      : partitions_(partitions),
        codec_(codec),
        frontiers_(context, partitions),
        late_(column_names({&partitions})) {}

  /// Looks at a chunk's values of PARTITION BY; what follows is about its rows.
  void begin(duckdb::DataChunk& keys, const Delta& delta) {
    times_.clear();
    if (!closing_.column()) return;
    const size_t count = delta.weights.size();
    const TimeColumn column(keys.data[*closing_.column()], count);
    duckdb::SelectionVector late(count);
    size_t late_count = 0;
    for (size_t i = 0; i < count; ++i) {
      times_.push_back(column[i]);
      if (is_late(i)) late.set_index(late_count++, i);
    }
    late_.add(delta, late, late_count);
  }
  bool is_late(size_t i) const {
    return !times_.empty() && times_[i] && closing_.is_closed(*times_[i]);
  }
  /// Row `i` has made a partition.
  void add(Partition& partition, size_t i) {
    if (!times_.empty() && times_[i]) by_time_[*times_[i]].insert(&partition);
  }
  /// A partition is about to be forgotten since it has no rows.
  void remove(Partition& partition, std::string_view key) {
    const auto time = time_of(key);
    if (!time) return;
    const auto at = by_time_.find(*time);
    if (at == by_time_.end()) return;
    at->second.erase(&partition);
    if (at->second.empty()) by_time_.erase(at);
  }

  /// At an epoch's end. True: call index() for each partition, then close().
  bool advance(const std::vector<Frontier>& input) {
    bounds_ = frontiers_.map(input);
    return closing_.advance(bounds_);
  }
  void index(Partition& partition, std::string_view key) {
    if (const auto time = time_of(key)) by_time_[*time].insert(&partition);
  }
  /// Calls `drop` for each partition that is closed.
  template <typename F>
  void close(F&& drop) {
    const auto end = by_time_.lower_bound(closing_.below_us());
    for (auto at = by_time_.begin(); at != end; ++at)
      for (Partition* partition : at->second) drop(*partition);
    by_time_.erase(by_time_.begin(), end);
  }
  /// The frontiers of the output, whose first columns are the input's.
  void carry(DeltaStream& out) const {
    for (const auto& bound : bounds_)
      if (const auto column = rounded_column(partitions_[bound.column]))
        out.frontiers.push_back({*column, bound.time_us});
  }

  bool waits() const { return !by_time_.empty(); }
  uint64_t late_rows() const { return late_.count(); }
  void take_late(std::vector<LateRows>& out) { late_.take(out); }
  void save(StateWriter& out) const {
    closing_.save(out);
    late_.save(out);
  }
  /// Call index() for each partition then.
  void load(StateReader& in) {
    closing_.load(in);
    late_.load(in);
  }

 private:
  std::optional<int64_t> time_of(std::string_view key) const {
    if (!closing_.column()) return std::nullopt;
    const char* bytes = key.data();
    duckdb::DataChunk row;
    make_chunk(row, partitions_.types(), 1);
    codec_.decode({&bytes, 1}, row);
    row.SetCardinality(1);
    return TimeColumn(row.data[*closing_.column()], 1)[0];
  }

  const Evaluator& partitions_;
  const RowCodec& codec_;
  FrontierMap frontiers_;
  LateCollector late_;
  Closing closing_;
  std::vector<Frontier> bounds_;               // of this epoch, by number of PARTITION BY
  std::vector<std::optional<int64_t>> times_;  // of the chunk's rows; empty: nothing closes
  std::map<int64_t, boost::unordered_flat_set<Partition*>> by_time_;
};

}  // namespace millrace::flow
