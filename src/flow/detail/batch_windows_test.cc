#include "flow/detail/batch_windows.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/io/env.h"

namespace millrace::flow {
namespace {

/// Bytes in a file without a name, from `position` on.
std::shared_ptr<io::SharedFile> file_with(const std::string& bytes, off_t position) {
  const int descriptor = ::open(::testing::TempDir().c_str(), O_TMPFILE | O_RDWR, 0600);
  EXPECT_GE(descriptor, 0);
  EXPECT_EQ(::pwrite(descriptor, bytes.data(), bytes.size(), position),
            static_cast<ssize_t>(bytes.size()));
  return std::make_shared<io::SharedFile>(descriptor);
}

/// Batches of two records whose values have these sizes; their offsets begin at `next`.
std::string batches_of(std::initializer_list<size_t> sizes, Offset& next) {
  std::string all;
  for (const size_t size : sizes) {
    log::BatchBuilder builder;
    builder.add(1, std::nullopt, std::string(size, 'x'));
    builder.add(1, std::nullopt, "y");
    std::string batch = builder.finish();
    log::patch_batch(batch.data(), next, 0, std::nullopt);
    next += 2;
    all += batch;
  }
  return all;
}

TEST(BatchWindows, GiveAFileAsWholeBatches) {
  Offset next = 40;
  const auto bytes = batches_of({100, 50'000, 200'000, 10, 900'000, 30, 262'000, 7}, next);
  log::ReadResult read;
  read.file = {file_with(bytes, 4711), 4711, bytes.size()};
  read.next_offset = next + 3;  // compaction left a gap
  BatchWindows windows(std::move(read));
  std::string seen;
  for (Offset until = 40; seen.size() < bytes.size();) {
    const auto window = windows.next();
    ASSERT_TRUE(window) << window.error().text;
    ASSERT_FALSE(window->batches.empty());
    const auto headers = log::validate_batches(window->batches, true);
    ASSERT_TRUE(headers) << headers.error().text;
    EXPECT_EQ(headers->front().base_offset, until);
    until = headers->back().last_offset() + 1;
    seen += window->batches;
    EXPECT_EQ(window->until, seen.size() == bytes.size() ? next + 3 : until);
  }
  EXPECT_EQ(seen, bytes);
  const auto end = windows.next();
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->batches.empty());
  EXPECT_EQ(end->until, next + 3);
}

TEST(BatchWindows, GiveWhatWasReadIntoMemoryAtOnce) {
  Offset next = 0;
  log::ReadResult read;
  read.batches = batches_of({10, 500'000}, next);
  read.next_offset = next;
  const auto bytes = read.batches;
  BatchWindows windows(std::move(read));
  const auto window = windows.next();
  ASSERT_TRUE(window);
  EXPECT_EQ(window->batches, bytes);
  EXPECT_EQ(window->until, next);
  EXPECT_TRUE(windows.next()->batches.empty());
}

TEST(BatchWindows, TellOfAFileThatEndsTooSoon) {
  Offset next = 0;
  const auto bytes = batches_of({1000, 1000}, next);
  log::ReadResult shorter;
  shorter.file = {file_with(bytes, 0), 0, bytes.size() + 1};
  const auto missing = BatchWindows(std::move(shorter)).next();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kIo);
  log::ReadResult cut;
  cut.file = {file_with(bytes, 0), 0, 500};
  const auto torn = BatchWindows(std::move(cut)).next();
  ASSERT_FALSE(torn);
  EXPECT_EQ(torn.error().code, ErrorCode::kCorruptRecord);
}

}  // namespace
}  // namespace millrace::flow
