#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/io/env.h"

namespace millrace::io {

/// Files in memory, for tests. Keeps for each file what a sync has made durable apart from what was
/// only written, so that a crash can be played. Names (create, rename, remove) are durable at once.
/// Any shard; operations of files yield once, syncs take `sync_delay`.
class MemoryFiles final : public FileSystem {
 public:
  MemoryFiles();
  ~MemoryFiles() override;

  /// Drops all bytes that no sync has made durable. Files opened before fail from now on, as those
  /// of a dead process. With a `seed`, part of what was unsynced survives, as on a real disk: some
  /// of the writes, the last of them torn, or zeros in its place.
  void forget_unsynced(std::optional<uint64_t> seed = std::nullopt);
  /// The nth operation from now (0: the next) and the `times` - 1 after it fail with `code`. A
  /// failed write leaves half of its bytes; what a failed sync should have made durable never will
  /// be.
  void fail_after(size_t n, ErrorCode code, size_t times = 1);
  /// No operation fails any more.
  void heal();
  /// Operations so far that fail_after() counts: reads, writes, syncs, truncates, names.
  size_t operation_count() const;
  size_t write_count() const;
  size_t sync_count() const;
  void set_sync_delay(std::chrono::nanoseconds delay);
  /// Changes bytes behind everyone's back, durably: a damaged disk.
  void overwrite(const std::string& path, uint64_t position, std::string_view bytes);

  Result<std::unique_ptr<File>> open(const std::string& path, Mode mode) override;
  Result<> make_folder(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;
  bool exists(const std::string& path) override;
  Result<> remove(const std::string& path) override;
  Result<> remove_folder(const std::string& path) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> sync_folder(const std::string& path) override;
  Result<std::string> read_file(const std::string& path) override;
  Result<> replace_file(const std::string& path, std::string_view bytes) override;

 private:
  struct Content;
  class Handle;
  /// The failure that this operation must have, or nothing.
  std::optional<Error> step(std::string_view doing, const std::string& path);

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Content>> files_;
  std::set<std::string> folders_;
  size_t operations_ = 0;
  size_t writes_ = 0;
  size_t syncs_ = 0;
  size_t fail_from_ = SIZE_MAX;
  size_t fail_until_ = 0;
  std::atomic<size_t> life_ = 0;  // of the process that opens files; a crash begins the next
  ErrorCode fail_code_ = ErrorCode::kIo;
  std::atomic<std::chrono::nanoseconds> sync_delay_{std::chrono::nanoseconds(0)};
};

/// Files in memory, a clock that stands until it is set, numbers from a seed.
class TestEnv final : public Env {
 public:
  explicit TestEnv(uint64_t seed = 1, int64_t now = 1'700'000'000'000)
      : now_ms_(now), random_(seed) {}

  MemoryFiles& files() override { return files_; }
  int64_t now_ms() override { return now_ms_; }
  void set_now_ms(int64_t now) { now_ms_ = now; }
  uint64_t random() override;
  Metrics& metrics() override { return metrics_; }

 private:
  MemoryFiles files_;
  Metrics metrics_;
  std::atomic<int64_t> now_ms_;
  std::atomic<uint64_t> random_;
};

}  // namespace millrace::io
