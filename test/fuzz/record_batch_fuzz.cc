// The validator of record batches, and the walk over their records, which meets damaged files too.

#include <cstdint>
#include <string_view>

#include "base/crc32c.h"
#include "log/record_batch.h"
#include "test/fuzz/seeds.h"

namespace {
using namespace millrace;

constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;

void walk(std::string_view bytes) {
  size_t sum = 0;
  const auto each = [&](const log::RecordView& record) {
    for (const auto part : {record.key, record.value}) {
      if (part && !part->empty()) sum += part->size() + static_cast<uint8_t>(part->back());
    }
    for (const auto& header : record.headers) sum += header.key.size();
  };
  // A damaged batch is told as an error; what was read before it stays within bounds.
  (void)log::for_each_record(bytes, true, each);
  asm volatile("" : : "r"(sum));  // the bytes are read, whatever the optimizer thinks
}
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const auto compression :
       {log::Compression::kNone, log::Compression::kGzip, log::Compression::kSnappy,
        log::Compression::kLz4, log::Compression::kZstd}) {
    log::BatchBuilder builder(compression);
    builder.add(1000, "a key", "a value");
    builder.add(1001, std::nullopt, "another", {{"name", "value"}, {"null", std::nullopt}});
    builder.add(990, "tombstone", std::nullopt);
    seeds.push_back(builder.finish());
  }
  seeds.push_back(seeds[0] + seeds[4]);
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  const bool valid = log::validate_batches(bytes, true).has_value();
  if (valid != log::for_each_record(bytes, true, [](const log::RecordView&) {}).has_value() &&
      valid) {
    __builtin_trap();  // what the validator lets in must be readable
  }
  walk(bytes);
  // Past the checksum: the first batch gets a right one, and the records are looked into.
  const auto header = log::parse_batch_header(bytes);
  if (!header || header->total_bytes() > bytes.size()) return 0;
  const auto crc =
      crc32c(std::string_view(bytes).substr(kCrcFrom, header->total_bytes() - kCrcFrom));
  for (size_t i = 0; i < 4; ++i) bytes[kCrcAt + i] = static_cast<char>(crc >> (24 - 8 * i));
  const auto checked = log::validate_batches(bytes, true);
  if (checked) walk(bytes);
  return 0;
}
