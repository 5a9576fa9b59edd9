#include "base/io/memory_files.h"

#include <algorithm>
#include <random>

#include "base/io/detail/shard_impl.h"

namespace millrace::io {

/// Bytes as the process sees them, bytes as the disk has them, and the changes between the two.
struct MemoryFiles::Content {
  struct Change {
    uint64_t position;
    std::optional<std::string> bytes;  // nothing: a truncate to `position`
  };
  static void apply(std::string& target, const Change& change) {
    if (!change.bytes) {
      target.resize(change.position);
      return;
    }
    target.resize(std::max<size_t>(target.size(), change.position + change.bytes->size()));
    target.replace(change.position, change.bytes->size(), *change.bytes);
  }
  void change(Change c) {
    apply(bytes, c);
    unsynced.push_back(std::move(c));
  }

  std::string bytes;
  std::string durable;
  std::vector<Change> unsynced;
};

class MemoryFiles::Handle final : public File {
 public:
  Handle(MemoryFiles& files, std::string path, std::shared_ptr<Content> content, size_t life)
      : files_(files), path_(std::move(path)), content_(std::move(content)), life_(life) {}

  Task<Result<>> write(uint64_t position, std::string_view bytes) override {
    co_await files_turn();
    std::lock_guard lock(files_.mutex_);
    ++files_.writes_;
    auto failed = step("write to");
    if (failed && life_ == files_.life_) {
      content_->change({position, std::string(bytes.substr(0, bytes.size() / 2))});
    }
    if (failed) co_return *failed;
    content_->change({position, std::string(bytes)});
    co_return Result<>();
  }

  Task<Result<>> write_parts(uint64_t position, std::span<const std::string_view> parts) override {
    std::string bytes;
    for (const auto part : parts) bytes += part;
    co_return co_await write(position, bytes);
  }

  Task<Result<size_t>> read(uint64_t position, size_t length, std::string* out) override {
    co_await files_turn();
    std::lock_guard lock(files_.mutex_);
    if (auto failed = step("read")) co_return *failed;
    const auto& bytes = content_->bytes;
    const size_t there = position < bytes.size() ? bytes.size() - position : 0;
    const size_t n = std::min(length, there);
    if (n > 0) out->append(bytes, position, n);
    co_return n;
  }

  Task<Result<>> sync() override {
    co_await files_turn();
    co_await delay();
    std::lock_guard lock(files_.mutex_);
    ++files_.syncs_;
    auto failed = step("sync");
    if (life_ != files_.life_) co_return *failed;
    // A failed fsync leaves the pages clean: no later one writes them.
    for (const auto& change : content_->unsynced) {
      if (!failed) Content::apply(content_->durable, change);
    }
    content_->unsynced.clear();
    if (failed) co_return *failed;
    co_return Result<>();
  }

  Task<Result<>> truncate(uint64_t size) override {
    co_await files_turn();
    std::lock_guard lock(files_.mutex_);
    if (auto failed = step("truncate")) co_return *failed;
    content_->change({size, std::nullopt});
    co_return Result<>();
  }

  uint64_t size() const override {
    std::lock_guard lock(files_.mutex_);
    return content_->bytes.size();
  }

 private:
  static detail::Yield files_turn() {
    MR_CHECK(Shard::current() != nullptr);
    return detail::Yield{*Shard::current()};
  }
  /// A crash ends a sync under way.
  Task<void> delay() {
    const auto until = std::chrono::steady_clock::now() + files_.sync_delay_.load();
    while (life_ == files_.life_ && std::chrono::steady_clock::now() < until) {
      co_await Shard::current()->sleep(std::chrono::microseconds(200));
    }
  }
  std::optional<Error> step(std::string_view doing) {
    if (life_ != files_.life_) return Error{ErrorCode::kIo, path_ + ": the process is dead"};
    return files_.step(doing, path_);
  }

  MemoryFiles& files_;
  std::string path_;
  std::shared_ptr<Content> content_;
  size_t life_;
};

MemoryFiles::MemoryFiles() = default;
MemoryFiles::~MemoryFiles() = default;

std::optional<Error> MemoryFiles::step(std::string_view doing, const std::string& path) {
  const size_t at = operations_++;
  if (at < fail_from_ || at >= fail_until_) return std::nullopt;
  return Error{fail_code_, fmt::format("cannot {} {}: a test wants it so", doing, path)};
}

void MemoryFiles::forget_unsynced(std::optional<uint64_t> seed) {
  std::lock_guard lock(mutex_);
  ++life_;
  std::mt19937_64 random(seed.value_or(0));
  for (auto& [path, content] : files_) {
    size_t survivors = 0;
    if (seed) survivors = random() % (content->unsynced.size() + 1);
    for (size_t i = 0; i < survivors; ++i) {
      auto change = content->unsynced[i];
      if (i + 1 == survivors && change.bytes) {
        const size_t kept = random() % (change.bytes->size() + 1);
        if (random() % 2) {
          change.bytes->resize(kept);
        } else {
          std::fill(change.bytes->begin() + static_cast<ptrdiff_t>(kept), change.bytes->end(), 0);
        }
      }
      Content::apply(content->durable, change);
    }
    content->unsynced.clear();
    content->bytes = content->durable;
  }
}

void MemoryFiles::fail_after(size_t n, ErrorCode code, size_t times) {
  std::lock_guard lock(mutex_);
  fail_from_ = operations_ + n;
  fail_until_ = times > SIZE_MAX - fail_from_ ? SIZE_MAX : fail_from_ + times;
  fail_code_ = code;
}

void MemoryFiles::heal() {
  std::lock_guard lock(mutex_);
  fail_from_ = SIZE_MAX;
  fail_until_ = 0;
}

size_t MemoryFiles::operation_count() const {
  std::lock_guard lock(mutex_);
  return operations_;
}
size_t MemoryFiles::write_count() const {
  std::lock_guard lock(mutex_);
  return writes_;
}
size_t MemoryFiles::sync_count() const {
  std::lock_guard lock(mutex_);
  return syncs_;
}
void MemoryFiles::set_sync_delay(std::chrono::nanoseconds delay) { sync_delay_ = delay; }

void MemoryFiles::overwrite(const std::string& path, uint64_t position, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  const Content::Change change{position, std::string(bytes)};
  auto& content = *files_.at(path);
  Content::apply(content.bytes, change);
  Content::apply(content.durable, change);
}

Result<std::unique_ptr<File>> MemoryFiles::open(const std::string& path, Mode mode) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("open", path)) return *failed;
  auto& content = files_[path];
  if (!content && mode == Mode::kRead) {
    files_.erase(path);
    return Error{ErrorCode::kNotFound, fmt::format("cannot open {}: it does not exist", path)};
  }
  if (!content) content = std::make_shared<Content>();
  return std::unique_ptr<File>(std::make_unique<Handle>(*this, path, content, life_));
}

Result<> MemoryFiles::make_folder(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("make the folder", path)) return *failed;
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    folders_.insert(path.substr(0, end));
  }
  folders_.insert(path);
  return {};
}

Result<std::vector<std::string>> MemoryFiles::list(const std::string& folder) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("list", folder)) return *failed;
  const auto prefix = folder + "/";
  std::set<std::string> names;
  const auto add = [&](const std::string& path) {
    if (!path.starts_with(prefix)) return;
    names.insert(path.substr(prefix.size(), path.find('/', prefix.size()) - prefix.size()));
  };
  for (const auto& [path, content] : files_) add(path);
  for (const auto& path : folders_) add(path);
  if (names.empty() && !folders_.contains(folder)) {
    return Error{ErrorCode::kNotFound, fmt::format("cannot list {}: it does not exist", folder)};
  }
  return std::vector<std::string>(names.begin(), names.end());
}

bool MemoryFiles::exists(const std::string& path) {
  std::lock_guard lock(mutex_);
  return files_.contains(path) || folders_.contains(path);
}

Result<> MemoryFiles::remove(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("remove", path)) return *failed;
  if (files_.erase(path) == 0) {
    return Error{ErrorCode::kNotFound, fmt::format("cannot remove {}: it does not exist", path)};
  }
  return {};
}

Result<> MemoryFiles::remove_folder(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("remove", path)) return *failed;
  const auto inside = [&](const std::string& p) { return p == path || p.starts_with(path + "/"); };
  std::erase_if(files_, [&](const auto& file) { return inside(file.first); });
  std::erase_if(folders_, inside);
  return {};
}

Result<> MemoryFiles::rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("rename", from)) return *failed;
  const auto prefix = from + "/";
  bool found = false;
  // A folder is renamed with all that is in it.
  std::map<std::string, std::shared_ptr<Content>> files;
  for (auto& [path, content] : files_) {
    const bool hit = path == from || path.starts_with(prefix);
    if (!hit && path != to) files.emplace(path, content);
    if (hit) files[to + path.substr(from.size())] = content;
    found |= hit;
  }
  files_ = std::move(files);
  std::set<std::string> folders;
  for (const auto& path : folders_) {
    const bool hit = path == from || path.starts_with(prefix);
    folders.insert(hit ? to + path.substr(from.size()) : path);
    found |= hit;
  }
  folders_ = std::move(folders);
  if (found) return {};
  return Error{ErrorCode::kNotFound, fmt::format("cannot rename {}: it does not exist", from)};
}

Result<> MemoryFiles::sync_folder(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("sync", path)) return *failed;
  return {};
}

Result<std::string> MemoryFiles::read_file(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("read", path)) return *failed;
  const auto found = files_.find(path);
  if (found == files_.end()) {
    return Error{ErrorCode::kNotFound, fmt::format("cannot read {}: it does not exist", path)};
  }
  return found->second->bytes;
}

Result<> MemoryFiles::replace_file(const std::string& path, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (auto failed = step("write to", path)) return *failed;
  auto content = std::make_shared<Content>();
  content->bytes = content->durable = std::string(bytes);
  files_[path] = std::move(content);
  return {};
}

uint64_t TestEnv::random() {
  uint64_t x = random_ += 0x9e3779b97f4a7c15;  // splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace millrace::io
