#include <map>

#include "flow/detail/closing.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/operators.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

/// EMIT ON WINDOW CLOSE. What is held stands by time and bytes, so that the order in which it comes
/// out is a function of the rows alone.
class EmitOnClose : public Operator {
 public:
  EmitOnClose(std::vector<std::string> names, duckdb::vector<duckdb::LogicalType> types)
      : codec_({types.begin(), types.end()}, RowCodec::Use::kRow),
        builder_({&codec_}),
        late_(std::move(names)) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    unplaced_.insert(unplaced_.end(), inputs[0]->chunks.begin(), inputs[0]->chunks.end());
    // Rows of the epoch that closes a window still belong to it, by the frontier before.
    const bool known = closing_.column().has_value();
    if (known) place_all();
    closing_.advance(inputs[0]->frontiers);
    if (!closing_.column()) return {};
    if (!known) place_all(Closing::kNever);
    emit(out);
    out.frontiers.push_back({*closing_.column(), closing_.below_us()});
    return {};
  }

  size_t state_rows() const override { return held_.size(); }
  size_t state_bytes() const override { return bytes_; }
  uint64_t late_rows() const override { return late_.count(); }
  void take_late(std::vector<LateRows>& out) override { late_.take(out); }
  bool waits_for_frontier() const override { return !held_.empty(); }
  // Before a column is known to be bounded all chunks are kept as they came: that is not saved.
  bool can_save() const override { return unplaced_.empty(); }
  void save(StateWriter& out) const override {
    out.begin("emit on window close", 1);
    closing_.save(out);
    late_.save(out);
    out.number(static_cast<uint64_t>(held_.size()));
    for (const auto& [row, weight] : held_) {
      out.number(row.first);
      out.bytes(row.second);
      out.number(weight);
    }
  }
  Result<> load(StateReader& in) override {
    in.begin("emit on window close", 1);
    closing_.load(in);
    late_.load(in);
    const auto count = in.number<uint64_t>();
    for (uint64_t i = 0; i < count && in.ok(); ++i) {
      const auto time = in.number<int64_t>();
      std::string row(in.bytes());
      bytes_ += kRowBytes + row.size();
      held_[{time, std::move(row)}] = in.number<int64_t>();
    }
    return in.result();
  }
  std::string describe() const override { return "emit on window close"; }

 private:
  // A row of the map beside its bytes: the node's links, the key, the weight.
  static constexpr size_t kRowBytes = 96;

  void place_all(std::optional<int64_t> below = std::nullopt) {
    for (const auto& chunk : unplaced_) place(*chunk, below.value_or(closing_.below_us()));
    unplaced_.clear();
  }

  void place(const Delta& delta, int64_t below) {
    codec_.encode(delta.rows, encoded_);
    duckdb::Vector times_vector(const_cast<duckdb::Vector&>(delta.rows.data[*closing_.column()]));
    const TimeColumn times(times_vector, delta.weights.size());
    duckdb::SelectionVector late(delta.weights.size());
    size_t late_count = 0;
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      const auto time = times[i];
      if (!time || *time < below) {  // no watermark passes a row without a time
        late.set_index(late_count++, i);
        continue;
      }
      const auto [at, fresh] = held_.try_emplace({*time, std::string(encoded_[i])}, 0);
      if (fresh) bytes_ += kRowBytes + at->first.second.size();
      at->second += delta.weights[i];
      if (at->second == 0) remove(at);
    }
    late_.add(delta, late, late_count);
  }

  using Held = std::map<std::pair<int64_t, std::string>, int64_t>;

  Held::iterator remove(Held::iterator at) {
    bytes_ -= kRowBytes + at->first.second.size();
    return held_.erase(at);
  }

  void emit(DeltaStream& out) {
    const auto end = held_.lower_bound({closing_.below_us(), {}});
    for (auto at = held_.begin(); at != end; ++at)
      builder_.add({at->first.second.data()}, at->second, out);
    builder_.flush(out);
    for (auto at = held_.begin(); at != end;) at = remove(at);
  }

  RowCodec codec_;
  DeltaBuilder builder_;
  LateCollector late_;
  Closing closing_;
  EncodedRows encoded_;
  std::vector<std::shared_ptr<const Delta>> unplaced_;  // before a column is known to be bounded
  Held held_;                                           // by time and row: weight
  size_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<Operator> make_emit_on_close(std::vector<std::string> names,
                                             duckdb::vector<duckdb::LogicalType> types) {
  return std::make_unique<EmitOnClose>(std::move(names), std::move(types));
}

}  // namespace millrace::flow
