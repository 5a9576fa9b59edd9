#include <fmt/format.h>

#include "flow/detail/closing_partitions.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/operators.h"
#include "flow/detail/top_n_state.h"

namespace millrace::flow {

namespace {

std::vector<duckdb::LogicalType> plain(const duckdb::vector<duckdb::LogicalType>& types) {
  return {types.begin(), types.end()};
}

/// ORDER BY with LIMIT and OFFSET, of everything or of each partition; DISTINCT ON; the filter
/// `row_number() OVER (…) <= n`. Keeps every row in order, for when one that is shown goes; over an
/// append-only input only the first offset + limit of a partition. A change costs O(log rows) and
/// puts out what enters and what leaves; with numbers, also every row whose number moves. A
/// partition that a frontier has passed is forgotten.
class TopN : public Operator {
 public:
  TopN(duckdb::ClientContext& context, TopNSpec spec)
      : limit_(spec.limit),
        offset_(spec.offset),
        percent_(spec.percent),
        numbered_(spec.numbered),
        append_only_(spec.append_only),
        prunes_(spec.append_only && !spec.percent && spec.limit < kNoLimit),
        partitions_(context, std::move(spec.partitions)),
        order_(context, std::move(spec.orders)),
        key_codec_(plain(partitions_.types()), RowCodec::Use::kKey),
        closing_(context, partitions_, key_codec_),
        row_codec_(plain(spec.types), RowCodec::Use::kRow),
        number_codec_({duckdb::LogicalType::BIGINT}, RowCodec::Use::kRow),
        builder_(numbered_ ? std::vector<const RowCodec*>{&row_codec_, &number_codec_}
                           : std::vector<const RowCodec*>{&row_codec_}) {
    if (numbered_) encode_numbers();
  }

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) MR_TRY(take(chunk, out));
    for (auto* row : touched_rows_) {
      if (row->weight < 0)
        return Error{ErrorCode::kInternal, "more copies of a row are retracted than there were"};
      if (row->weight == 0) row->partition->erase(*row);
    }
    for (auto* partition : touched_) place(*partition);
    for (auto* row : touched_rows_) settle(*row, *row->partition, out);
    if (numbered_)
      for (auto* partition : touched_) number(*partition, out);
    builder_.flush(out);
    clean();
    if (closing_.advance(inputs[0]->frontiers))
      for (auto* partition : state_) closing_.index(*partition, partition->key());
    closing_.close([&](RankedPartition& partition) { forget(partition); });
    closing_.carry(out);
    return {};
  }

  size_t state_rows() const override { return state_.rows(); }
  size_t state_bytes() const override { return state_.memory_bytes(); }
  uint64_t late_rows() const override { return closing_.late_rows(); }
  void take_late(std::vector<LateRows>& out) override { closing_.take_late(out); }
  bool waits_for_frontier() const override { return closing_.waits(); }

  bool can_save() const override { return true; }
  void save(StateWriter& out) const override {
    out.begin("top", 3);
    closing_.save(out);
  }
  void freeze() override {
    Operator::freeze();
    state_.freeze();
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    return Operator::save_some(out, bytes) && state_.save_some(out, bytes);
  }
  Result<> load(StateReader& in) override {
    in.begin("top", 3);
    closing_.load(in);
    state_.load(in);
    for (auto* partition : state_) {
      partition->move(partition->from, offset_, [](RankedRow&) {});
      partition->move(partition->until, end(*partition), [](RankedRow&) {});
      closing_.index(*partition, partition->key());
    }
    return in.result();
  }

  std::string describe() const override {
    std::string text = numbered_ ? "numbered top" : "top";
    if (percent_)
      text += fmt::format(" {}%", *percent_);
    else if (limit_ < kNoLimit)
      text += fmt::format(" {}", limit_);
    if (offset_ > 0) text += fmt::format(" after {}", offset_);
    if (partitions_.size() > 0) text += " of each " + partitions_.describe();
    return order_.empty() ? text : text + " by " + order_.describe();
  }

 private:
  static constexpr int64_t kNoLimit = TopNSpec::kNoLimit;

  void encode_numbers() {
    numbers_.resize(static_cast<size_t>(limit_));
    for (size_t i = 0; i < numbers_.size(); ++i) {
      duckdb::DataChunk chunk;
      make_chunk(chunk, {duckdb::LogicalType::BIGINT}, 1);
      chunk.SetValue(0, 0, duckdb::Value::BIGINT(static_cast<int64_t>(i) + 1));
      chunk.SetCardinality(1);
      EncodedRows encoded;
      number_codec_.encode(chunk, encoded);
      numbers_[i] = encoded[0];
    }
  }

  int64_t end(const RankedPartition& partition) const {
    if (percent_)
      return offset_ +
             static_cast<int64_t>(*percent_ / 100.0 * static_cast<double>(partition.weight));
    return limit_ >= kNoLimit - offset_ ? kNoLimit : offset_ + limit_;
  }

  Result<> take(const std::shared_ptr<const Delta>& chunk, DeltaStream& out) {
    duckdb::DataChunk keys;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk values;
      partitions_.evaluate(rows, values);
      order_.encode(rows);
      keys.Move(values);
    });
    const Delta& delta = *good;
    if (delta.weights.empty()) return {};
    key_codec_.encode(keys, keys_);
    row_codec_.encode(delta.rows, rows_);
    closing_.begin(keys, delta);
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      if (closing_.is_late(i)) continue;
      if (append_only_ && delta.weights[i] < 0)
        return Error{ErrorCode::kInternal, "a row is retracted from an append-only input"};
      const size_t partitions = state_.size();
      auto& partition = state_.find_or_add(keys_[i], hash_bytes(keys_[i]));
      if (state_.size() > partitions) closing_.add(partition, i);
      const RankedLess::Probe probe{order_[i], rows_[i]};
      const RankedLess less;
      // Behind all that will ever be shown.
      if (prunes_ && partition.weight >= end(partition) &&
          (partition.rows.empty() || less(*partition.rows.rbegin(), probe)))
        continue;
      RankedPartition::Tree::insert_commit_data place;
      auto [found, fresh] = partition.rows.insert_check(probe, less, place);
      if (fresh)
        found =
            partition.rows.insert_commit(state_.make_row(partition, probe.key, probe.row), place);
      touch(*found);
      partition.add(*found, delta.weights[i]);
      if (partition.touched) continue;
      partition.touched = true;
      touched_.push_back(&partition);
    }
    return {};
  }

  /// Before the row is changed.
  void touch(RankedRow& row) {
    if (row.touched) return;
    state_.before_change(row);
    row.touched = true;
    touched_rows_.push_back(&row);
  }

  void place(RankedPartition& partition) {
    const auto visit = [&](RankedRow& row) { touch(row); };
    partition.move(partition.from, offset_, visit);
    partition.move(partition.until, end(partition), visit);
  }

  /// Brings the output of one row up to date; with numbers, only if it shows no more.
  void settle(RankedRow& row, const RankedPartition& partition, DeltaStream& out) {
    const auto now =
        row.weight == 0 ? RankedPartition::Shown{} : partition.shown(row, offset_, end(partition));
    if (numbered_) {
      if (now.count == 0) put_numbers(row, now, out);
      return;
    }
    if (now.count != row.emitted) builder_.add({row.row()}, now.count - row.emitted, out);
    row.emitted = now.count;
  }

  /// The same of all rows that show, with their numbers.
  void number(RankedPartition& partition, DeltaStream& out) {
    int64_t before = partition.from.before;
    auto at =
        partition.from.row ? partition.rows.iterator_to(*partition.from.row) : partition.rows.end();
    for (; at != partition.rows.end() && before < end(partition); ++at) {
      put_numbers(*at, partition.shown(*at, offset_, end(partition), before), out);
      before += at->weight;
    }
  }

  void put_numbers(RankedRow& row, RankedPartition::Shown now, DeltaStream& out) {
    if (now.count == row.emitted && now.from == row.emitted_from) return;
    const auto put = [&](int64_t from, int64_t count, int64_t weight) {
      for (int64_t i = from; i < from + count; ++i)
        builder_.add({row.row(), numbers_[static_cast<size_t>(i)].data()}, weight, out);
    };
    state_.before_change(row);
    put(row.emitted_from, row.emitted, -1);
    put(now.from, now.count, 1);
    row.emitted = now.count;
    row.emitted_from = now.from;
  }

  void clean() {
    for (auto* row : touched_rows_) {
      row->touched = false;
      if (row->weight == 0) state_.free_row(*row);
    }
    touched_rows_.clear();
    for (auto* partition : touched_) {
      partition->touched = false;
      if (prunes_) prune(*partition);
      if (partition->weight != 0) continue;
      closing_.remove(*partition, partition->key());
      state_.remove(*partition);
    }
    touched_.clear();
  }

  void forget(RankedPartition& partition) {
    while (!partition.rows.empty()) {
      auto& row = *partition.rows.begin();
      state_.before_change(row);
      row.weight = 0;
      partition.erase(row);
      state_.free_row(row);
    }
    state_.remove(partition);
  }

  /// Forgets what lies behind the last row shown.
  void prune(RankedPartition& partition) {
    const int64_t last = end(partition);
    while (!partition.rows.empty()) {
      auto& row = *partition.rows.rbegin();
      if (partition.weight - row.weight < last) return;
      state_.before_change(row);
      partition.weight -= row.weight;
      row.weight = 0;
      partition.erase(row);
      state_.free_row(row);
    }
  }

  const int64_t limit_, offset_;
  const std::optional<double> percent_;
  const bool numbered_;
  const bool append_only_;
  const bool prunes_;
  Evaluator partitions_;
  SortOrder order_;
  RowCodec key_codec_;
  ClosingPartitions<RankedPartition> closing_;
  RowCodec row_codec_, number_codec_;
  std::vector<std::string> numbers_;  // 1, 2, … encoded
  DeltaBuilder builder_;
  RankedPartitions state_;

  EncodedRows keys_, rows_;
  std::vector<RankedPartition*> touched_;
  std::vector<RankedRow*> touched_rows_;
};

}  // namespace

std::unique_ptr<Operator> make_top_n(duckdb::ClientContext& context, TopNSpec spec) {
  return std::make_unique<TopN>(context, std::move(spec));
}

}  // namespace millrace::flow
