#include "broker/detail/share_partition.h"

#include <gmock/gmock.h>

#include <limits>
#include <map>
#include <random>

#include "broker/detail/share_batches.h"
#include "broker/detail/share_state.h"

namespace millrace::broker::detail {

inline void PrintTo(const ShareRange& range, std::ostream* out) {
  *out << range.first << ".." << range.last << " state " << static_cast<int>(range.state) << " x"
       << range.deliveries;
}

}  // namespace millrace::broker::detail

namespace millrace::broker {

bool operator==(const ShareAcquired& a, const ShareAcquired& b) {
  return a.first == b.first && a.last == b.last && a.delivery_count == b.delivery_count;
}
void PrintTo(const ShareAcquired& range, std::ostream* out) {
  *out << range.first << ".." << range.last << " x" << range.delivery_count;
}

namespace detail {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Ack = ShareAcknowledgement;

constexpr int64_t kLock = 1000;
constexpr uint64_t kAnn = 1, kBob = 2;

/// A share partition over a log of batches of ten records.
class SharePartitionTest : public testing::Test {
 protected:
  static constexpr Offset kBatch = 10;
  static constexpr Offset kReadMax = 100;

  std::vector<ShareAcquired> acquire(uint64_t member, int64_t max, bool strict = false) {
    records_.tick(now_, limits_);
    const auto from = records_.next_fetch(limits_);
    if (!from || *from >= log_end_) return {};
    std::vector<ShareSpan> spans;
    const Offset end = std::min(log_end_, *from + kReadMax);
    for (Offset base = *from / kBatch * kBatch; base < end; base += kBatch) {
      ShareSpan span{.first = base, .last = base + kBatch - 1};
      for (const auto& [offset, time] : deliver_at_) {
        if (offset >= base && offset < base + kBatch) span.deliver_at.emplace_back(offset, time);
      }
      spans.push_back(span);
    }
    return records_.acquire({member, now_, kLock, max, strict}, spans, limits_);
  }
  Result<> acknowledge(uint64_t member, Offset first, Offset last, int8_t type,
                       bool renews = false) {
    return records_.acknowledge(member, now_, kLock, renews, {{first, last, {type}}}, limits_);
  }
  /// As the next life of the node would have it.
  SharePartition reloaded() {
    auto copy = records_;
    const auto delta = copy.snapshot();
    SharePartition out(delta.start);
    out.apply(delta);
    return out;
  }

  ShareLimits limits_;
  int64_t now_ = 1'000'000;
  Offset log_end_ = 100;
  std::map<Offset, TimestampMs> deliver_at_;
  SharePartition records_{0};
};

TEST_F(SharePartitionTest, AcquiresWholeBatchesUnlessTheLimitIsStrict) {
  EXPECT_THAT(acquire(kAnn, 15), ElementsAre(ShareAcquired{0, 19, 1}));
  EXPECT_THAT(acquire(kBob, 5, true), ElementsAre(ShareAcquired{20, 24, 1}));
  EXPECT_THAT(acquire(kBob, 7, true), ElementsAre(ShareAcquired{25, 31, 1}));
}

TEST_F(SharePartitionTest, GivesEachRecordToOneMember) {
  acquire(kAnn, 10);
  EXPECT_THAT(acquire(kBob, 10), ElementsAre(ShareAcquired{10, 19, 1}));
  EXPECT_EQ(acknowledge(kBob, 0, 0, Ack::kAccept).error().code, ErrorCode::kInvalidRecordState);
  EXPECT_TRUE(acknowledge(kAnn, 0, 9, Ack::kAccept));
  EXPECT_EQ(records_.start(), 10);
}

TEST_F(SharePartitionTest, AcceptsAllOrNothing) {
  acquire(kAnn, 10);
  ASSERT_TRUE(acknowledge(kAnn, 5, 5, Ack::kAccept));
  EXPECT_FALSE(acknowledge(kAnn, 0, 9, Ack::kAccept));
  EXPECT_EQ(records_.start(), 0);
  EXPECT_EQ(records_.at(0).state, RecordState::kAcquired);
}

TEST_F(SharePartitionTest, TakesOneTypeForEachOffset) {
  acquire(kAnn, 4, true);
  const std::vector<int8_t> types{Ack::kAccept, Ack::kRelease, Ack::kReject, Ack::kGap};
  ASSERT_TRUE(records_.acknowledge(kAnn, now_, kLock, false, {{0, 3, types}}, limits_));
  EXPECT_EQ(records_.start(), 1);
  EXPECT_THAT(acquire(kBob, 1, true), ElementsAre(ShareAcquired{1, 1, 2}));
  ASSERT_TRUE(acknowledge(kBob, 1, 1, Ack::kAccept));
  EXPECT_EQ(records_.start(), 4);
}

TEST_F(SharePartitionTest, RefusesAcknowledgementsThatMakeNoSense) {
  acquire(kAnn, 10);
  const auto refused = [&](std::vector<Ack> acks) {
    const auto done = records_.acknowledge(kAnn, now_, kLock, false, acks, limits_);
    return !done && done.error().code == ErrorCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused({{3, 2, {Ack::kAccept}}}));
  EXPECT_TRUE(refused({{0, 4, {}}}));
  EXPECT_TRUE(refused({{0, 4, {1, 1}}}));
  EXPECT_TRUE(refused({{0, 4, {Ack::kRenew}}}));
  EXPECT_TRUE(refused({{0, 4, {-1}}}));
  EXPECT_TRUE(refused({{5, 9, {1}}, {0, 4, {1}}}));
  EXPECT_TRUE(refused({{0, std::numeric_limits<Offset>::max(), {1}}}));
  EXPECT_TRUE(refused({{std::numeric_limits<Offset>::min(), 4, {1, 1}}}));
}

TEST_F(SharePartitionTest, ReleasesWhatWasLockedTooLong) {
  acquire(kAnn, 10);
  EXPECT_EQ(records_.next_event(), now_ + kLock);
  now_ += kLock;
  EXPECT_THAT(acquire(kBob, 10), ElementsAre(ShareAcquired{0, 9, 2}));
  EXPECT_FALSE(acknowledge(kAnn, 0, 9, Ack::kAccept));
}

TEST_F(SharePartitionTest, RenewsALock) {
  acquire(kAnn, 10);
  now_ += kLock / 2;
  ASSERT_TRUE(acknowledge(kAnn, 0, 9, Ack::kRenew, true));
  now_ += kLock / 2;
  EXPECT_FALSE(records_.tick(now_, limits_));
  EXPECT_TRUE(acknowledge(kAnn, 0, 9, Ack::kAccept));
}

TEST_F(SharePartitionTest, GivesUpAfterSoManyDeliveries) {
  for (int16_t i = 1; i <= limits_.deliveries; ++i) {
    ASSERT_THAT(acquire(kAnn, 10), ElementsAre(ShareAcquired{0, 9, i}));
    ASSERT_TRUE(acknowledge(kAnn, 0, 9, Ack::kRelease));
  }
  EXPECT_EQ(records_.start(), 10);
}

TEST_F(SharePartitionTest, WaitsForTheLettersOfTheDead) {
  limits_.letters = true;
  acquire(kAnn, 10);
  ASSERT_TRUE(acknowledge(kAnn, 0, 9, Ack::kReject));
  EXPECT_EQ(records_.start(), 0);
  EXPECT_THAT(records_.dying(4), ElementsAre(ShareRange{0, 3, RecordState::kDying, 1}));
  records_.archive(0, 3);
  EXPECT_EQ(records_.start(), 4);
  records_.archive(4, 9);
  EXPECT_EQ(records_.start(), 10);
  EXPECT_THAT(records_.dying(4), IsEmpty());
}

TEST_F(SharePartitionTest, CountsWhatASessionsEndReleases) {
  acquire(kAnn, 10);
  EXPECT_TRUE(records_.release(kAnn, limits_));
  EXPECT_THAT(acquire(kBob, 10), ElementsAre(ShareAcquired{0, 9, 2}));
}

TEST_F(SharePartitionTest, HasSoManyInFlightAndNoMore) {
  limits_.in_flight = 25;
  EXPECT_THAT(acquire(kAnn, 100), ElementsAre(ShareAcquired{0, 24, 1}));
  EXPECT_EQ(records_.next_fetch(limits_), std::nullopt);
  ASSERT_TRUE(acknowledge(kAnn, 20, 24, Ack::kAccept));
  EXPECT_THAT(acquire(kBob, 100), ElementsAre(ShareAcquired{25, 29, 1}));
}

TEST_F(SharePartitionTest, DelaysRecordsWhileLaterOnesGoOn) {
  deliver_at_ = {{2, now_ + 500}, {3, now_ - 1}, {12, now_ + 900}};
  EXPECT_THAT(acquire(kAnn, 20), ElementsAre(ShareAcquired{0, 1, 1}, ShareAcquired{3, 11, 1},
                                             ShareAcquired{13, 29, 1}));
  EXPECT_EQ(records_.next_event(), now_ + 500);
  now_ += 500;
  ASSERT_TRUE(acknowledge(kAnn, 0, 1, Ack::kAccept));
  EXPECT_EQ(records_.start(), 2);
  EXPECT_THAT(acquire(kBob, 1, true), ElementsAre(ShareAcquired{2, 2, 1}));
}

TEST_F(SharePartitionTest, PassesOverWhatHoldsNoRecord) {
  std::vector<ShareSpan> spans(2);
  spans[0] = {.first = 0, .last = 4, .passed_over = true};
  spans[1] = {.first = 5, .last = 9};
  EXPECT_THAT(records_.acquire({kAnn, now_, kLock, 100, false}, spans, limits_),
              ElementsAre(ShareAcquired{5, 9, 1}));
  EXPECT_EQ(records_.start(), 5);
  EXPECT_FALSE(spans[0].taken);
  EXPECT_TRUE(spans[1].taken);
}

TEST_F(SharePartitionTest, ForgetsWhatTheLogHasForgotten) {
  acquire(kAnn, 20);
  records_.log_start(15);
  EXPECT_EQ(records_.start(), 15);
  EXPECT_TRUE(acknowledge(kAnn, 0, 19, Ack::kAccept));
  EXPECT_EQ(records_.start(), 20);
  records_.log_start(50);
  EXPECT_EQ(records_.next_fetch(limits_), 50);
}

TEST_F(SharePartitionTest, GivesUpAfterARestartWhatWasDeliveredTooOften) {
  for (int i = 1; i < limits_.deliveries; ++i) {
    acquire(kAnn, 10);
    ASSERT_TRUE(acknowledge(kAnn, 0, 9, Ack::kRelease));
  }
  acquire(kAnn, 10);
  records_ = reloaded();
  EXPECT_EQ(records_.at(0), (ShareRange{0, 9, RecordState::kAvailable, 5}));
  records_.restored(limits_);
  EXPECT_EQ(records_.start(), 10);
}

/// Every offset by itself, as slow and as plain as can be.
struct Model {
  struct Record {
    RecordState state = RecordState::kAvailable;
    int deliveries = 0;
    uint64_t member = 0;
    int64_t until = 0;
  };
  std::map<Offset, Record> records;  // from the start on
  Offset start = 0;

  void advance() {
    while (records.contains(start) && (records[start].state == RecordState::kAcknowledged ||
                                       records[start].state == RecordState::kArchived))
      records.erase(start++);
  }
  void let_go(Record& record, int limit) {
    record.state = record.deliveries >= limit ? RecordState::kArchived : RecordState::kAvailable;
  }
};

class RandomWalk : public SharePartitionTest, public testing::WithParamInterface<int> {
 protected:
  uint64_t random(uint64_t below) { return random_() % below; }

  void expect_same(const SharePartition& records) {
    ASSERT_EQ(records.start(), model_.start);
    for (const auto& [offset, record] : model_.records) {
      const auto at = records.at(offset);
      ASSERT_EQ(at.state, record.state) << offset;
      if (record.state == RecordState::kAvailable || record.state == RecordState::kAcquired)
        ASSERT_EQ(at.deliveries, record.deliveries) << offset;
    }
  }
  void step_acquire() {
    const uint64_t member = 1 + random(3);
    for (const auto& range : acquire(member, 1 + static_cast<int64_t>(random(25)), random(2))) {
      for (Offset o = range.first; o <= range.last; ++o) {
        auto& record = model_.records[o];
        ASSERT_EQ(record.state, RecordState::kAvailable) << o;
        ++record.deliveries;
        ASSERT_EQ(record.deliveries, range.delivery_count) << o;
        record = {RecordState::kAcquired, record.deliveries, member, now_ + kLock};
      }
    }
    // What was looked at and not taken waits.
    for (Offset o = model_.start; o < records_.end(); ++o) model_.records.try_emplace(o);
  }
  void step_acknowledge() {
    const uint64_t member = 1 + random(3);
    const Offset first = model_.start + static_cast<Offset>(random(30));
    const Offset last = first + static_cast<Offset>(random(6));
    std::vector<int8_t> types(random(2) ? 1 : static_cast<size_t>(last - first + 1));
    for (auto& type : types) type = static_cast<int8_t>(random(5));
    bool allowed = last < records_.end();
    for (Offset o = first; o <= last; ++o) {
      const auto at = model_.records.find(o);
      allowed = allowed && at != model_.records.end() &&
                at->second.state == RecordState::kAcquired && at->second.member == member;
    }
    const auto done =
        records_.acknowledge(member, now_, kLock, true, {{first, last, types}}, limits_);
    ASSERT_EQ(static_cast<bool>(done), allowed);
    if (!done) return;
    for (Offset o = first; o <= last; ++o) {
      auto& record = model_.records[o];
      switch (types[types.size() == 1 ? 0 : static_cast<size_t>(o - first)]) {
        case Ack::kAccept:
          record.state = RecordState::kAcknowledged;
          break;
        case Ack::kRelease:
          model_.let_go(record, limits_.deliveries);
          break;
        case Ack::kRenew:
          record.until = now_ + kLock;
          break;
        default:
          record.state = RecordState::kArchived;
      }
    }
    model_.advance();
  }
  void step_time() {
    now_ += static_cast<int64_t>(random(kLock));
    records_.tick(now_, limits_);
    for (auto& [offset, record] : model_.records) {
      if (record.state == RecordState::kAcquired && record.until <= now_)
        model_.let_go(record, limits_.deliveries);
    }
    model_.advance();
  }
  void step_release() {
    const uint64_t member = 1 + random(3);
    records_.release(member, limits_);
    for (auto& [offset, record] : model_.records) {
      if (record.state == RecordState::kAcquired && record.member == member)
        model_.let_go(record, limits_.deliveries);
    }
    model_.advance();
  }

  std::mt19937_64 random_{static_cast<uint64_t>(GetParam())};
  Model model_;
};

TEST_P(RandomWalk, EqualsTheModelAndSoDoesWhatIsKept) {
  log_end_ = 100'000;
  limits_.in_flight = 60;
  limits_.deliveries = 3;
  // What the journal would hold: a snapshot, and every change after it, through its bytes.
  auto bytes = write_share_state({1, records_.snapshot()});
  SharePartition kept(parse_share_state(bytes)->delta.start);
  for (int i = 0; i < 400; ++i) {
    const auto dice = random(10);
    if (dice < 4) step_acquire();
    if (dice >= 4 && dice < 8) step_acknowledge();
    if (dice == 8) step_time();
    if (dice == 9) step_release();
    if (HasFatalFailure()) return;
    expect_same(records_);
    if (HasFatalFailure()) FAIL() << "seed " << GetParam() << " step " << i;
    if (random(3) == 0 && records_.has_changes()) {
      bytes = write_share_state({1, records_.take_changes()});
      const auto parsed = parse_share_state(bytes);
      ASSERT_TRUE(parsed);
      kept.apply(parsed->delta);
      ASSERT_EQ(kept.start(), records_.start());
      for (Offset o = kept.start(); o < std::min(kept.end(), records_.end()); ++o) {
        auto expected = records_.at(o).state;
        if (expected == RecordState::kAcquired) expected = RecordState::kAvailable;
        ASSERT_EQ(kept.at(o).state, expected) << o << " seed " << GetParam() << " step " << i;
        if (expected == RecordState::kAvailable)
          ASSERT_EQ(kept.at(o).deliveries, records_.at(o).deliveries) << o;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomWalk, testing::Range(1, 60));

TEST(ShareState, RefusesBytesThatCannotBe) {
  const auto bytes = write_share_state(
      {7, {5, {{6, 9, RecordState::kAvailable, 2}, {12, 400, RecordState::kAcknowledged, 0}}}});
  const auto parsed = parse_share_state(bytes);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->epoch, 7u);
  EXPECT_EQ(parsed->delta.start, 5);
  EXPECT_THAT(parsed->delta.ranges,
              ElementsAre(ShareRange{6, 9, RecordState::kAvailable, 2},
                          ShareRange{12, 400, RecordState::kAcknowledged, 0}));
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(parse_share_state(std::string_view(bytes).substr(0, cut))) << cut;
  EXPECT_FALSE(parse_share_state(std::string(40, '\xff')));
}

TEST(ShareState, NamesAGroupWithASlash) {
  const SharePartitionId id{Uuid::random(), 3};
  const auto key = parse_share_key(share_state_key("a/b", id, 17));
  ASSERT_TRUE(key);
  EXPECT_EQ(key->group, "a/b");
  EXPECT_EQ(*key->id, id);
  EXPECT_EQ(key->slot, 17u);
  EXPECT_EQ(parse_share_key(share_group_key("a/b"))->group, "a/b");
  EXPECT_FALSE(parse_share_key("state/1/2"));
}

TEST(DeliverAt, ReadsMillisecondsAndRfc3339) {
  EXPECT_EQ(parse_deliver_at("1700000000123"), 1'700'000'000'123);
  EXPECT_EQ(parse_deliver_at("2023-11-14T22:13:20Z"), 1'700'000'000'000);
  EXPECT_EQ(parse_deliver_at("2023-11-14T23:13:20.5+01:00"), 1'700'000'000'500);
  EXPECT_EQ(parse_deliver_at("2023-11-14T22:13:20.123456789Z"), 1'700'000'000'123);
  for (const auto* text : {"", "soon", "-5", "2023-11-14", "2023-13-14T22:13:20Z",
                           "2023-11-14T22:13:20", "2023-11-14T22:13:20+1:00", "12x"})
    EXPECT_EQ(parse_deliver_at(text), std::nullopt) << text;
}

TEST(Duration, ReadsIso8601) {
  EXPECT_EQ(parse_duration("PT1H30M"), 90 * 60'000);
  EXPECT_EQ(parse_duration("P2DT0.5S"), 2 * 86'400'000 + 500);
  for (const auto* text : {"", "P", "1H", "PT1X", "P1H", "PTT1H"})
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
}

}  // namespace

}  // namespace detail

}  // namespace millrace::broker
