#include "base/compression.h"

#include <fmt/format.h>
#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

namespace millrace {

namespace {
constexpr size_t kChunk = 64 * 1024;

Error damaged(std::string_view codec, std::string_view why) {
  return Error{ErrorCode::kCorruptRecord, fmt::format("the {} data is damaged: {}", codec, why)};
}
Error too_large(size_t bytes_max) {
  return Error{ErrorCode::kRecordTooLarge,
               fmt::format("a batch decompresses to more than {} bytes", bytes_max)};
}

/// Room for the next piece of output: doubles, up to one byte past the limit, which tells "full"
/// from "too much".
size_t grow(std::string& out, size_t used, size_t bytes_max) {
  if (used == out.size()) {
    const size_t wanted = std::min(std::max(used * 2, kChunk), bytes_max + 1);
    out.resize_and_overwrite(wanted, [wanted](char*, size_t) { return wanted; });
  }
  return out.size() - used;
}

std::string gzip(std::string_view bytes, int level) {
  z_stream z{};
  MR_CHECK(::deflateInit2(&z, level == 0 ? Z_DEFAULT_COMPRESSION : level, Z_DEFLATED, 15 + 16, 8,
                          Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(::deflateBound(&z, bytes.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  const int end = ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  MR_CHECK(end == Z_STREAM_END);
  return out;
}

Result<std::string> gunzip(std::string_view bytes, size_t bytes_max) {
  // The last four bytes tell how much the last member holds: too much is refused unseen.
  uint32_t told = 0;
  for (size_t i = 0; i < 4 && bytes.size() >= 18; ++i) {
    told = told << 8 | static_cast<uint8_t>(bytes[bytes.size() - 1 - i]);
  }
  if (told > bytes_max) return too_large(bytes_max);
  z_stream z{};
  if (::inflateInit2(&z, 15 + 16) != Z_OK) return damaged("gzip", "no memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&z, ::inflateEnd);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  size_t used = 0;
  for (;;) {
    const size_t room = grow(out, used, bytes_max);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + used);
    z.avail_out = static_cast<uInt>(room);
    const int end = ::inflate(&z, Z_NO_FLUSH);
    used += room - z.avail_out;
    if (used > bytes_max) return too_large(bytes_max);
    if (end == Z_STREAM_END && z.avail_in > 0) {
      // A gzip file may be several members in a row.
      if (::inflateReset(&z) != Z_OK) return damaged("gzip", "a second member");
      continue;
    }
    if (end == Z_STREAM_END) break;
    if (end != Z_OK) return damaged("gzip", z.msg ? z.msg : "cut short");
  }
  out.resize(used);
  return out;
}

Result<> unsnap_block(std::string_view block, size_t bytes_max, std::string& out) {
  size_t length = 0;
  if (!snappy::GetUncompressedLength(block.data(), block.size(), &length)) {
    return damaged("snappy", "no length");
  }
  // A snappy block cannot shrink below 1/21 of its contents: an honest length is near its size.
  if (length > bytes_max - out.size() || length / 32 > block.size()) {
    return length > bytes_max - out.size() ? too_large(bytes_max)
                                           : damaged("snappy", "the length is impossible");
  }
  const size_t before = out.size();
  // The string may have more room than was asked for, and says so: the length is ours.
  const size_t after = before + length;
  out.resize_and_overwrite(after, [after](char*, size_t) { return after; });
  if (!snappy::RawUncompress(block.data(), block.size(), out.data() + before)) {
    return damaged("snappy", "a block does not decode");
  }
  return {};
}

/// xerial's framing: 8 bytes of magic, two 4-byte versions, then blocks after 4-byte big-endian
/// lengths. Source: SnappyOutputStream of snappy-java.
Result<std::string> unsnap(std::string_view bytes, size_t bytes_max) {
  constexpr std::string_view kMagic("\x82SNAPPY\0", 8);
  std::string out;
  if (!bytes.starts_with(kMagic)) {
    MR_TRY(unsnap_block(bytes, bytes_max, out));
    return out;
  }
  if (bytes.size() < 16) return damaged("snappy", "cut short");
  bytes.remove_prefix(16);
  while (!bytes.empty()) {
    if (bytes.size() < 4) return damaged("snappy", "cut short");
    uint32_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(bytes[i]);
    bytes.remove_prefix(4);
    if (length > bytes.size()) return damaged("snappy", "cut short");
    MR_TRY(unsnap_block(bytes.substr(0, length), bytes_max, out));
    bytes.remove_prefix(length);
  }
  return out;
}

std::string lz4(std::string_view bytes, int level) {
  LZ4F_preferences_t preferences{};
  preferences.compressionLevel = level;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;  // what the Java client reads
  std::string out(::LZ4F_compressFrameBound(bytes.size(), &preferences), '\0');
  const size_t n =
      ::LZ4F_compressFrame(out.data(), out.size(), bytes.data(), bytes.size(), &preferences);
  MR_CHECK(!::LZ4F_isError(n));
  out.resize(n);
  return out;
}

Result<std::string> unlz4(std::string_view bytes, size_t bytes_max) {
  LZ4F_dctx* context = nullptr;
  if (::LZ4F_isError(::LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) {
    return damaged("lz4", "no memory");
  }
  const std::unique_ptr<LZ4F_dctx, size_t (*)(LZ4F_dctx*)> owner(context,
                                                                 ::LZ4F_freeDecompressionContext);
  LZ4F_frameInfo_t told{};
  size_t head = bytes.size();
  size_t hint = ::LZ4F_getFrameInfo(context, &told, bytes.data(), &head);
  if (::LZ4F_isError(hint)) return damaged("lz4", ::LZ4F_getErrorName(hint));
  if (told.contentSize > bytes_max) return too_large(bytes_max);
  bytes.remove_prefix(head);
  std::string out;
  size_t used = 0;
  while (hint != 0) {
    size_t made = grow(out, used, bytes_max);
    size_t taken = bytes.size();
    hint = ::LZ4F_decompress(context, out.data() + used, &made, bytes.data(), &taken, nullptr);
    if (::LZ4F_isError(hint)) return damaged("lz4", ::LZ4F_getErrorName(hint));
    bytes.remove_prefix(taken);
    used += made;
    if (used > bytes_max) return too_large(bytes_max);
    if (hint != 0 && taken == 0 && made == 0) return damaged("lz4", "cut short");
  }
  out.resize(used);
  return out;
}

std::string zstd(std::string_view bytes, int level) {
  std::string out(::ZSTD_compressBound(bytes.size()), '\0');
  const size_t n = ::ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(),
                                   level == 0 ? ZSTD_CLEVEL_DEFAULT : level);
  MR_CHECK(!::ZSTD_isError(n));
  out.resize(n);
  return out;
}

Result<std::string> unzstd(std::string_view bytes, size_t bytes_max) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(::ZSTD_createDCtx(),
                                                                   ::ZSTD_freeDCtx);
  // The window is memory too: 128 MiB, what the library itself allows by default.
  ::ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 27);
  const auto told = ::ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (told < ZSTD_CONTENTSIZE_ERROR && told > bytes_max) return too_large(bytes_max);
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::string out;
  size_t used = 0;
  for (;;) {
    const size_t room = grow(out, used, bytes_max);
    ZSTD_outBuffer to{out.data() + used, room, 0};
    const size_t before = in.pos;
    const size_t left = ::ZSTD_decompressStream(context.get(), &to, &in);
    if (::ZSTD_isError(left)) return damaged("zstd", ::ZSTD_getErrorName(left));
    used += to.pos;
    if (used > bytes_max) return too_large(bytes_max);
    if (left == 0 && in.pos == in.size) break;
    if (in.pos == before && to.pos == 0) return damaged("zstd", "cut short");
  }
  out.resize(used);
  return out;
}
}  // namespace

std::string compress(Codec codec, std::string_view bytes, int level) {
  switch (codec) {
    case Codec::kGzip:
      return gzip(bytes, level);
    case Codec::kSnappy: {
      std::string out;
      snappy::Compress(bytes.data(), bytes.size(), &out);
      return out;
    }
    case Codec::kLz4:
      return lz4(bytes, level);
    case Codec::kZstd:
      return zstd(bytes, level);
  }
  MR_CHECK(false);
  return {};
}

Result<std::string> decompress(Codec codec, std::string_view bytes, size_t bytes_max) {
  switch (codec) {
    case Codec::kGzip:
      return gunzip(bytes, bytes_max);
    case Codec::kSnappy:
      return unsnap(bytes, bytes_max);
    case Codec::kLz4:
      return unlz4(bytes, bytes_max);
    case Codec::kZstd:
      return unzstd(bytes, bytes_max);
  }
  MR_CHECK(false);
  return std::string();
}

}  // namespace millrace
