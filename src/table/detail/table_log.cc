#include "table/detail/table_log.h"

#include <charconv>

namespace millrace::table {
namespace {

/// How many records of the transaction stand up to this one, when more follow.
constexpr std::string_view kMore = "millrace.more";
/// What a record takes besides key and value, at most; the header included.
constexpr size_t kRecordBytes = 96;

}  // namespace

TransactionWriter::TransactionWriter(size_t batch_bytes_max, TimestampMs timestamp)
    : batch_bytes_max_(batch_bytes_max), timestamp_(timestamp) {}

void TransactionWriter::flush_pending(bool last_of_batch) {
  std::vector<log::Header> headers;
  const std::string count = std::to_string(count_);
  if (last_of_batch) headers.push_back({kMore, count});
  builder_.add(timestamp_, key_,
               has_value_ ? std::optional<std::string_view>(value_) : std::nullopt, headers);
  pending_ = false;
  if (last_of_batch) batches_ += builder_.finish();
}

void TransactionWriter::add(std::string_view key, std::optional<std::string_view> value) {
  if (pending_) {
    const size_t bytes = builder_.bytes() + key_.size() + value_.size() + key.size() +
                         (value ? value->size() : 0) + 2 * kRecordBytes;
    flush_pending(bytes > batch_bytes_max_);
  }
  key_ = key;
  has_value_ = value.has_value();
  value_ = value.value_or(std::string_view());
  pending_ = true;
  ++count_;
}

std::string TransactionWriter::finish() {
  if (pending_) {
    flush_pending(false);
    batches_ += builder_.finish();
  }
  return std::move(batches_);
}

Result<std::optional<Offset>> torn_transaction(std::string_view tail) {
  std::optional<Offset> begin;
  MR_TRY(log::for_each_record(tail, true, [&](const log::RecordView& record) {
    begin.reset();
    for (const auto& [key, value] : record.headers) {
      if (key != kMore || !value) continue;
      int64_t count = 0;
      const auto [end, error] = std::from_chars(value->begin(), value->end(), count);
      if (error == std::errc() && count > 0 && count <= record.offset + 1)
        begin = record.offset + 1 - count;
    }
  }));
  return begin;
}

}  // namespace millrace::table
