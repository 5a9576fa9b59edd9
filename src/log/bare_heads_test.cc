#include "log/bare_heads.h"

#include <gmock/gmock.h>

#include "base/crc32c.h"
#include "log/remake.h"

namespace millrace::log {
namespace {

std::string batch_at(Offset offset) {
  BatchBuilder builder;
  for (int i = 0; i < 3; ++i) builder.add(1'000 + i, std::nullopt, "value");
  auto batch = builder.finish();
  patch_batch(batch.data(), offset, 5, std::nullopt);
  return batch;
}

std::string head_at(Offset offset) {
  const auto batch = batch_at(offset);
  const auto contents = BatchContents::open(batch, 1 << 20);
  return BatchRemaker(*contents).finish();
}

TEST(BareHeads, EndInAControlBatchAtTheirOffsets) {
  auto batches = head_at(10) + head_at(13);
  ASSERT_TRUE(all_bare(batches));
  end_in_control(batches);
  const auto first = parse_batch_header(batches);
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->control());
  const auto rest = std::string_view(batches).substr(BatchHeader::kBytes);
  const auto last = parse_batch_header(rest);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->total_bytes(), rest.size());
  EXPECT_EQ(last->crc, crc32c(rest.substr(21)));
  EXPECT_TRUE(last->control());
  EXPECT_EQ(last->base_offset, 13);
  EXPECT_EQ(last->last_offset(), 15);
  EXPECT_EQ(last->leader_epoch, 5);
  EXPECT_EQ(last->record_count, 1);
}

TEST(BareHeads, AreNotTakenForWhatHasRecords) {
  EXPECT_FALSE(all_bare(""));
  EXPECT_FALSE(all_bare(batch_at(0)));
  EXPECT_FALSE(all_bare(head_at(0) + batch_at(3)));
  EXPECT_FALSE(all_bare(std::string(BatchHeader::kBytes, 'x')));
  auto ended = head_at(0);
  end_in_control(ended);
  EXPECT_FALSE(all_bare(ended));
}

}  // namespace
}  // namespace millrace::log
