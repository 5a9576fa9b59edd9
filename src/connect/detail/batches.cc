#include "connect/detail/batches.h"

#include <limits>

namespace millrace::connect {

void Batches::add(const PartitionPtr& partition, const wasm::RecordView& record) {
  headers_.clear();
  for (const auto& header : record.headers) headers_.push_back({header.name, header.value});
  const size_t bytes = record.key.value_or("").size() + record.value.value_or("").size();
  builder(partition, bytes).add(record.timestamp, record.key, record.value, headers_);
}

log::BatchBuilder& Batches::builder(const PartitionPtr& partition, size_t bytes) {
  auto& open = open_[partition.get()];
  if (!open.piece.partition) open.piece.partition = partition;
  if (open.builder.count() > 0 && open.builder.bytes() + bytes > batch_bytes_) seal(open);
  return open.builder;
}

void Batches::seal(Open& open) {
  if (open.builder.count() == 0) return;
  auto& sequence = sequences_[open.piece.partition.get()];
  const auto count = static_cast<int64_t>(open.builder.count());
  auto batch = open.builder.finish();
  log::stamp_transactional(batch, {producer_.id, producer_.epoch, sequence});
  constexpr int64_t kWraps = int64_t{std::numeric_limits<int32_t>::max()} + 1;
  sequence = static_cast<int32_t>((sequence + count) % kWraps);
  open.piece.batches += batch;
}

std::vector<Piece> Batches::finish() {
  std::vector<Piece> pieces;
  for (auto& [partition, open] : open_) {
    seal(open);
    if (!open.piece.batches.empty()) pieces.push_back(std::move(open.piece));
  }
  open_.clear();
  return pieces;
}

}  // namespace millrace::connect
