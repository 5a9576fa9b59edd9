#include <algorithm>

#include "flow/detail/arrangement.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/operators.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

constexpr std::string_view kNoKey{"\0", 1};

/// EXCEPT ALL and INTERSECT ALL: how often a row stands on the left, less how often on the right,
/// or the smaller of the two. Keeps both counts of each distinct row.
class BagOperation : public Operator {
 public:
  BagOperation(std::vector<duckdb::LogicalType> types, bool except)
      : except_(except),
        codec_(std::move(types), RowCodec::Use::kKey),
        builder_({&codec_}),
        rows_(false, true) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) take(*chunk, true);
    for (const auto& chunk : inputs[1]->chunks) take(*chunk, false);
    for (auto* row : touched_) {
      const int64_t left = row->weight;
      auto& [right, emitted] = row->counts();
      const int64_t now = except_ ? std::max<int64_t>(left - right, 0) : std::min(left, right);
      if (now != emitted) builder_.add({row->bytes()}, now - emitted, out);
      emitted = now;
    }
    builder_.flush(out);
    for (auto* row : touched_) {
      row->touched = false;
      if (row->weight == 0 && row->counts().matches == 0) rows_.remove(*row);
    }
    touched_.clear();
    return {};
  }

  size_t state_rows() const override { return rows_.rows(); }
  size_t state_bytes() const override { return rows_.memory_bytes(); }
  bool can_save() const override { return true; }
  void freeze() override { rows_.freeze(); }
  bool save_some(StateWriter& out, size_t bytes) override { return rows_.save_some(out, bytes); }
  Result<> load(StateReader& in) override {
    rows_.load(in);
    return in.result();
  }
  std::string describe() const override { return except_ ? "except all" : "intersect all"; }

 private:
  void take(const Delta& delta, bool is_left) {
    codec_.encode(delta.rows, encoded_);
    auto& all = rows_.find_or_add(kNoKey, hash_bytes(kNoKey));
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      auto& row = rows_.add(all, encoded_[i], is_left ? delta.weights[i] : 0).row;
      if (!is_left) row.counts().matches += delta.weights[i];
      if (row.touched) continue;
      row.touched = true;
      touched_.push_back(&row);
    }
  }

  const bool except_;
  RowCodec codec_;
  DeltaBuilder builder_;
  Arrangement rows_;  // weight: on the left; matches: on the right
  EncodedRows encoded_;
  std::vector<Arrangement::Row*> touched_;
};

}  // namespace

std::unique_ptr<Operator> make_bag_operation(std::vector<duckdb::LogicalType> types, bool except) {
  return std::make_unique<BagOperation>(std::move(types), except);
}

}  // namespace millrace::flow
