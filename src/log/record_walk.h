#pragma once

#include <string>
#include <string_view>

#include "log/detail/wire.h"
#include "log/record_batch.h"

namespace millrace::log {

namespace detail {
/// The records of one batch; `storage` keeps them when they were compressed. Errors:
/// kCorruptRecord.
Result<std::string_view> records_of(const BatchHeader& header, std::string_view batch,
                                    std::string& storage);
Error corrupt(const BatchHeader& header, std::string_view why);

/// Takes one record off `from`; `record.offset` becomes its delta.
inline bool read_record(Reader& from, bool with_headers, RecordView& record) {
  const int64_t length = from.varint();
  Reader body(from.bytes(length));
  if (!from.ok()) return false;
  body.big_endian<int8_t>();  // attributes: none are defined
  record.timestamp = body.varint();
  record.offset = body.varint();
  record.key = body.nullable_bytes();
  record.value = body.nullable_bytes();
  const int64_t headers = body.varint();
  // A header has two bytes at the least.
  if (!body.ok() || headers < 0 || static_cast<uint64_t>(headers) > body.left() / 2) return false;
  record.headers.clear();
  for (int64_t i = 0; i < headers; ++i) {
    const auto key = body.nullable_bytes();
    const auto value = body.nullable_bytes();
    if (!body.ok() || !key) return false;
    if (with_headers) record.headers.push_back({*key, value});
  }
  return body.ok() && body.empty();
}
}  // namespace detail

/// for_each_record() for loops that are hot: the compiler knows `each`.
template <typename Each>
Result<> walk_records(std::string_view bytes, bool with_headers, const Each& each) {
  RecordView record;
  std::string storage;
  while (!bytes.empty()) {
    const auto header = parse_batch_header(bytes);
    if (!header || header->total_bytes() > bytes.size())
      return Error{ErrorCode::kCorruptRecord, "a record batch is cut short, or is none"};
    const auto batch = bytes.substr(0, header->total_bytes());
    bytes.remove_prefix(batch.size());
    if (header->control()) continue;
    MR_TRY(const auto records, detail::records_of(*header, batch, storage));
    detail::Reader reader(records);
    for (int32_t i = 0; i < header->record_count; ++i) {
      if (!detail::read_record(reader, with_headers, record))
        return detail::corrupt(*header, "record " + std::to_string(i) + " has impossible lengths");
      // Wraps like the producer's own arithmetic: these numbers come from outside.
      const auto delta = static_cast<uint64_t>(record.timestamp);
      const auto base = static_cast<uint64_t>(header->base_timestamp);
      record.timestamp = header->log_append_time() ? header->max_timestamp
                                                   : static_cast<TimestampMs>(base + delta);
      record.offset = static_cast<Offset>(static_cast<uint64_t>(header->base_offset) +
                                          static_cast<uint64_t>(record.offset));
      each(record);
    }
    if (!reader.empty()) return detail::corrupt(*header, "bytes stand after the last record");
  }
  return {};
}

}  // namespace millrace::log
