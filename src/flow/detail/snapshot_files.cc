#include "flow/detail/snapshot_files.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>

#include "base/logging.h"

namespace millrace::flow {

namespace {

constexpr std::string_view kSuffix = ".snapshot";
constexpr std::string_view kUnfinished = ".tmp";

/// Before each block; a length of 0 ends the file. The checksum's seed is the block's number, so
/// that one that is missing or comes twice is found too.
struct BlockHead {
  uint64_t length;
  uint64_t checksum;
};

BlockHead head_of(std::string_view block, uint64_t number) {
  return {block.size(), XXH3_64bits_withSeed(block.data(), block.size(), number)};
}

/// Gives the blocks of an open file.
class BlockReader {
 public:
  BlockReader(std::shared_ptr<io::File> file, io::Shard& shard, std::string path)
      : file_(std::move(file)), shard_(shard), path_(std::move(path)) {}

  Result<std::string> next() {
    if (ended_) return std::string();
    MR_TRY(const auto bytes, take(sizeof(BlockHead)));
    BlockHead head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    if (head.length > file_->size() - at_) return damaged();
    MR_TRY(auto block, take(head.length));
    if (head_of(block, number_++).checksum != head.checksum) return damaged();
    ended_ = block.empty();
    return block;
  }

 private:
  Error damaged() const {
    return {ErrorCode::kCorruptRecord,
            fmt::format("snapshot {} is damaged at byte {}", path_, at_)};
  }
  Result<std::string> take(uint64_t length) {
    std::string bytes;
    if (length > 0) MR_TRY(shard_.block_on(file_->read(at_, length, &bytes)));
    if (bytes.size() < length) return damaged();
    at_ += length;
    return bytes;
  }

  std::shared_ptr<io::File> file_;
  io::Shard& shard_;
  const std::string path_;
  uint64_t at_ = 0;
  uint64_t number_ = 0;
  bool ended_ = false;
};

}  // namespace

std::string SnapshotFiles::path(uint64_t epoch) const {
  return fmt::format("{}/{:020}{}", folder_, epoch, kSuffix);
}

std::vector<uint64_t> SnapshotFiles::list() const {
  std::vector<uint64_t> epochs;
  if (!env_.files().exists(folder_)) return epochs;
  const auto names = env_.files().list(folder_);
  if (!names) return epochs;
  for (const std::string_view name : *names) {
    uint64_t epoch = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), epoch);
    if (error == std::errc() && std::string_view(end, name.data() + name.size()) == kSuffix)
      epochs.push_back(epoch);
  }
  std::ranges::sort(epochs, std::greater());
  return epochs;
}

Result<StateReader> SnapshotFiles::read(uint64_t epoch) const {
  MR_TRY(auto file, env_.files().open(path(epoch), io::FileSystem::Mode::kRead));
  auto reader = std::make_shared<BlockReader>(std::move(file), shard_, path(epoch));
  return StateReader([reader] { return reader->next(); });
}

Result<> SnapshotFiles::verify(uint64_t epoch) const {
  MR_TRY(auto file, env_.files().open(path(epoch), io::FileSystem::Mode::kRead));
  BlockReader reader(std::move(file), shard_, path(epoch));
  for (;;) {
    MR_TRY(const auto block, reader.next());
    if (block.empty()) return {};
  }
}

Result<uint64_t> SnapshotFiles::write(uint64_t epoch, size_t keep,
                                      const std::function<std::string()>& next) {
  auto& files = env_.files();
  const std::string unfinished = path(epoch) + std::string(kUnfinished);
  auto written = files.make_folder(folder_);
  Result<uint64_t> bytes = uint64_t{0};
  if (written) bytes = write_blocks(unfinished, next);
  if (!written || !bytes) {
    while (!next().empty()) continue;  // whoever saves goes on
    if (files.exists(unfinished)) static_cast<void>(files.remove(unfinished));
    return written ? std::move(bytes) : Result<uint64_t>(std::move(written).error());
  }
  MR_TRY(files.rename(unfinished, path(epoch)));
  MR_TRY(files.sync_folder(folder_));
  drop_others(keep);
  return bytes;
}

Result<uint64_t> SnapshotFiles::write_blocks(const std::string& path,
                                             const std::function<std::string()>& next) {
  MR_TRY(auto file, env_.files().open(path, io::FileSystem::Mode::kCreate));
  MR_TRY(shard_.block_on(file->truncate(0)));
  uint64_t at = 0;
  for (uint64_t number = 0;; ++number) {
    const std::string block = next();
    const BlockHead head = head_of(block, number);
    const std::string_view start(reinterpret_cast<const char*>(&head), sizeof(head));
    MR_TRY(shard_.block_on(file->write(at, start)));
    at += start.size();
    if (block.empty()) break;
    MR_TRY(shard_.block_on(file->write(at, block)));
    at += block.size();
  }
  MR_TRY(shard_.block_on(file->sync()));
  return at;
}

void SnapshotFiles::drop_others(size_t keep) {
  const auto epochs = list();
  for (size_t i = keep; i < epochs.size(); ++i)
    if (auto removed = remove(epochs[i]); !removed)
      logging::warn("cannot remove an old snapshot",
                    {{"file", path(epochs[i])}, {"reason", removed.error().text}});
}

Result<> SnapshotFiles::remove(uint64_t epoch) { return env_.files().remove(path(epoch)); }

void SnapshotFiles::remove_all() {
  if (!env_.files().exists(folder_)) return;
  if (auto removed = env_.files().remove_folder(folder_); !removed)
    logging::warn("cannot remove the snapshots of a view that was dropped",
                  {{"folder", folder_}, {"reason", removed.error().text}});
}

Background::Background() : thread_([this] { run(); }) {}

void Background::push(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(work));
  changed_.notify_all();
}

void Background::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Background::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    auto work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

void SnapshotPipe::push(std::string block) {
  std::lock_guard lock(mutex_);
  blocks_.push_back(std::move(block));
  changed_.notify_all();
}

void SnapshotPipe::end() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

std::string SnapshotPipe::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return ended_ || !blocks_.empty(); });
  if (blocks_.empty()) return {};
  auto block = std::move(blocks_.front());
  blocks_.pop_front();
  return block;
}

}  // namespace millrace::flow
