#include <duckdb/common/vector_operations/vector_operations.hpp>

#include "flow/detail/source.h"

namespace millrace::flow {

namespace {

constexpr Offset kBlock = STANDARD_VECTOR_SIZE;

/// The rows of `parts` as one chunk: shared when they are one run, else copied together.
void join(std::span<const Span> parts, std::span<const size_t> columns, ReadChunk& out) {
  size_t count = 0;
  for (const auto& part : parts) count += part.end - part.begin;
  for (const auto& [piece, begin, end] : parts) {
    if (piece->weights.empty())
      out.weights.resize(out.weights.size() + (end - begin), 1);
    else
      out.weights.insert(out.weights.end(), piece->weights.begin() + begin,
                         piece->weights.begin() + end);
  }
  duckdb::DataChunk first;
  project(*parts[0].piece, columns, first);
  if (columns.empty()) {
    out.rows.SetCardinality(count);
    return;
  }
  if (parts.size() == 1) {
    out.rows.InitializeEmpty(first.GetTypes());
    for (size_t i = 0; i < columns.size(); ++i) {
      if (count == first.size())
        out.rows.data[i].Reference(first.data[i]);
      else
        out.rows.data[i].Slice(first.data[i], parts[0].begin, parts[0].end);
    }
  } else {
    make_chunk(out.rows, first.GetTypes(), count);
    size_t at = 0;
    for (const auto& [piece, begin, end] : parts) {
      duckdb::DataChunk rows;
      project(*piece, columns, rows);
      for (size_t i = 0; i < columns.size(); ++i)
        duckdb::VectorOperations::Copy(rows.data[i], out.rows.data[i], end, begin, at);
      at += end - begin;
    }
  }
  out.rows.SetCardinality(count);
}

}  // namespace

void cut_chunks(std::span<const Span> spans, std::span<const size_t> columns,
                const std::function<void(ReadChunk&)>& each) {
  std::vector<Span> parts;
  Offset block = -1;
  const auto flush = [&] {
    if (parts.empty()) return;
    ReadChunk chunk;
    join(parts, columns, chunk);
    each(chunk);
    parts.clear();
  };
  for (const auto& span : spans) {
    const auto& offsets = span.piece->offsets;
    size_t begin = span.begin;
    while (begin < span.end) {
      const Offset at = offsets[begin] / kBlock;
      if (at != block) flush();
      block = at;
      const auto end =
          std::lower_bound(offsets.begin() + begin, offsets.begin() + span.end, (at + 1) * kBlock);
      parts.push_back({span.piece, begin, static_cast<size_t>(end - offsets.begin())});
      begin = parts.back().end;
    }
  }
  flush();
}

}  // namespace millrace::flow
