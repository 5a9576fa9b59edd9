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
    out.begin("emit on window close", 2);
    closing_.save(out);
    late_.save(out);
  }
  void freeze() override {
    Operator::freeze();
    saving_ = true;
    saved_until_.reset();
    before_.clear();
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    if (!Operator::save_some(out, bytes)) return false;
    if (!saving_) return true;
    const auto until = out.written() + bytes;
    auto at = saved_until_ ? held_.upper_bound(*saved_until_) : held_.begin();
    for (; at != held_.end(); ++at) {
      if (out.written() >= until) return false;
      const auto was = before_.find(at->first);
      save_row(at->first, was == before_.end() ? at->second : was->second, out);
      if (was != before_.end()) before_.erase(was);
      saved_until_ = at->first;
    }
    for (; !before_.empty(); before_.erase(before_.begin())) {  // what is not held any more
      if (out.written() >= until) return false;
      save_row(before_.begin()->first, before_.begin()->second, out);
    }
    out.number(false);
    saving_ = false;
    return true;
  }
  Result<> load(StateReader& in) override {
    in.begin("emit on window close", 2);
    closing_.load(in);
    late_.load(in);
    while (in.number<bool>()) {
      const auto time = in.number<int64_t>();
      const auto weight = in.number<int64_t>();
      std::string row(in.bytes());
      bytes_ += kRowBytes + row.size();
      held_[{time, std::move(row)}] = weight;
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
      before_change(*at);
      if (fresh) bytes_ += kRowBytes + at->first.second.size();
      at->second += delta.weights[i];
      if (at->second == 0) remove(at);
    }
    late_.add(delta, late, late_count);
  }

  using Held = std::map<std::pair<int64_t, std::string>, int64_t>;

  /// A weight of 0: the row was not there.
  static void save_row(const Held::key_type& key, int64_t weight, StateWriter& out) {
    if (weight == 0) return;
    out.number(true);
    out.number(key.first);
    out.number(weight);
    out.bytes(key.second);
  }
  void before_change(const Held::value_type& row) {
    if (saving_ && (!saved_until_ || *saved_until_ < row.first))
      before_.try_emplace(row.first, row.second);
  }

  Held::iterator remove(Held::iterator at) {
    before_change(*at);
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

  // Of what is frozen and not saved to its end: how far it is, and what has changed behind that.
  bool saving_ = false;
  std::optional<Held::key_type> saved_until_;
  Held before_;
};

}  // namespace

std::unique_ptr<Operator> make_emit_on_close(std::vector<std::string> names,
                                             duckdb::vector<duckdb::LogicalType> types) {
  return std::make_unique<EmitOnClose>(std::move(names), std::move(types));
}

}  // namespace millrace::flow
