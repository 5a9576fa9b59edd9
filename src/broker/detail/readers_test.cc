#include "broker/detail/readers.h"

#include <gmock/gmock.h>

namespace millrace::broker::detail {
namespace {

using std::chrono::minutes;
using testing::ElementsAre;
using testing::IsEmpty;

const auto kNow = Readers::Clock::time_point() + minutes(60);

TEST(ReadersTest, MembershipCountsBeforeTheUseOfOffsetsAndIsForgotten) {
  Readers readers;
  readers.seen("tool", "h", "c", false, kNow);
  EXPECT_THAT(readers.groups_of("h", "c", kNow), ElementsAre("tool"));
  readers.seen("g", "h", "c", true, kNow);
  EXPECT_THAT(readers.groups_of("h", "c", kNow), ElementsAre("g"));
  EXPECT_THAT(readers.groups_of("h", "other", kNow), IsEmpty());
  EXPECT_THAT(readers.groups_of("h", "c", kNow + minutes(11)), IsEmpty());
}

TEST(ReadersTest, RemembersNoMoreClientsThanItMay) {
  Readers readers(2);
  for (const auto* client : {"a", "b", "c"}) readers.seen("g", "h", client, true, kNow);
  EXPECT_THAT(readers.groups_of("h", "b", kNow), ElementsAre("g"));
  EXPECT_THAT(readers.groups_of("h", "c", kNow), IsEmpty());
  readers.seen("g", "h", "b", true, kNow + minutes(9));
  // There is room again once others were silent for long.
  readers.seen("g", "h", "c", true, kNow + minutes(11));
  EXPECT_THAT(readers.groups_of("h", "c", kNow + minutes(11)), ElementsAre("g"));
  EXPECT_THAT(readers.groups_of("h", "a", kNow + minutes(11)), IsEmpty());
}

}  // namespace
}  // namespace millrace::broker::detail
