#include "broker/detail/look_back.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <tuple>

#include "base/config.h"
#include "broker/detail/pipeline_batch.h"
#include "catalog/function.h"
#include "log/partition_log.h"
#include "log/record_batch.h"

namespace millrace::broker::detail {

namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

size_t bytes_of(const wasm::RecordView& record) {
  size_t bytes = record.key.value_or("").size() + record.value.value_or("").size();
  for (const auto& header : record.headers) {
    bytes += header.name.size() + header.value.value_or("").size();
  }
  return bytes;
}

void keep(const log::RecordView& record, const LookBackSource& source, wasm::OwnedBatch& out) {
  std::vector<wasm::HeaderView> headers;
  for (const auto& header : record.headers) {
    if (source.pipeline && is_hosts_header(header.key)) continue;
    headers.push_back({header.key, header.value});
  }
  if (!source.input.empty()) headers.push_back({kInputHeader, source.input});
  out.add({.timestamp = record.timestamp,
           .offset = record.offset,
           .key = record.key,
           .value = record.value,
           .headers = headers});
}

/// Reads all records from `from` on.
io::Task<Result<std::unique_ptr<wasm::OwnedBatch>>> read_from(const LookBackSource& source,
                                                              Offset from) {
  auto out = std::make_unique<wasm::OwnedBatch>();
  for (Offset at = from; at < source.end;) {
    auto reading = source.partition->read(at, kReadBytes, log::Isolation::kCommitted);
    MR_CO_TRY(auto read, co_await std::move(reading));
    log::leave_out_aborted(read);
    MR_CO_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (record.offset >= from && record.offset < source.end) keep(record, source, *out);
    }));
    if (read.next_offset <= at) break;
    at = read.next_offset;
  }
  co_return std::move(out);
}

/// `source` must live until it is done.
io::Task<Result<std::unique_ptr<wasm::OwnedBatch>>> read_source(const LookBackSource& source,
                                                                LookBack wanted, TimestampMs now) {
  const Offset start = source.partition->start_offset(), end = std::max(start, source.end);
  if (wanted.ms > 0) {
    auto finding = source.partition->offset_for_time(now - wanted.ms);
    MR_CO_TRY(const auto found, co_await std::move(finding));
    const Offset from = found.offset < 0 ? end : found.offset;
    const auto most = static_cast<Offset>(LookBack::kRecordsMax);
    auto reading = read_from(source, std::max({start, from, end - most}));
    co_return co_await std::move(reading);
  }
  // Offsets have gaps, so that so many of them may be fewer records.
  for (auto back = static_cast<Offset>(wanted.records);; back *= 4) {
    const Offset from = std::max(start, end - back);
    auto reading = read_from(source, from);
    MR_CO_TRY(auto read, co_await std::move(reading));
    const bool whole = from == start || read->bytes() > LookBack::kBytesMax;
    if (whole || read->size() >= wanted.records) co_return std::move(read);
  }
}

}  // namespace

Result<std::optional<LookBack>> look_back_of(const catalog::Transform& step) {
  const auto number = [&](const char* name, uint64_t most) -> Result<uint64_t> {
    const auto found = step.options.find(name);
    if (found == step.options.end()) return uint64_t{0};
    MR_TRY(const auto value, config::parse_integer(found->second));
    if (value >= 0 && static_cast<uint64_t>(value) <= most) return static_cast<uint64_t>(value);
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a look-back of {} is more than {}", value, most)};
  };
  LookBack wanted;
  constexpr uint64_t kYearMs = 366ull * 24 * 3600 * 1000;
  MR_TRY(wanted.records, number(catalog::kLookBackRecords, LookBack::kRecordsMax));
  MR_TRY(const auto ms, number(catalog::kLookBackMs, kYearMs));
  wanted.ms = static_cast<int64_t>(ms);
  if (wanted.records == 0 && wanted.ms == 0) return std::optional<LookBack>();
  return std::optional(wanted);
}

std::vector<LookBackSource> look_back_sources(const Topic& topic) {
  std::vector<LookBackSource> out;
  for (const auto& partition : topic.partitions) {
    out.push_back({.partition = partition, .end = partition->last_stable_offset()});
  }
  return out;
}

io::Task<Result<std::shared_ptr<const wasm::OwnedBatch>>> read_look_back(
    std::vector<LookBackSource> sources, LookBack wanted, TimestampMs now) {
  std::vector<std::unique_ptr<wasm::OwnedBatch>> parts;
  for (const auto& source : sources) {
    auto reading = read_source(source, wanted, now);
    MR_CO_TRY(auto part, co_await std::move(reading));
    parts.push_back(std::move(part));
  }
  std::vector<wasm::RecordView> all;
  for (const auto& part : parts) {
    const auto records = part->view().records;
    all.insert(all.end(), records.begin(), records.end());
  }
  for (size_t i = 0; i < all.size(); ++i) all[i].input = static_cast<uint32_t>(i);
  std::ranges::sort(all, [](const auto& a, const auto& b) {
    return std::tie(a.timestamp, a.input) < std::tie(b.timestamp, b.input);
  });
  const size_t most = wanted.ms > 0 ? LookBack::kRecordsMax : wanted.records;
  size_t count = 0;
  for (size_t bytes = 0; count < std::min(most, all.size()); ++count) {
    bytes += bytes_of(all[all.size() - 1 - count]);
    if (bytes > LookBack::kBytesMax) break;
  }
  auto out = std::make_shared<wasm::OwnedBatch>();
  for (const auto& record : all | std::views::drop(all.size() - count)) out->add(record);
  co_return std::shared_ptr<const wasm::OwnedBatch>(std::move(out));
}

}  // namespace millrace::broker::detail
