#include "log/detail/aborted.h"

#include "base/crc32c.h"
#include "log/detail/segment.h"
#include "log/detail/wire.h"

namespace millrace::log::detail {

namespace {
constexpr std::string_view kMagic = "MRABRT01";
}  // namespace

void AbortedIndex::note(const Entry& entry) {
  entries_.push_back(entry);
  on_disk_ = false;
}

void AbortedIndex::cut(Offset offset) {
  while (!entries_.empty() && entries_.back().last_offset >= offset) entries_.pop_back();
}

void AbortedIndex::set_on_disk() {
  entries_.clear();
  on_disk_ = true;
  loaded_ = false;
}

void AbortedIndex::clear() {
  entries_.clear();
  on_disk_ = false;
  loaded_ = true;
}

void AbortedIndex::unload() {
  if (on_disk_) set_on_disk();
}

void AbortedIndex::set(std::vector<Entry> entries) {
  entries_ = std::move(entries);
  loaded_ = true;
}

io::Task<Result<>> AbortedIndex::save(io::FileSystem& files, std::string path) {
  if (entries_.empty()) {
    if (files.exists(path)) MR_CO_TRY(files.remove(path));
    on_disk_ = false;
    co_return Result<>();
  }
  std::string bytes(kMagic);
  for (const auto& entry : entries_) {
    append_be<int64_t>(bytes, entry.producer_id);
    append_be<int64_t>(bytes, entry.first_offset);
    append_be<int64_t>(bytes, entry.last_offset);
    append_be<int64_t>(bytes, entry.stable_offset);
  }
  append_be<uint32_t>(bytes, crc32c(bytes));
  MR_CO_TRY(auto file, files.open(path, io::FileSystem::Mode::kCreate));
  MR_CO_TRY(co_await file->truncate(0));
  MR_CO_TRY(co_await file->write(0, bytes));
  MR_CO_TRY(co_await file->sync());
  on_disk_ = true;
  co_return Result<>();
}

io::Task<Result<>> AbortedIndex::load(io::FileSystem& files, std::string path) {
  if (loaded_) co_return Result<>();
  MR_CO_TRY(const auto bytes, co_await read_checked(files, path));
  if (loaded_) co_return Result<>();  // another reader was faster
  Reader from(bytes);
  std::vector<Entry> entries;
  bool good = from.bytes(kMagic.size()) == kMagic;
  while (good && !from.empty()) {
    const auto producer_id = from.big_endian<int64_t>();
    const auto first = from.big_endian<int64_t>();
    const auto last = from.big_endian<int64_t>();
    entries.push_back({producer_id, first, last, from.big_endian<int64_t>()});
    good = from.ok();
  }
  if (!good) co_return Error{ErrorCode::kCorruptRecord, path + " is none of ours"};
  set(std::move(entries));
  co_return Result<>();
}

}  // namespace millrace::log::detail
