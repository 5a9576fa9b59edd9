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

Result<> SnapshotDraft::open() {
  MR_TRY(env_.files().make_folder(path_.substr(0, path_.rfind('/'))));
  MR_TRY(file_, env_.files().open(path_, io::FileSystem::Mode::kCreate));
  return shard_.block_on(file_->truncate(0));
}

Result<> SnapshotDraft::write(std::string_view block) {
  if (!file_) MR_TRY(open());
  const BlockHead head = head_of(block, blocks_++);
  const std::string_view start(reinterpret_cast<const char*>(&head), sizeof(head));
  MR_TRY(shard_.block_on(file_->write(at_, start)));
  at_ += start.size();
  if (!block.empty()) MR_TRY(shard_.block_on(file_->write(at_, block)));
  at_ += block.size();
  return {};
}

void SnapshotDraft::add(std::string_view block) {
  if (outcome_) outcome_ = write(block);
}

Result<> SnapshotDraft::finish() {
  add({});
  MR_TRY(std::move(outcome_));
  return shard_.block_on(file_->sync());
}

void SnapshotDraft::abandon() {
  file_.reset();
  if (env_.files().exists(path_)) static_cast<void>(env_.files().remove(path_));
}

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

std::unique_ptr<SnapshotDraft> SnapshotFiles::draft(uint64_t epoch) const {
  std::unique_ptr<SnapshotDraft> made(
      new SnapshotDraft(env_, shard_, path(epoch) + std::string(kUnfinished)));
  return made;
}

Result<uint64_t> SnapshotFiles::publish(SnapshotDraft& draft, uint64_t epoch, size_t keep) {
  if (auto finished = draft.finish(); !finished) {
    draft.abandon();
    return std::move(finished).error();
  }
  MR_TRY(env_.files().rename(draft.path_, path(epoch)));
  MR_TRY(env_.files().sync_folder(folder_));
  drop_others(keep);
  return draft.at_;
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

}  // namespace millrace::flow
