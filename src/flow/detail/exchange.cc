#include "flow/detail/exchange.h"

#include <algorithm>
#include <duckdb/common/vector_operations/vector_operations.hpp>

namespace millrace::flow {

namespace {

/// The rows `sel[0..count)` of `in` for another thread. Plain columns share its values; nested ones
/// are copied, because their inner vectors would be shared.
std::shared_ptr<const Delta> rows_for_another(const Delta& in, const duckdb::SelectionVector& sel,
                                              size_t count) {
  auto out = std::make_shared<Delta>();
  if (in.rows.ColumnCount() > 0) out->rows.InitializeEmpty(in.rows.GetTypes());
  for (size_t c = 0; c < in.rows.ColumnCount(); ++c) {
    const auto& type = in.rows.data[c].GetType();
    if (!type.IsNested()) {
      if (count == in.weights.size())
        out->rows.data[c].Reference(in.rows.data[c]);
      else
        out->rows.data[c].Slice(in.rows.data[c], sel, count);
      continue;
    }
    duckdb::Vector copy(type, std::max<size_t>(count, 1));
    duckdb::VectorOperations::Copy(in.rows.data[c], copy, sel, count, 0, 0);
    out->rows.data[c].Reference(copy);
  }
  out->rows.SetCardinality(count);
  out->weights.resize(count);
  for (size_t i = 0; i < count; ++i) out->weights[i] = in.weights[sel.get_index(i)];
  return out;
}

}  // namespace

Exchange::Exchange(std::vector<std::unique_ptr<Evaluator>> keys, size_t shares) : shares_(shares) {
  for (auto& own : keys) {
    auto& producer = producers_.emplace_back();
    producer.keys = std::move(own);
    producer.parts.resize(shares);
  }
}

void Exchange::split(size_t at, const DeltaStream& in) {
  auto& producer = producers_[at];
  for (auto& part : producer.parts) part.frontiers = in.frontiers;
  for (const auto& chunk : in.chunks) {
    assign(producer, chunk);
    const auto& share_of = producer.share_of;
    std::vector<size_t> counts(shares_);
    for (const uint32_t share : share_of) ++counts[share];
    for (size_t share = 0; share < shares_; ++share) {
      if (counts[share] == 0) continue;
      duckdb::SelectionVector sel(counts[share]);
      size_t count = 0;
      for (size_t row = 0; row < share_of.size(); ++row)
        if (share_of[row] == share) sel.set_index(count++, row);
      producer.parts[share].chunks.push_back(rows_for_another(*chunk, sel, count));
    }
  }
}

/// Rows whose keys cannot be computed go to the first share: the operator there tells of them.
void Exchange::assign(Producer& producer, const std::shared_ptr<const Delta>& chunk) const {
  producer.share_of.assign(chunk->weights.size(), 0);
  DeltaStream ignored;
  duckdb::DataChunk keys;
  const auto evaluate = [&](const duckdb::DataChunk& rows) {
    duckdb::DataChunk values;
    producer.keys->evaluate(rows, values);
    keys.Move(values);
  };
  const auto good = evaluate_good(chunk, 0, ignored, evaluate);
  const size_t count = good->weights.size();
  if (count == 0) return;
  duckdb::Vector hashes(duckdb::LogicalType::HASH, count);
  keys.Hash(hashes);
  duckdb::UnifiedVectorFormat values;
  hashes.ToUnifiedFormat(count, values);
  const auto* hash = duckdb::UnifiedVectorFormat::GetData<duckdb::hash_t>(values);
  std::vector<RowFailure> failures;
  if (good != chunk)
    failures = failing_rows(chunk->rows, [&](const auto& rows) { evaluate(rows); });
  auto failure = failures.begin();
  for (size_t row = 0, i = 0; i < count; ++row) {
    if (failure != failures.end() && failure->row == row) {
      ++failure;
      continue;
    }
    const uint64_t high = hash[values.sel->get_index(i++)] >> 32;
    producer.share_of[row] = static_cast<uint32_t>(high * shares_ >> 32);
  }
}

DeltaStream Exchange::gather(size_t share) const {
  std::vector<const DeltaStream*> parts;
  for (const auto& producer : producers_) parts.push_back(&producer.parts[share]);
  return concat(parts);
}

void Exchange::clear() {
  for (auto& producer : producers_)
    for (auto& part : producer.parts) part = {};
}

std::vector<Frontier> meet(std::span<const DeltaStream* const> streams) {
  std::vector<Frontier> out;
  for (auto frontier : streams[0]->frontiers) {
    bool everywhere = true;
    for (const auto* stream : streams.subspan(1)) {
      bool here = false;
      for (const auto& other : stream->frontiers) {
        if (other.column != frontier.column) continue;
        here = true;
        frontier.time_us = std::min(frontier.time_us, other.time_us);
      }
      everywhere &= here;
    }
    if (everywhere) out.push_back(frontier);
  }
  return out;
}

DeltaStream concat(std::span<const DeltaStream* const> streams) {
  DeltaStream out;
  for (const auto* stream : streams)
    out.chunks.insert(out.chunks.end(), stream->chunks.begin(), stream->chunks.end());
  out.frontiers = meet(streams);
  return out;
}

DeltaStream part_of(const DeltaStream& stream, size_t part, size_t parts) {
  DeltaStream out;
  const size_t count = stream.chunks.size();
  out.chunks.assign(stream.chunks.begin() + static_cast<ptrdiff_t>(count * part / parts),
                    stream.chunks.begin() + static_cast<ptrdiff_t>(count * (part + 1) / parts));
  out.frontiers = stream.frontiers;
  return out;
}

DeltaStream hand_over(const DeltaStream& stream) {
  DeltaStream out;
  out.frontiers = stream.frontiers;
  for (const auto& chunk : stream.chunks) {
    const duckdb::SelectionVector all(0, chunk->weights.size());
    out.chunks.push_back(rows_for_another(*chunk, all, chunk->weights.size()));
  }
  return out;
}

}  // namespace millrace::flow
