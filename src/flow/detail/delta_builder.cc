#include "flow/detail/delta_builder.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>

#include "flow/detail/arrangement.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

DeltaBuilder::DeltaBuilder(std::vector<const RowCodec*> parts) : parts_(std::move(parts)) {
  for (const auto* codec : parts_)
    types_.insert(types_.end(), codec->types().begin(), codec->types().end());
  pieces_.resize(parts_.size());
}

void DeltaBuilder::add(std::initializer_list<const char*> pieces, int64_t weight,
                       DeltaStream& out) {
  size_t i = 0;
  for (const char* piece : pieces) pieces_[i++].push_back(piece);
  weights_.push_back(weight);
  if (weights_.size() == STANDARD_VECTOR_SIZE) flush(out);
}

void DeltaBuilder::flush(DeltaStream& out) {
  if (weights_.empty()) return;
  auto delta = std::make_shared<Delta>();
  make_chunk(delta->rows, types_, weights_.size());
  size_t column = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    parts_[i]->decode(pieces_[i], delta->rows, column);
    column += parts_[i]->types().size();
    pieces_[i].clear();
  }
  delta->rows.SetCardinality(weights_.size());
  delta->weights = std::move(weights_);
  weights_ = {};
  out.chunks.push_back(std::move(delta));
}

void consolidate(const std::vector<duckdb::LogicalType>& types, DeltaStream& stream) {
  // Without a retraction nothing can cancel out.
  const auto retracts = [](const auto& chunk) {
    return std::any_of(chunk->weights.begin(), chunk->weights.end(),
                       [](int64_t weight) { return weight < 0; });
  };
  if (std::none_of(stream.chunks.begin(), stream.chunks.end(), retracts)) return;
  struct Seen {
    const Delta* chunk;
    size_t row;
    int64_t weight;
  };
  struct Hash {
    using is_avalanching = void;
    size_t operator()(std::string_view bytes) const { return hash_bytes(bytes); }
  };
  const RowCodec codec(types, RowCodec::Use::kRow);
  std::vector<EncodedRows> encoded(stream.chunks.size());
  std::vector<Seen> rows;  // in the order in which they came
  boost::unordered_flat_map<std::string_view, size_t, Hash> places;
  bool changed = false;
  for (size_t c = 0; c < stream.chunks.size(); ++c) {
    const Delta& chunk = *stream.chunks[c];
    codec.encode(chunk.rows, encoded[c]);
    for (size_t i = 0; i < chunk.weights.size(); ++i) {
      const auto [at, fresh] = places.try_emplace(encoded[c][i], rows.size());
      changed |= !fresh;
      if (fresh)
        rows.push_back({&chunk, i, chunk.weights[i]});
      else
        rows[at->second].weight += chunk.weights[i];
    }
  }
  if (!changed) return;

  std::vector<std::shared_ptr<const Delta>> left;
  size_t next = 0;
  for (const auto& chunk : stream.chunks) {
    auto kept = std::make_shared<Delta>();
    duckdb::SelectionVector sel(chunk->weights.size());
    for (; next < rows.size() && rows[next].chunk == chunk.get(); ++next) {
      if (rows[next].weight == 0) continue;
      sel.set_index(kept->weights.size(), rows[next].row);
      kept->weights.push_back(rows[next].weight);
    }
    if (kept->weights.empty()) continue;
    slice_chunk(chunk->rows, sel, kept->weights.size(), kept->rows);
    left.push_back(std::move(kept));
  }
  stream.chunks = std::move(left);
}

}  // namespace millrace::flow
