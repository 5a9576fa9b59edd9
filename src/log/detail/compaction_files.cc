#include <fmt/format.h>

#include <charconv>

#include "base/logging.h"
#include "log/detail/compaction.h"

// How segments make way for a compacted one, so that a crash leaves either the old ones or it.

namespace millrace::log::detail {

namespace {
constexpr size_t kChunkBytes = 512 * 1024;
constexpr std::string_view kCleanedSuffix = ".cleaned";
constexpr std::string_view kSwapSuffix = ".swap";
constexpr std::string_view kAbortedSwapSuffix = ".txnswap";
constexpr size_t kDigits = 20;

Offset number(std::string_view digits) {
  Offset value = -1;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return failed == std::errc() && end == digits.data() + digits.size() ? value : -1;
}

/// The base in a file's name; -1 when it is none of a segment's.
Offset base_in(std::string_view name) {
  if (name.size() <= kDigits || name[kDigits] != '.') return -1;
  return number(name.substr(0, kDigits));
}

struct SwapName {
  Offset base = -1;
  Offset end = -1;
};
SwapName parse_swap(std::string_view name) {
  if (name.size() != 2 * kDigits + 1 + kSwapSuffix.size() || name[kDigits] != '-') return {};
  return {number(name.substr(0, kDigits)), number(name.substr(kDigits + 1, kDigits))};
}

/// The aborted transactions of the new segment, which stand in a file of their own: an empty one
/// says that there are none.
Result<> swap_aborted(io::FileSystem& files, const std::string& from, const std::string& to) {
  if (!files.exists(from)) return {};  // done before
  MR_TRY(const auto file, files.open(from, io::FileSystem::Mode::kRead));
  if (file->size() > 0) return files.rename(from, to);
  if (files.exists(to)) MR_TRY(files.remove(to));
  return {};  // the empty file goes last
}
}  // namespace

io::Task<Result<std::string_view>> BatchChunks::next() {
  bytes_.erase(0, given_);
  given_ = 0;
  for (;;) {
    const std::string_view all = bytes_;
    size_t wanted = BatchHeader::kBytes;
    while (const auto header = parse_batch_header(all.substr(given_))) {
      wanted = header->total_bytes();
      if (wanted > all.size() - given_) break;
      given_ += wanted;
      wanted = BatchHeader::kBytes;
    }
    if (given_ > 0) co_return all.substr(0, given_);
    if (position_ == size_ && all.empty()) co_return std::string_view();
    const size_t missing = std::min<uint64_t>(
        std::max(kChunkBytes, wanted > all.size() ? wanted - all.size() : 0), size_ - position_);
    if (wanted <= all.size() || missing == 0) break;  // no head of a batch, or cut short
    MR_CO_TRY(const size_t got, co_await file_.read(position_, missing, &bytes_));
    if (got == 0) break;
    position_ += got;
  }
  co_return Error{ErrorCode::kCorruptRecord,
                  fmt::format("damaged at byte {}", position_ - bytes_.size())};
}

std::string cleaned_name(const std::string& folder, Offset base) {
  return file_name(folder, base, kCleanedSuffix);
}

std::string swap_name(const std::string& folder, Offset base, Offset end, std::string_view suffix) {
  return fmt::format("{}/{:020}-{:020}{}", folder, base, end, suffix);
}

Result<> finish_swap_files(io::FileSystem& files, const std::string& folder, Offset base,
                           Offset end) {
  MR_TRY(const auto names, files.list(folder));
  for (const auto& name : names) {
    const Offset at = base_in(name);
    if (at < base || at >= end || name.ends_with(kCleanedSuffix)) continue;
    // Of the first, only the indexes: its log is replaced, and what began there stays true.
    const bool index = name.ends_with(".index") || name.ends_with(".timeindex");
    if (at == base && !index) continue;
    MR_TRY(files.remove(folder + "/" + name));
  }
  MR_TRY(files.sync_folder(folder));
  const auto aborted = swap_name(folder, base, end, kAbortedSwapSuffix);
  MR_TRY(swap_aborted(files, aborted, file_name(folder, base, kAbortedSuffix)));
  const auto swap = swap_name(folder, base, end, kSwapSuffix);
  if (files.exists(swap)) MR_TRY(files.rename(swap, file_name(folder, base, ".log")));
  MR_TRY(files.sync_folder(folder));
  if (files.exists(aborted)) MR_TRY(files.remove(aborted));
  return {};
}

Result<> recover_swaps(io::FileSystem& files, const std::string& folder) {
  MR_TRY(const auto names, files.list(folder));
  for (const auto& name : names) {
    if (!name.ends_with(kSwapSuffix)) continue;
    const auto swap = parse_swap(name);
    if (swap.base < 0 || swap.end <= swap.base) continue;
    logging::info("a compaction is finished", {{"folder", folder}, {"segment", swap.base}});
    // Was gone before the swap began; were it not, it would speak of the old segments.
    if (files.exists(folder + "/clean")) MR_TRY(files.remove(folder + "/clean"));
    MR_TRY(finish_swap_files(files, folder, swap.base, swap.end));
  }
  for (const auto& name : names) {
    if (!name.ends_with(kCleanedSuffix) && !name.ends_with(kAbortedSwapSuffix)) continue;
    if (files.exists(folder + "/" + name)) MR_TRY(files.remove(folder + "/" + name));
  }
  return {};
}

}  // namespace millrace::log::detail
