#include "log/recompress.h"

#include <fmt/format.h>

#include <algorithm>

#include "log/detail/rebatch.h"

namespace millrace::log {

namespace {
// How many times its largest allowed size a batch may become when it is decompressed: more than
// honest data does, and enough to keep a few bytes from taking all the memory.
constexpr size_t kInflation = 32;
constexpr size_t kInflatedBytesLeast = 16u << 20;

Error corrupt(const BatchHeader& header, std::string_view why) {
  return Error{
      ErrorCode::kCorruptRecord,
      fmt::format("the record batch at offset {} is damaged: {}", header.base_offset, why)};
}

Result<> take_one(std::string_view batch, const IntakeRules& rules, std::string& out) {
  MR_TRY(auto walk, detail::RecordWalk::open(batch, rules.inflated_bytes_max));
  const auto& header = walk.header();
  const bool remake = rules.compression && *rules.compression != header.compression();
  detail::BatchRewriter rewriter(batch);
  detail::RecordSlice record;
  for (int32_t i = 0;; ++i) {
    MR_TRY(const bool more, walk.next(record));
    if (!more) break;
    if (record.offset_delta != i) return corrupt(header, "offsets are not in sequence");
    if (rules.keys_required && !record.key) {
      return Error{
          ErrorCode::kInvalidRecord,
          fmt::format("record {} of the batch has no key, which a compacted topic needs", i)};
    }
    if (remake) rewriter.keep(record);
  }
  if (remake) {
    out += rewriter.finish(*rules.compression, rules.level);
  } else {
    out += batch;
  }
  return {};
}
}  // namespace

IntakeRules intake_rules(const LogConfig& config, bool keys_required) {
  IntakeRules rules;
  rules.keys_required = keys_required;
  rules.compression = config.compression;
  rules.level = config.compression_level;
  rules.batch_bytes_max = config.batch_bytes_max;
  rules.inflated_bytes_max = std::clamp(config.batch_bytes_max * kInflation, kInflatedBytesLeast,
                                        detail::kInflatedBytesMax);
  return rules;
}

Result<std::string> take_in(std::string batches, const IntakeRules& rules) {
  std::string out;
  std::string_view left = batches;
  while (const auto header = parse_batch_header(left)) {
    const auto batch = left.substr(0, header->total_bytes());
    left.remove_prefix(batch.size());
    if (batch.size() > rules.batch_bytes_max) {
      return Error{ErrorCode::kRecordTooLarge,
                   fmt::format("a record batch of {} bytes is larger than the {} that the topic "
                               "allows (max.message.bytes)",
                               batch.size(), rules.batch_bytes_max)};
    }
    MR_TRY(take_one(batch, rules, out));
  }
  return out;
}

}  // namespace millrace::log
