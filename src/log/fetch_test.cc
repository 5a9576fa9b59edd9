#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/io/gate.h"
#include "log/log_test_util.h"
#include "log/partition_log.h"

namespace millrace::log {
namespace {

/// A log on the real disk: only there can ranges of files be named.
class FetchTest : public testing::Test {
 protected:
  FetchTest() {
    config.segment_bytes = 200'000;
    open();
  }
  ~FetchTest() override {
    if (log) close();
    std::filesystem::remove_all(folder);
  }
  void open() {
    auto opened = shard.block_on(PartitionLog::open(*env, shard, folder, config));
    ASSERT_TRUE(opened) << opened.error().text;
    log = std::move(*opened);
  }
  void close() {
    ASSERT_TRUE(shard.block_on(log->close()));
    log.reset();
  }
  void append(std::string batches) {
    const auto appended = shard.block_on(log->append(std::move(batches), Ack::kDurable));
    ASSERT_TRUE(appended) << appended.error().text;
  }
  Result<ReadResult> fetch(Offset from, size_t bytes_max,
                           Isolation isolation = Isolation::kUncommitted) {
    return shard.block_on(log->fetch(from, bytes_max, isolation));
  }
  /// What a client would get of `result`.
  static std::string bytes_of(const ReadResult& result) {
    if (!result.file.file) return result.batches;
    std::string bytes(result.file.length, '\0');
    EXPECT_EQ(::pread(result.file.file->descriptor(), bytes.data(), bytes.size(),
                      static_cast<off_t>(result.file.position)),
              static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  /// Fetches from `from` to the end, checks that nothing is missing; gives how many answers named a
  /// file.
  size_t fetch_all(Offset from, size_t bytes_max) {
    size_t named = 0;
    while (from < log->high_watermark()) {
      const auto result = fetch(from, bytes_max);
      EXPECT_TRUE(result) << result.error().text;
      if (!result) break;
      if (result->file.file) {
        ++named;
        EXPECT_LE(result->bytes(), bytes_max);
      }
      const auto bytes = bytes_of(*result);
      const auto headers = validate_batches(bytes, true);
      EXPECT_TRUE(headers) << headers.error().text;
      if (!headers) break;
      for (const auto& header : *headers) {
        EXPECT_EQ(header.base_offset, from);
        from = header.last_offset() + 1;
      }
      EXPECT_EQ(result->next_offset, from);
    }
    return named;
  }

  io::Runtime runtime{1, 0};
  io::Shard& shard = runtime.shard(0);
  std::unique_ptr<io::Env> env = io::make_real_env();
  LogConfig config;
  const std::string folder = testing::TempDir() + "fetch_test." + std::to_string(::getpid());
  std::unique_ptr<PartitionLog> log;
};

TEST_F(FetchTest, NamesWhatThisProcessAppended) {
  for (int i = 0; i < 300; ++i) append(batch_of(std::string(1000 + i * 10, 'x')));
  EXPECT_GT(fetch_all(0, 100'000), 0u);
  EXPECT_GT(fetch_all(0, 30'000), 5u);
  EXPECT_EQ(fetch_all(0, 5'000), 0u) << "few bytes are read";
  for (const Offset from : {1, 77, 299}) fetch_all(from, 50'000);
}

TEST_F(FetchTest, FindsItsWayAmongSmallAndLargeBatches) {
  for (int i = 0; i < 400; ++i) {
    append(batch_of(std::string(i % 50 == 49 ? 60'000 : 1 + i % 90, 'x'), 1 + i % 3));
  }
  for (const size_t bytes_max : {1u, 20'000u, 70'000u, 1'000'000u}) fetch_all(0, bytes_max);
}

TEST_F(FetchTest, NamesFromTheMiddleOfABatchOn) {
  for (int i = 0; i < 300; ++i) append(batch_of(std::string(200, 'x'), 7));
  ASSERT_TRUE(fetch(0, 1));  // opens the segment, which was closed when it ended
  for (const Offset from : {1, 6, 7, 500, 699}) {
    const auto result = fetch(from, 50'000);
    ASSERT_TRUE(result && result->file.file) << from;
    const auto headers = validate_batches(bytes_of(*result), true);
    ASSERT_TRUE(headers);
    EXPECT_EQ(headers->front().base_offset, from / 7 * 7);
    EXPECT_EQ(headers->back().last_offset() + 1, result->next_offset);
  }
}

TEST_F(FetchTest, ReadsOnceWhatAnotherLifeWrote) {
  for (int i = 0; i < 300; ++i) append(batch_of(std::string(1000, 'x')));
  close();
  open();
  EXPECT_EQ(fetch_all(0, 100'000), 0u);
  EXPECT_GT(fetch_all(0, 100'000), 0u);
}

TEST_F(FetchTest, NeverGivesWhatIsDamaged) {
  for (int i = 0; i < 300; ++i) append(batch_of(std::string(1000, 'x')));
  close();
  const auto file = std::filesystem::path(folder) / "00000000000000000000.log";
  {
    auto opened = env->files().open(file.string(), io::FileSystem::Mode::kCreate);
    ASSERT_TRUE(opened);
    ASSERT_TRUE(shard.block_on((*opened)->write(100'000, "damage")));
  }
  open();
  Offset from = 0;
  for (int i = 0; i < 100; ++i) {
    const auto result = fetch(from, 100'000);
    if (!result) {
      EXPECT_EQ(result.error().code, ErrorCode::kCorruptRecord);
      EXPECT_GT(from, 50);
      EXPECT_FALSE(fetch(from, 100'000)) << "nor the next time";
      return;
    }
    EXPECT_TRUE(validate_batches(bytes_of(*result), true));
    from = result->next_offset;
  }
  FAIL() << "the damage was not found";
}

TEST_F(FetchTest, WhatWasNamedStaysReadable) {
  for (int i = 0; i < 300; ++i) append(batch_of(std::string(1000, 'x')));
  ASSERT_TRUE(fetch(0, 1));  // opens the segment, which was closed when it ended
  const auto result = fetch(0, 100'000);
  ASSERT_TRUE(result && result->file.file);
  ASSERT_TRUE(shard.block_on(log->delete_records(250)));
  ASSERT_FALSE(env->files().exists(folder + "/00000000000000000000.log"));
  EXPECT_TRUE(validate_batches(bytes_of(*result), true));
}

TEST_F(FetchTest, EndsAtTheLastStableOffset) {
  for (int i = 0; i < 100; ++i) append(batch_of(std::string(1000, 'x')));
  append(produced(transactional(batch_of(std::string(1000, 'y'))), 7, 0, 0));
  for (int i = 0; i < 100; ++i) append(batch_of(std::string(1000, 'x')));
  EXPECT_EQ(fetch(0, 10, Isolation::kCommitted)->last_stable_offset, 100);
  Offset from = 0;
  bool named = false;
  while (from < 100) {
    const auto result = fetch(from, 1'000'000, Isolation::kCommitted);
    ASSERT_TRUE(result);
    ASSERT_GT(result->next_offset, from);
    named = named || result->file.file;
    from = result->next_offset;
  }
  EXPECT_TRUE(named);
  EXPECT_EQ(from, 100);
  EXPECT_EQ(fetch(100, 1000, Isolation::kCommitted)->bytes(), 0u);
  ASSERT_TRUE(shard.block_on(log->append_marker({7, 0, false, 0})));
  const auto result = fetch(0, 1'000'000, Isolation::kCommitted);
  ASSERT_TRUE(result && result->file.file);
  ASSERT_EQ(result->aborted.size(), 1u);
  EXPECT_EQ(result->aborted[0].first_offset, 100);
}

}  // namespace
}  // namespace millrace::log
