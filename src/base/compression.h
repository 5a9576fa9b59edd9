#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

/// The codecs of Kafka record batches: a gzip member, a snappy block (bare, or in the framing of
/// the Java library xerial), an LZ4 frame, a zstd frame.
enum class Codec { kGzip, kSnappy, kLz4, kZstd };

/// Compresses at `level`, by the codec's own scale; 0 is its default. Snappy has no levels, and
/// gives a bare block, which every client reads.
std::string compress(Codec codec, std::string_view bytes, int level = 0);

/// Decompresses all of `bytes`, from outside. Never makes more than `bytes_max`, so that a few
/// bytes cannot take all the memory. Errors: kCorruptRecord, kRecordTooLarge.
Result<std::string> decompress(Codec codec, std::string_view bytes, size_t bytes_max);

}  // namespace millrace
