#include "flow/detail/merge_rows.h"

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>

#include "flow/detail/arrangement.h"
#include "flow/detail/evaluator.h"
#include "flow/detail/row_codec.h"

namespace millrace::flow {

namespace {

struct HashRow {
  using is_avalanching = void;
  size_t operator()(std::string_view row) const { return hash_bytes(row); }
};

class MergeRows : public StatelessOperator {
 public:
  explicit MergeRows(std::vector<duckdb::LogicalType> types)
      : codec_(std::move(types), RowCodec::Use::kRow) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    out.frontiers = inputs[0]->frontiers;
    const auto& chunks = inputs[0]->chunks;
    // The first of each kind of rows, and where its weight stands.
    boost::unordered_flat_map<std::string_view, int64_t*, HashRow> firsts;
    std::deque<EncodedRows> encoded;  // what `firsts` points at
    std::vector<std::vector<int64_t>> weights;
    for (const auto& chunk : chunks) {
      codec_.encode(chunk->rows, encoded.emplace_back());
      auto& sums = weights.emplace_back(chunk->weights.size(), 0);
      for (size_t row = 0; row < sums.size(); ++row)
        *firsts.try_emplace(encoded.back()[row], &sums[row]).first->second += chunk->weights[row];
    }
    for (size_t i = 0; i < chunks.size(); ++i) emit(chunks[i], weights[i], out);
    return {};
  }

  bool keeps_columns() const override { return true; }
  std::string describe() const override { return "merge equal rows"; }

 private:
  static void emit(const std::shared_ptr<const Delta>& chunk, std::vector<int64_t>& weights,
                   DeltaStream& out) {
    duckdb::SelectionVector sel(std::max<size_t>(weights.size(), 1));
    auto delta = std::make_shared<Delta>();
    for (size_t row = 0; row < weights.size(); ++row) {
      if (weights[row] == 0) continue;
      sel.set_index(delta->weights.size(), row);
      delta->weights.push_back(weights[row]);
    }
    if (delta->weights.empty()) return;
    if (delta->weights == chunk->weights) return out.chunks.push_back(chunk);
    slice_chunk(chunk->rows, sel, delta->weights.size(), delta->rows);
    out.chunks.push_back(std::move(delta));
  }

  const RowCodec codec_;
};

}  // namespace

std::unique_ptr<Operator> make_merge_rows(std::vector<duckdb::LogicalType> types) {
  return std::make_unique<MergeRows>(std::move(types));
}

}  // namespace millrace::flow
