// The zeros that stand ready after a log's batches.

#include <algorithm>

#include "log/detail/segment.h"
#include "log/log_test_util.h"

namespace millrace::log {
namespace {

class WriteAheadTest : public LogTest {
 protected:
  uint64_t file_size(Offset segment = 0) {
    const auto path = detail::file_name(folder, segment, ".log");
    return (*env.files().open(path, io::FileSystem::Mode::kRead))->size();
  }
  void append_all(int from, int to) {
    for (int i = from; i < to; ++i) ASSERT_TRUE(append(batch_of(std::to_string(i))));
  }
  void expect_values(int count) {
    std::vector<std::string> expected;
    for (int i = 0; i < count; ++i) expected.push_back(std::to_string(i) + "-0");
    EXPECT_EQ(values(), expected);
  }
};

TEST_F(WriteAheadTest, MostAppendsDoNotChangeTheFilesSize) {
  open();
  append_all(0, 1000);
  size_t grown = 0;
  for (int i = 1000; i < 2000; ++i) {
    const auto before = file_size();
    append_all(i, i + 1);
    grown += file_size() != before;
  }
  EXPECT_LE(grown, 2);
  EXPECT_GE(file_size(), log->size_bytes());
  EXPECT_LE(file_size(), 2 * log->size_bytes() + 8192);
  expect_values(2000);
}

TEST_F(WriteAheadTest, GoesWithACloseAndIsCutAfterACrash) {
  open();
  append_all(0, 10);
  const auto bytes = log->size_bytes();
  EXPECT_GT(file_size(), bytes);
  ASSERT_TRUE(close());
  EXPECT_EQ(file_size(), bytes);
  open();
  append_all(10, 20);
  EXPECT_GT(file_size(), log->size_bytes());
  crash();
  open();
  EXPECT_EQ(file_size(), log->size_bytes());
  append_all(20, 30);
  expect_values(30);
}

TEST_F(WriteAheadTest, ASealedSegmentHasNone) {
  config.segment_bytes = 2048;
  open();
  append_all(0, 100);
  const auto names = *env.files().list(folder);
  std::vector<std::string> segments;
  std::ranges::copy_if(names, std::back_inserter(segments),
                       [](const auto& name) { return name.ends_with(".log"); });
  ASSERT_GT(segments.size(), 3);
  segments.pop_back();
  uint64_t sealed = 0;
  for (const auto& name : segments) {
    const auto bytes = *env.files().read_file(folder + "/" + name);
    EXPECT_TRUE(validate_batches(bytes, true)) << name;
    sealed += bytes.size();
  }
  EXPECT_LT(sealed, log->size_bytes());
  crash();
  open();
  expect_values(100);
}

/// The batch is written when there is no room for zeros: it is kept, and the next one as well.
TEST_F(WriteAheadTest, ADiskWithoutRoomForZerosTakesBatches) {
  open();
  append_all(0, 1);
  crash();
  open();
  env.files().fail_after(1, ErrorCode::kDiskFull);  // the write passes, the zeros do not
  append_all(1, 3);
  expect_values(3);
  ASSERT_TRUE(close());
  open();
  expect_values(3);
}

}  // namespace
}  // namespace millrace::log
