#include "log/remake.h"

#include "log/detail/rebatch.h"

namespace millrace::log {

using detail::RecordSlice;

std::vector<BatchHeader> batch_headers(std::string_view batches) {
  std::vector<BatchHeader> headers;
  while (const auto header = parse_batch_header(batches)) {
    headers.push_back(*header);
    batches.remove_prefix(std::min(header->total_bytes(), batches.size()));
  }
  return headers;
}

struct BatchContents::Impl {
  std::string_view batch;
  detail::RecordWalk walk;  // holds what was decompressed
  std::vector<RecordSlice> slices;
  std::vector<RecordView> records;
};

Result<BatchContents> BatchContents::open(std::string_view batch, size_t inflated_max) {
  MR_TRY(auto walk, detail::RecordWalk::open(batch, inflated_max));
  auto impl = std::make_unique<Impl>(Impl{walk.batch(), std::move(walk), {}, {}});
  const auto& header = impl->walk.header();
  const auto count = static_cast<size_t>(std::max(header.record_count, 0));
  // A record has seven bytes at the least: a count from outside reserves no more than is there.
  const size_t most = std::min(count, inflated_max / 7);
  impl->slices.reserve(most);
  impl->records.reserve(most);
  RecordSlice slice;
  for (;;) {
    MR_TRY(const bool more, impl->walk.next(slice));
    if (!more) break;
    impl->slices.push_back(slice);
    auto& record = impl->records.emplace_back();
    // Wraps like the producer's own arithmetic: these numbers come from outside.
    record.offset = static_cast<Offset>(static_cast<uint64_t>(header.base_offset) +
                                        static_cast<uint64_t>(slice.offset_delta));
    record.timestamp =
        header.log_append_time() ? header.max_timestamp : detail::record_timestamp(header, slice);
    record.key = slice.key;
    record.value = slice.value;
    detail::RecordWalk::take_headers(slice, record.headers);
  }
  return BatchContents(std::move(impl));
}

BatchContents::BatchContents(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BatchContents::BatchContents(BatchContents&&) noexcept = default;
BatchContents& BatchContents::operator=(BatchContents&&) noexcept = default;
BatchContents::~BatchContents() = default;

const BatchHeader& BatchContents::header() const { return impl_->walk.header(); }
const std::vector<RecordView>& BatchContents::records() const { return impl_->records; }

std::string_view BatchContents::bytes() const { return impl_->walk.records(); }

struct BatchRemaker::Impl {
  const BatchContents::Impl& contents;
  detail::BatchRewriter rewriter;
};

BatchRemaker::BatchRemaker(const BatchContents& contents)
    : impl_(std::make_unique<Impl>(
          Impl{*contents.impl_, detail::BatchRewriter(contents.impl_->batch)})) {}
BatchRemaker::~BatchRemaker() = default;

void BatchRemaker::keep(size_t i) { impl_->rewriter.keep(impl_->contents.slices[i]); }

void BatchRemaker::put(size_t i, const RecordView& instead) {
  impl_->rewriter.put(impl_->contents.slices[i].offset_delta, instead);
}

std::string BatchRemaker::finish() {
  return impl_->rewriter.finish(impl_->contents.walk.header().compression());
}

}  // namespace millrace::log
