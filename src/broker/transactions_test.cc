#include "broker/transactions.h"

#include <thread>

#include "broker/broker_test_util.h"
#include "broker/detail/transaction_entry.h"
#include "broker/journal.h"
#include "log/log_test_util.h"

namespace millrace::broker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = TransactionState;

constexpr int32_t kTimeout = 60'000;
constexpr int16_t kEpochMax = std::numeric_limits<int16_t>::max();

class TransactionsTest : public CoordinatorTest {
 protected:
  TransactionsTest() {
    options_.check_interval = std::chrono::hours(1);  // tests say when
    options_.busy_wait = std::chrono::milliseconds(100);
    options_.marker_wait = std::chrono::seconds(30);
    start();
    auto made = create(topic("t", 2));
    EXPECT_TRUE(made);
  }
  ~TransactionsTest() override {
    env_.files().heal();
    stop();
  }

  Partition& partition(int32_t index) {
    return *broker_->find("t")->partitions[static_cast<size_t>(index)];
  }
  Result<Producer> init(std::string id = "x", std::optional<Producer> expected = std::nullopt,
                        int32_t timeout = kTimeout) {
    return shard().block_on(transactions_->init(std::move(id), timeout, expected));
  }
  Result<> add(Producer who, std::vector<int32_t> partitions) {
    std::vector<TopicPartition> all;
    for (auto p : partitions) all.push_back({"t", p});
    return shard().block_on(transactions_->add_partitions("x", who, std::move(all)));
  }
  Result<Producer> end(Producer who, bool commit, bool bump = true) {
    return shard().block_on(transactions_->end("x", who, commit, bump));
  }
  TransactionInfo describe(std::string id = "x") {
    auto found = shard().block_on(transactions_->describe(std::move(id)));
    EXPECT_TRUE(found);
    return found ? *found : TransactionInfo();
  }
  /// Waits until what was decided is also known to be complete, which end() does not wait for.
  void settle() {
    const auto preparing = [&] {
      const auto state = describe().state;
      return state == State::kPrepareCommit || state == State::kPrepareAbort;
    };
    for (int i = 0; i < 30'000 && preparing(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_FALSE(preparing());
  }
  void expire() { shard().block_on(transactions_->expire()); }

  /// A produce request, as its handler runs it on a connection's shard.
  io::Task<Result<log::AppendResult>> produce_there(Producer who, int32_t index, std::string batch,
                                                    bool add) {
    auto kept = broker_->find("t")->partitions[static_cast<size_t>(index)];
    Partition* wanted[] = {kept.get()};
    Transactions::Admission admission;
    if (auto now = transactions_->try_admit(who, wanted)) {
      admission = std::move(*now);
      ++admitted_at_once_;
    } else {
      std::vector<std::shared_ptr<Partition>> all = {kept};
      MR_CO_TRY(auto admitted, co_await transactions_->admit("x", who, std::move(all), add));
      if (!admitted.partitions[0]) co_return std::move(admitted.partitions[0]).error();
      admission = std::move(admitted.admission);
    }
    auto appended = co_await kept->append(std::move(batch), log::Ack::kDurable);
    MR_CO_TRY(co_await transactions_->recorded(admission));
    co_return appended;
  }
  Result<log::AppendResult> produce(Producer who, int32_t index, int32_t sequence,
                                    std::string value, bool add = true) {
    auto batch =
        log::transactional(log::produced(log::batch_of(value, 1), who.id, who.epoch, sequence));
    return runtime_.shard(1).block_on(produce_there(who, index, std::move(batch), add));
  }
  /// What a reader of committed records sees.
  std::vector<std::string> committed(int32_t index) {
    std::vector<std::string> out;
    auto read =
        runtime_.shard(1).block_on(partition(index).read(0, 1 << 20, log::Isolation::kCommitted));
    EXPECT_TRUE(read) << read.error().text;
    if (read) log::add_committed(*read, 0, out);
    return out;
  }
  bool stable(int32_t index) {
    return partition(index).last_stable_offset() == partition(index).high_watermark();
  }

  int admitted_at_once_ = 0;
};

TEST_F(TransactionsTest, CommitsOverPartitionsAtOnce) {
  auto who = init();
  ASSERT_TRUE(who) << who.error().text;
  EXPECT_EQ(who->epoch, 0);
  ASSERT_TRUE(produce(*who, 0, 0, "a"));
  ASSERT_TRUE(produce(*who, 0, 1, "b"));
  ASSERT_TRUE(produce(*who, 1, 0, "c"));
  EXPECT_EQ(admitted_at_once_, 1);
  EXPECT_THAT(committed(0), IsEmpty());
  EXPECT_EQ(describe().state, State::kOngoing);
  EXPECT_EQ(describe().partitions.size(), 2u);
  const auto next = end(*who, true);
  ASSERT_TRUE(next) << next.error().text;
  EXPECT_EQ(*next, (Producer{who->id, 1}));
  EXPECT_THAT(committed(0), ElementsAre("a-0", "b-0"));
  EXPECT_THAT(committed(1), ElementsAre("c-0"));
  // The answer was lost: the same request has the same answer.
  EXPECT_EQ(*end(*who, true), *next);
  EXPECT_EQ(end(*who, false).error().code, ErrorCode::kInvalidTransaction);
  restart();
  EXPECT_EQ(*end(*who, true), *next);
  settle();
  EXPECT_EQ(describe().state, State::kCompleteCommit);
  EXPECT_THAT(describe().partitions, IsEmpty());
}

TEST_F(TransactionsTest, PassesOverWhatIsAborted) {
  auto who = *init();
  ASSERT_TRUE(produce(who, 0, 0, "a"));
  who = *end(who, false);
  ASSERT_TRUE(produce(who, 0, 0, "b"));
  who = *end(who, true);
  EXPECT_EQ(who.epoch, 2);
  EXPECT_THAT(committed(0), ElementsAre("b-0"));
  EXPECT_EQ(end(who, true).error().code, ErrorCode::kInvalidTransaction);
  // A producer that is not sure whether it wrote anything aborts.
  EXPECT_EQ(end(who, false)->epoch, 3);
}

TEST_F(TransactionsTest, KeepsTheEpochForClientsOfTheFirstVersion) {
  const auto who = *init();
  EXPECT_EQ(produce(who, 0, 0, "a", false).error().code, ErrorCode::kInvalidTransaction);
  ASSERT_TRUE(add(who, {0}));
  ASSERT_TRUE(produce(who, 0, 0, "a", false));
  EXPECT_EQ(produce(who, 1, 0, "b", false).error().code, ErrorCode::kInvalidTransaction);
  EXPECT_EQ(*end(who, true, false), who);
  EXPECT_EQ(*end(who, true, false), who);
  // A batch that comes late is of no transaction.
  EXPECT_EQ(produce(who, 0, 1, "late", false).error().code, ErrorCode::kInvalidTransaction);
  ASSERT_TRUE(add(who, {0, 1}));
  ASSERT_TRUE(produce(who, 0, 1, "c", false));
  EXPECT_EQ(*end(who, false, false), who);
  EXPECT_THAT(committed(0), ElementsAre("a-0"));
}

TEST_F(TransactionsTest, FencesTheProducerBefore) {
  const auto old = *init();
  ASSERT_TRUE(produce(old, 0, 0, "old"));
  const auto who = *init();
  EXPECT_EQ(who.id, old.id);
  EXPECT_GT(who.epoch, old.epoch);
  EXPECT_THAT(committed(0), IsEmpty());
  EXPECT_TRUE(stable(0));
  EXPECT_EQ(produce(old, 0, 1, "zombie").error().code, ErrorCode::kProducerFenced);
  EXPECT_EQ(end(old, true).error().code, ErrorCode::kProducerFenced);
  EXPECT_EQ(add(old, {0}).error().code, ErrorCode::kProducerFenced);
  auto batch = log::transactional(log::produced(log::batch_of("z", 1), old.id, old.epoch, 1));
  EXPECT_EQ(append(partition(0), batch).error().code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(add({old.id + 1, 0}, {0}).error().code, ErrorCode::kInvalidProducerIdMapping);
  ASSERT_TRUE(produce(who, 0, 0, "new"));
  ASSERT_TRUE(end(who, true));
  EXPECT_THAT(committed(0), ElementsAre("new-0"));
}

TEST_F(TransactionsTest, LetsAProducerGoOnAfterAnError) {
  const auto first = *init();
  const auto second = *init("x", first);
  EXPECT_EQ(second, (Producer{first.id, 1}));
  EXPECT_EQ(*init("x", first), second);  // the answer was lost
  const auto third = *init();
  EXPECT_EQ(init("x", second).error().code, ErrorCode::kProducerFenced);
  EXPECT_EQ(init("x", Producer{first.id + 7, 0}).error().code, ErrorCode::kProducerFenced);
  ASSERT_TRUE(produce(third, 0, 0, "open"));
  EXPECT_EQ(init("x", second).error().code, ErrorCode::kProducerFenced);
  EXPECT_EQ(describe().state, State::kOngoing);
  const auto fourth = *init("x", third);
  EXPECT_GT(fourth.epoch, third.epoch);
  EXPECT_THAT(committed(0), IsEmpty());
  EXPECT_TRUE(stable(0));
}

TEST_F(TransactionsTest, RefusesWhatNobodyMayAskFor) {
  EXPECT_EQ(init("").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(init("x", std::nullopt, 0).error().code, ErrorCode::kInvalidTransactionTimeout);
  EXPECT_EQ(init("x", std::nullopt, 900'001).error().code, ErrorCode::kInvalidTransactionTimeout);
  EXPECT_EQ(end({1, 0}, true).error().code, ErrorCode::kInvalidProducerIdMapping);
  EXPECT_EQ(shard().block_on(transactions_->describe("x")).error().code,
            ErrorCode::kTransactionalIdNotFound);
  const auto who = *init();
  EXPECT_EQ(end(who, true).error().code, ErrorCode::kInvalidTransaction);
}

TEST_F(TransactionsTest, AbortsWhatIsPastItsTimeout) {
  const auto who = *init();
  ASSERT_TRUE(produce(who, 0, 0, "a"));
  env_.set_now_ms(env_.now_ms() + kTimeout);
  expire();
  EXPECT_EQ(describe().state, State::kOngoing);
  env_.set_now_ms(env_.now_ms() + 1);
  expire();
  EXPECT_EQ(describe().state, State::kCompleteAbort);
  EXPECT_THAT(committed(0), IsEmpty());
  EXPECT_TRUE(stable(0));
  EXPECT_THAT(env_.metrics().render(),
              AllOf(HasSubstr("millrace_broker_transactions_total{outcome=\"abort\"} 1\n"),
                    HasSubstr("millrace_broker_transactions_total{outcome=\"commit\"} 0\n"),
                    HasSubstr("millrace_broker_transactions_timed_out_total 1\n")));
  EXPECT_EQ(produce(who, 0, 1, "late").error().code, ErrorCode::kProducerFenced);
  EXPECT_EQ(end(who, true).error().code, ErrorCode::kProducerFenced);
}

TEST_F(TransactionsTest, ForgetsIdsThatNobodyUses) {
  const auto who = *init();
  ASSERT_TRUE(produce(who, 0, 0, "a"));
  ASSERT_TRUE(end(who, true));
  settle();
  env_.set_now_ms(env_.now_ms() + 7LL * 24 * 3600 * 1000);
  expire();
  EXPECT_EQ(end({who.id, 1}, false).error().code, ErrorCode::kInvalidProducerIdMapping);
  restart();
  EXPECT_EQ(end({who.id, 1}, false).error().code, ErrorCode::kInvalidProducerIdMapping);
  EXPECT_NE(init()->id, who.id);
}

TEST_F(TransactionsTest, GivesAnotherIdWhenTheEpochsAreUsedUp) {
  const auto first = *init();
  Producer who{first.id, kEpochMax - 1};
  stop();
  detail::TransactionEntry entry;
  entry.producer = who;
  entry.timeout_ms = kTimeout;
  entry.update_time = env_.now_ms();
  auto journal = Journal::make(env_, *broker_, "__transaction_state");
  ASSERT_TRUE(shard().block_on(journal->put({{"x", entry.encode()}})));
  start();
  ASSERT_TRUE(produce(who, 0, 0, "last"));
  const auto next = *end(who, true);
  EXPECT_NE(next.id, first.id);
  EXPECT_EQ(next.epoch, 0);
  EXPECT_EQ(*end(who, true), next);
  EXPECT_THAT(committed(0), ElementsAre("last-0"));
  ASSERT_TRUE(produce(next, 0, 0, "next"));
  restart();
  ASSERT_TRUE(end(next, true));
  EXPECT_THAT(committed(0), ElementsAre("last-0", "next-0"));
}

TEST(TransactionEntryTest, KnowsTheNextIdWhileATransactionIsBeingEnded) {
  using Step = detail::TransactionEntry::EndStep;
  const Producer old{7, kEpochMax - 1};
  const Producer next{8, 0};
  detail::TransactionEntry entry;
  entry.producer = old;
  entry.begin(1);
  entry.decide(true, true, next.id, 2);
  EXPECT_TRUE(entry.check(next, "x"));
  EXPECT_EQ(*entry.check_end(next, false, true, "x"), Step::kBusy);
  EXPECT_EQ(*entry.check_end(old, true, true, "x"), Step::kBusy);
  EXPECT_EQ(entry.check(old, "x").error().code, ErrorCode::kInvalidProducerIdMapping);
  EXPECT_EQ(entry.check({old.id, kEpochMax}, "x").error().code,
            ErrorCode::kInvalidProducerIdMapping);
  entry.complete(3);
  EXPECT_TRUE(entry.check(next, "x"));
  EXPECT_EQ(*entry.check_end(old, true, true, "x"), Step::kRepeated);
}

TEST_F(TransactionsTest, GoesOnAfterARestart) {
  const auto who = *init();
  ASSERT_TRUE(produce(who, 0, 0, "a"));
  restart();
  EXPECT_THAT(committed(0), IsEmpty());
  ASSERT_TRUE(produce(who, 0, 1, "b"));
  ASSERT_TRUE(produce(who, 1, 0, "c"));
  restart();
  ASSERT_TRUE(end(who, true));
  EXPECT_THAT(committed(0), ElementsAre("a-0", "b-0"));
  EXPECT_THAT(committed(1), ElementsAre("c-0"));
}

TEST_F(TransactionsTest, TakesInAPartitionWhoseRecordWasLost) {
  const auto who = *init();
  // The batch is durable, the record that adds its partition is not.
  auto batch = log::transactional(log::produced(log::batch_of("a", 1), who.id, who.epoch, 0));
  ASSERT_TRUE(append(partition(0), batch));
  restart();
  EXPECT_EQ(describe().state, State::kOngoing);
  auto again = produce(who, 0, 0, "a");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->duplicate);
  ASSERT_TRUE(end(who, true));
  EXPECT_THAT(committed(0), ElementsAre("a-0"));
}

TEST_F(TransactionsTest, AbortsWhatNoProducerCanEnd) {
  auto batch = log::transactional(log::produced(log::batch_of("a", 1), 4711, 3, 0));
  ASSERT_TRUE(append(partition(0), batch));
  EXPECT_FALSE(stable(0));
  restart();
  EXPECT_TRUE(stable(0));
  EXPECT_THAT(committed(0), IsEmpty());
}

TEST_F(TransactionsTest, EndsWithoutATopicThatWasDropped) {
  ASSERT_TRUE(create(topic("u")));
  const auto who = *init();
  ASSERT_TRUE(produce(who, 0, 0, "a"));
  std::vector<TopicPartition> dropped = {{"u", 0}};
  ASSERT_TRUE(shard().block_on(transactions_->add_partitions("x", who, dropped)));
  ASSERT_TRUE(drop("u"));
  ASSERT_TRUE(end(who, true));
  EXPECT_THAT(committed(0), ElementsAre("a-0"));
}

TEST_F(TransactionsTest, CommitsOffsetsOfGroups) {
  const auto who = *init();
  const TopicPartition at{"t", 1};
  const auto offset = [&](bool require_stable) {
    std::vector<TopicPartition> wanted = {at};
    auto found = shard().block_on(groups_->fetch("g", {}, std::move(wanted), require_stable));
    EXPECT_TRUE(found);
    return found->front();
  };
  const auto stage = [&](Offset to, Producer as, bool add) {
    std::vector<OffsetToCommit> offsets = {{.at = at, .offset = to, .metadata = {}}};
    return shard().block_on(transactions_->stage_offsets("x", as, "g", {}, offsets, add));
  };
  EXPECT_EQ(stage(5, who, false).error().code, ErrorCode::kInvalidTransaction);
  ASSERT_TRUE(shard().block_on(transactions_->add_group("x", who, "g")));
  ASSERT_TRUE(stage(5, who, false));
  EXPECT_FALSE(offset(false).committed);
  EXPECT_TRUE(offset(true).unstable);
  const auto next = *end(who, true);
  EXPECT_EQ(offset(true).committed->offset, 5);
  ASSERT_TRUE(stage(7, next, true));
  restart();
  const auto last = *end(next, false);
  EXPECT_EQ(offset(true).committed->offset, 5);
  EXPECT_EQ(stage(9, who, true).error().code, ErrorCode::kProducerFenced);
  EXPECT_TRUE(stage(9, last, true));
}

TEST_F(TransactionsTest, ListsWhatIsAskedFor) {
  const auto who = *init("x");
  ASSERT_TRUE(init("yy"));
  ASSERT_TRUE(produce(who, 0, 0, "a"));
  const auto ids = [&](TransactionFilter filter) {
    std::vector<std::string> out;
    auto found = shard().block_on(transactions_->list(std::move(filter)));
    EXPECT_TRUE(found);
    for (const auto& each : *found) out.push_back(each.transactional_id);
    return out;
  };
  EXPECT_THAT(ids({}), ElementsAre("x", "yy"));
  EXPECT_THAT(ids({.states = {State::kOngoing}}), ElementsAre("x"));
  EXPECT_THAT(ids({.producer_ids = {who.id}}), ElementsAre("x"));
  EXPECT_THAT(ids({.pattern = "y+"}), ElementsAre("yy"));
  EXPECT_THAT(ids({.states = {State::kOngoing}, .duration_ms = 0}), IsEmpty());
  env_.set_now_ms(env_.now_ms() + 1);
  EXPECT_THAT(ids({.states = {State::kOngoing}, .duration_ms = 0}), ElementsAre("x"));
  EXPECT_EQ(shard().block_on(transactions_->list({.pattern = "("})).error().code,
            ErrorCode::kInvalidRegex);
}

/// Whatever operation of the disk is the last before a crash: a transaction is whole or absent,
/// what was answered holds, and nothing is left open for ever.
TEST_F(TransactionsTest, IsWholeOrAbsentAfterACrashAtEveryStep) {
  options_.marker_wait = std::chrono::milliseconds(20);
  std::vector<std::string> before;
  bool done = false;
  for (size_t step = 0; !done; ++step) {
    SCOPED_TRACE(step);
    ASSERT_LT(step, 500u);
    crash(step);
    auto who = init();
    ASSERT_TRUE(who) << who.error().text;
    const auto value = "v" + std::to_string(step);
    const bool commit = step % 3 != 2;
    const auto operations = env_.files().operation_count();
    env_.files().fail_after(step, ErrorCode::kIo, std::numeric_limits<size_t>::max() / 2);
    const bool first = produce(*who, 0, 0, value).has_value();
    const bool second = produce(*who, 1, 0, value).has_value();
    // A client commits only what was answered.
    const bool ended = end(*who, commit && first && second).has_value();
    done = env_.files().operation_count() - operations <= step && ended;
    crash(step);
    env_.set_now_ms(env_.now_ms() + kTimeout + 1);
    expire();
    ASSERT_TRUE(stable(0) && stable(1));
    auto now = committed(0);
    ASSERT_EQ(committed(1), now);
    if (ended && commit && first && second) before.push_back(value + "-0");
    if (now.size() > before.size()) {
      // The decision was durable, its answer was not given.
      ASSERT_TRUE(commit && first && second);
      before.push_back(value + "-0");
    }
    ASSERT_EQ(now, before);
  }
  EXPECT_FALSE(before.empty());
}

}  // namespace
}  // namespace millrace::broker
