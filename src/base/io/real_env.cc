#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <filesystem>

#include "base/io/detail/shard_impl.h"
#include "base/io/env.h"

namespace millrace::io {

namespace {
namespace fs = std::filesystem;
using detail::FileOp;

Error file_error(std::string_view doing, const std::string& path, int number) {
  const auto reason = std::generic_category().message(number);
  if (number == ENOSPC || number == EDQUOT) {
    return Error{ErrorCode::kDiskFull,
                 fmt::format("cannot {} {}: {}; make room", doing, path, reason)};
  }
  const auto code = number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return Error{code, fmt::format("cannot {} {}: {}", doing, path, reason)};
}

/// How much a shard copies from the system's memory in one go.
constexpr size_t kAtOnceBytesMax = 64 * 1024;

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class RealFile final : public File {
 public:
  RealFile(int fd, std::string path)
      : file_(std::make_shared<const SharedFile>(fd)), fd_(*file_), path_(std::move(path)) {
    size_ = real_size();
  }

  Task<Result<>> write(uint64_t position, std::string_view bytes) override {
    while (!bytes.empty()) {
      FileOp op{FileOp::Kind::kWrite, fd_.descriptor(), position, const_cast<char*>(bytes.data()),
                bytes.size()};
      auto done = detail::FileOpAwaiter{op};
      const int64_t n = co_await done;
      if (n == -EINTR || n == -EAGAIN) continue;
      if (n <= 0) {
        size_ = real_size();
        co_return file_error("write to", path_, n == 0 ? EIO : static_cast<int>(-n));
      }
      position += static_cast<uint64_t>(n);
      bytes.remove_prefix(static_cast<size_t>(n));
      size_ = std::max(size_, position);
    }
    co_return Result<>();
  }

  Task<Result<>> write_parts(uint64_t position, std::span<const std::string_view> parts) override {
    if (parts.size() == 1) co_return co_await write(position, parts[0]);
    std::vector<iovec> vectors;
    vectors.reserve(parts.size());
    for (const auto part : parts) vectors.push_back({const_cast<char*>(part.data()), part.size()});
    for (size_t at = 0; at < parts.size();) {
      const size_t count = std::min<size_t>(parts.size() - at, IOV_MAX);
      FileOp op{FileOp::Kind::kWriteParts, fd_.descriptor(), position,
                reinterpret_cast<char*>(vectors.data() + at), count};
      auto done = detail::FileOpAwaiter{op};
      const int64_t n = co_await done;
      if (n == -EINTR || n == -EAGAIN) continue;
      if (n <= 0) {
        size_ = real_size();
        co_return file_error("write to", path_, n == 0 ? EIO : static_cast<int>(-n));
      }
      position += static_cast<uint64_t>(n);
      size_ = std::max(size_, position);
      auto skip = static_cast<size_t>(n);
      while (at < parts.size() && skip >= vectors[at].iov_len) skip -= vectors[at++].iov_len;
      if (skip > 0) {
        vectors[at].iov_base = static_cast<char*>(vectors[at].iov_base) + skip;
        vectors[at].iov_len -= skip;
      }
    }
    co_return Result<>();
  }

  Task<Result<size_t>> read(uint64_t position, size_t length, std::string* out) override {
    const size_t before = out->size();
    // Not more than there is: the room is made before the read.
    const size_t there = position < size_ ? static_cast<size_t>(size_ - position) : 0;
    const size_t wanted = std::min(length, there);
    out->resize_and_overwrite(before + wanted, [](char*, size_t n) { return n; });
    // Most reads are of what was written a moment ago: those need no trip through the ring.
    size_t got =
        wanted <= kAtOnceBytesMax ? read_cached(position, out->data() + before, wanted) : 0;
    while (got < wanted) {
      FileOp op{FileOp::Kind::kRead, fd_.descriptor(), position + got, out->data() + before + got,
                wanted - got};
      auto done = detail::FileOpAwaiter{op};
      const int64_t n = co_await done;
      if (n == -EINTR || n == -EAGAIN) continue;
      if (n < 0) {
        out->resize(before);
        co_return file_error("read", path_, static_cast<int>(-n));
      }
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    out->resize(before + got);
    co_return got;
  }

  Task<Result<>> sync() override {
    FileOp op{FileOp::Kind::kSync, fd_.descriptor()};
    auto done = detail::FileOpAwaiter{op};
    const int64_t n = co_await done;
    if (n < 0) co_return file_error("sync", path_, static_cast<int>(-n));
    co_return Result<>();
  }

  Task<Result<>> truncate(uint64_t size) override {
    if (::ftruncate(fd_.descriptor(), static_cast<off_t>(size)) != 0) {
      co_return file_error("truncate", path_, errno);
    }
    size_ = size;
    co_return Result<>();
  }

  uint64_t size() const override { return size_; }
  std::shared_ptr<const SharedFile> share() const override { return file_; }

 private:
  /// Reads what is in the system's memory, at once; gives how much.
  size_t read_cached(uint64_t position, char* into, size_t length) const {
    iovec vector{into, length};
    const ssize_t n =
        ::preadv2(fd_.descriptor(), &vector, 1, static_cast<off_t>(position), RWF_NOWAIT);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }
  uint64_t real_size() const {
    struct stat s;
    return ::fstat(fd_.descriptor(), &s) == 0 ? static_cast<uint64_t>(s.st_size) : size_;
  }

  const std::shared_ptr<const SharedFile> file_;
  const SharedFile& fd_;
  std::string path_;
  uint64_t size_ = 0;
};

Result<> write_whole(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return file_error("write to", path, errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (::fsync(fd) != 0) return file_error("sync", path, errno);
  return {};
}

class RealFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, Mode mode) override {
    const int flags = mode == Mode::kRead ? O_RDONLY : O_RDWR | O_CREAT;
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
    if (fd < 0) return file_error("open", path, errno);
    return std::unique_ptr<File>(std::make_unique<RealFile>(fd, path));
  }

  Result<> make_folder(const std::string& path) override {
    const auto folder = fs::path(path);
    std::error_code failed;
    if (fs::is_directory(folder, failed)) return {};
    if (folder.has_parent_path() && folder != folder.root_path()) {
      MR_TRY(make_folder(folder.parent_path().string()));
    }
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
      return file_error("make the folder", path, errno);
    }
    return sync_folder(folder.parent_path().string());
  }

  Result<std::vector<std::string>> list(const std::string& folder) override {
    std::vector<std::string> names;
    std::error_code failed;
    auto at = fs::directory_iterator(folder, failed);
    for (; !failed && at != fs::directory_iterator(); at.increment(failed)) {
      names.push_back(at->path().filename().string());
    }
    if (failed) return file_error("list", folder, failed.value());
    std::ranges::sort(names);
    return names;
  }

  bool exists(const std::string& path) override {
    struct stat s;
    return ::stat(path.c_str(), &s) == 0;
  }

  Result<> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return file_error("remove", path, errno);
    return {};
  }

  Result<> remove_folder(const std::string& path) override {
    std::error_code failed;
    fs::remove_all(path, failed);
    if (failed) return file_error("remove", path, failed.value());
    return {};
  }

  Result<> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return file_error("rename", from, errno);
    return {};
  }

  Result<> sync_folder(const std::string& path) override {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return file_error("open", path, errno);
    if (::fsync(fd.get()) != 0) return file_error("sync", path, errno);
    return {};
  }

  Result<std::string> read_file(const std::string& path) override {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) return file_error("open", path, errno);
    std::string bytes;
    char chunk[16384];
    for (;;) {
      const ssize_t n = ::read(fd.get(), chunk, sizeof chunk);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return file_error("read", path, errno);
      if (n == 0) return bytes;
      bytes.append(chunk, static_cast<size_t>(n));
    }
  }

  Result<> replace_file(const std::string& path, std::string_view bytes) override {
    const auto draft = path + ".tmp";
    {
      const Descriptor fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
      if (fd.get() < 0) return file_error("open", draft, errno);
      MR_TRY(write_whole(fd.get(), draft, bytes));
    }
    MR_TRY(rename(draft, path));
    return sync_folder(fs::path(path).parent_path().string());
  }
};

class RealEnv final : public Env {
 public:
  FileSystem& files() override { return files_; }
  int64_t now_ms() override {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  }
  uint64_t random() override {
    uint64_t value = 0;
    MR_CHECK(::getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
  }
  Metrics& metrics() override { return metrics_; }

 private:
  RealFiles files_;
  Metrics metrics_;
};
}  // namespace

SharedFile::~SharedFile() { ::close(descriptor_); }

bool SharedFile::in_memory(uint64_t position, size_t length) const {
  // Source: cachestat(2), Linux 6.5. The C library here does not know it.
  struct {
    uint64_t begin;
    uint64_t length;
  } range{position, length};
  struct {
    uint64_t cached;
    uint64_t dirty;
    uint64_t writeback;
    uint64_t evicted;
    uint64_t recently_evicted;
  } state{};
  constexpr long kCacheStat = 451;
  constexpr uint64_t kPage = 4096;
  if (::syscall(kCacheStat, descriptor_, &range, &state, 0u) == 0) {
    const uint64_t pages = (position + length - 1) / kPage - position / kPage + 1;
    return length == 0 || state.cached >= pages;
  }
  // An older kernel: looks here and there.
  constexpr uint64_t kStep = 128 * 1024;
  for (uint64_t at = 0; at < length; at += kStep) {
    char byte;
    iovec vector{&byte, 1};
    if (::preadv2(descriptor_, &vector, 1, static_cast<off_t>(position + at), RWF_NOWAIT) != 1) {
      return false;
    }
  }
  return true;
}

Task<Result<>> File::write_parts(uint64_t position, std::span<const std::string_view> parts) {
  for (const auto part : parts) {
    MR_CO_TRY(co_await write(position, part));
    position += part.size();
  }
  co_return Result<>();
}

std::unique_ptr<Env> make_real_env() { return std::make_unique<RealEnv>(); }

}  // namespace millrace::io
