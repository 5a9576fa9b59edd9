#include "broker/broker.h"

#include <set>

#include "broker/broker_test_util.h"
#include "catalog/replacement.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(BrokerTest, ServesWhatItHeldAfterARestart) {
  auto made = create(topic("t", 3));
  ASSERT_TRUE(made);
  const Uuid id = (*made)->object.id;
  ASSERT_TRUE(append(*(*made)->partitions[2], batch({"a", "b"})));
  ASSERT_TRUE(create(changelog("v")));
  made = Error{};
  reopen();
  const auto found = broker_->find("t");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->object.id, id);
  EXPECT_EQ(broker_->find(id), found);
  ASSERT_EQ(found->partitions.size(), 3u);
  EXPECT_EQ(found->partitions[2]->high_watermark(), 2);
  EXPECT_THAT(values(*found->partitions[2]), ElementsAre("a", "b"));
  EXPECT_NE(broker_->find("v"), nullptr);
  EXPECT_EQ(broker_->list().size(), 2u);
}

TEST_F(BrokerTest, FindsNamesExactly) {
  ASSERT_TRUE(create(topic("Flights")));
  EXPECT_NE(broker_->find("Flights"), nullptr);
  EXPECT_EQ(broker_->find("flights"), nullptr);
  EXPECT_TRUE(create(topic("flights")));
  EXPECT_EQ(broker_->list().size(), 2u);
}

TEST_F(BrokerTest, ValidatesWithoutMakingAnything) {
  auto checked = create(topic("t", 2), false, true);
  ASSERT_TRUE(checked);
  EXPECT_TRUE((*checked)->partitions.empty());
  EXPECT_EQ(broker_->find("t"), nullptr);
  EXPECT_EQ(catalog_->snapshot()->find("t"), nullptr);
  ASSERT_TRUE(create(topic("t")));
  EXPECT_EQ(create(topic("t"), false, true).error().code, ErrorCode::kDuplicateObject);
}

TEST_F(BrokerTest, RefusesWhatKafkaWouldRefuse) {
  EXPECT_EQ(create(topic("a b")).error().code, ErrorCode::kInvalidName);
  EXPECT_EQ(create(topic("__catalog")).error().code, ErrorCode::kInvalidName);
  EXPECT_EQ(create(topic("t", 0)).error().code, ErrorCode::kInvalidPartitions);
  EXPECT_EQ(create(topic("t", 10'001)).error().code, ErrorCode::kInvalidPartitions);
  auto object = topic("t");
  object.options = {{"retention.msec", "1"}};
  auto refused = create(object);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(refused.error().hint, HasSubstr("retention.ms"));
  auto view = changelog("v");
  view.partitions = 2;
  EXPECT_EQ(create(view).error().code, ErrorCode::kInvalidPartitions);
  view.kind = catalog::Kind::kView;
  EXPECT_EQ(create(view).error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(broker_->list(), IsEmpty());
}

TEST_F(BrokerTest, KeepsATopicsLogWhenItIsReplaced) {
  auto made = create(topic("t", 1));
  ASSERT_TRUE(append(*(*made)->partitions[0], batch({"a"})));
  auto changed = topic("t", 3);
  changed.columns = {{.name = "a", .type = "BIGINT"}};
  auto replaced = create(changed, true);
  ASSERT_TRUE(replaced) << replaced.error().text;
  EXPECT_EQ((*replaced)->object.version, 2u);
  EXPECT_EQ((*replaced)->object.id, (*made)->object.id);
  EXPECT_EQ((*replaced)->partitions[0], (*made)->partitions[0]);
  ASSERT_EQ((*replaced)->partitions.size(), 3u);
  EXPECT_THAT(values(*(*replaced)->partitions[0]), ElementsAre("a"));
  EXPECT_TRUE(append(*(*replaced)->partitions[2], batch({"b"})));
  EXPECT_EQ(create(topic("t", 2), true).error().code, ErrorCode::kInvalidPartitions);
  EXPECT_EQ(create(changelog("t"), true).error().code, ErrorCode::kDuplicateObject);
  made = replaced = Error{};
  reopen();
  EXPECT_EQ(broker_->find("t")->partitions[2]->high_watermark(), 1);
}

TEST_F(BrokerTest, BeginsAChangelogAnewWhenItsViewIsReplaced) {
  auto made = create(changelog("v"));
  ASSERT_TRUE(made) << made.error().text;
  const auto old = (*made)->partitions[0];
  ASSERT_TRUE(append(*old, batch({"old"})));
  auto changed = changelog("v");
  changed.query = "SELECT 2 AS a";
  auto replaced = create(changed, true);
  ASSERT_TRUE(replaced) << replaced.error().text;
  EXPECT_EQ((*replaced)->partitions[0]->high_watermark(), 0);
  EXPECT_EQ(append(*old, batch({"x"})).error().code, ErrorCode::kUnknownPartition);
  ASSERT_TRUE(append(*(*replaced)->partitions[0], batch({"new"})));
  reopen();
  EXPECT_THAT(values(*broker_->find("v")->partitions[0]), ElementsAre("new"));
}

/// Of partitions.
std::vector<std::string> folders(io::FileSystem& files) {
  auto names = files.list("/data/log").value();
  std::erase_if(names,
                [](const auto& name) { return !name.ends_with("-0") || name == "__catalog-0"; });
  return names;
}

/// A view's replacement, which has a changelog of its own, and what the view is with that.
struct Replacement {
  explicit Replacement(catalog::Object view) : taken(std::move(view)) {
    taken.query = "SELECT 2 AS a";
    beside = taken;
    beside.id = Uuid::random();
    beside.name = std::string(catalog::kChangelogPrefix) + beside.id.to_string();
    beside.internal = true;
    beside.options[catalog::kReplacesOption] = taken.name;
    taken.options[catalog::kChangelogOption] = beside.name;
  }
  catalog::Object taken, beside;
};

TEST_F(BrokerTest, AViewGoesOnWithTheChangelogOfItsReplacement) {
  ASSERT_TRUE(create(changelog("v")));
  std::string last;
  for (const std::string now : {"first", "second"}) {
    const auto before = broker_->find("v");
    ASSERT_TRUE(append(*before->partitions[0], batch({"old"})));
    const Replacement next(changelog("v"));
    auto beside = create(next.beside);
    ASSERT_TRUE(beside) << beside.error().text;
    const auto log = (*beside)->partitions[0];
    ASSERT_TRUE(append(*log, batch({now})));
    auto taken = create(next.taken, true);
    ASSERT_TRUE(taken) << taken.error().text;
    EXPECT_EQ((*taken)->object.id, before->object.id);
    EXPECT_EQ((*taken)->partitions[0], log);
    EXPECT_EQ(log->topic(), "v");
    EXPECT_TRUE(before->partitions[0]->closed());
    ASSERT_TRUE(append(*log, batch({"goes on"})));
    EXPECT_EQ(broker_->list().size(), 1u);
    reopen();
    EXPECT_EQ(broker_->list().size(), 1u);
    EXPECT_THAT(values(*broker_->find("v")->partitions[0]), ElementsAre(now, "goes on"));
    last = next.beside.name;
  }
  reopen();
  EXPECT_THAT(folders(env_.files()), ElementsAre(last + "-0"));
  ASSERT_TRUE(drop("v"));
  reopen();
  EXPECT_THAT(folders(env_.files()), IsEmpty());
}

TEST_F(BrokerTest, ACrashAmidAReplacementLeavesTheNewView) {
  ASSERT_TRUE(create(changelog("v")));
  ASSERT_TRUE(append(*broker_->find("v")->partitions[0], batch({"old"})));
  const Replacement next(changelog("v"));
  auto beside = create(next.beside);
  ASSERT_TRUE(beside);
  ASSERT_TRUE(append(*(*beside)->partitions[0], batch({"new"})));
  beside = Error{};
  // The record in the catalog is all that has become of it.
  ASSERT_TRUE(shard().block_on(catalog_->put(next.taken, true)));
  reopen();
  EXPECT_THAT(values(*broker_->find("v")->partitions[0]), ElementsAre("new"));
  EXPECT_EQ(broker_->list().size(), 1u);
  EXPECT_EQ(catalog_->snapshot()->list().size(), 1u);
  reopen();
  EXPECT_THAT(folders(env_.files()), ElementsAre(next.beside.name + "-0"));
}

TEST_F(BrokerTest, ForgetsWhatIsDropped) {
  auto made = create(topic("t", 2));
  const auto partition = (*made)->partitions[0];
  ASSERT_TRUE(append(*partition, batch({"a"})));
  ASSERT_TRUE(drop("t"));
  EXPECT_EQ(broker_->find("t"), nullptr);
  EXPECT_EQ(broker_->find((*made)->object.id), nullptr);
  EXPECT_EQ(append(*partition, batch({"a"})).error().code, ErrorCode::kUnknownPartition);
  EXPECT_EQ(drop("t").error().code, ErrorCode::kUndefinedObject);
  EXPECT_THAT(env_.metrics().render(), Not(HasSubstr("topic=\"t\"")));
  auto again = create(topic("t", 2));
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->partitions[0]->high_watermark(), 0);
  EXPECT_NE((*again)->object.id, (*made)->object.id);
  close();
  auto names = env_.files().list(kPath);
  ASSERT_TRUE(names);
  EXPECT_THAT(*names, Not(testing::Contains(HasSubstr(".deleted"))));
  open();
}

TEST_F(BrokerTest, DropsNothingThatOthersRead) {
  ASSERT_TRUE(create(topic("t")));
  auto reader = changelog("v");
  reader.depends_on = {"t"};
  ASSERT_TRUE(create(reader));
  EXPECT_EQ(drop("t").error().code, ErrorCode::kDependentObjects);
  ASSERT_NE(broker_->find("t"), nullptr);
  EXPECT_TRUE(append(*broker_->find("t")->partitions[0], batch({"a"})));
  EXPECT_TRUE(drop("v"));
  EXPECT_TRUE(drop("t"));
}

TEST_F(BrokerTest, DoesNotServeAnotherTopicsRecordsAfterADropThatWasCutShort) {
  auto made = create(topic("t"));
  ASSERT_TRUE(append(*(*made)->partitions[0], batch({"old"})));
  made = Error{};
  // The catalog's record is durable, and the node dies before it touches the folder.
  ASSERT_TRUE(shard().block_on(catalog_->drop("t")));
  reopen();
  EXPECT_EQ(broker_->find("t"), nullptr);
  auto again = create(topic("t"));
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->partitions[0]->high_watermark(), 0);
}

TEST_F(BrokerTest, MakesNothingWhenTheDiskRefuses) {
  // Each operation of a create() fails in turn: either it is made whole, or it is not there.
  for (size_t n = 0; n < 40; ++n) {
    env_.files().fail_after(n, ErrorCode::kDiskFull);
    auto made = create(topic("t", 2));
    env_.files().heal();
    EXPECT_EQ(made.has_value(), broker_->find("t") != nullptr) << n;
    EXPECT_EQ(made.has_value(), catalog_->snapshot()->find("t") != nullptr) << n;
    if (made) {
      EXPECT_TRUE(append(*(*made)->partitions[1], batch({"a"})));
      made = Error{};
      ASSERT_TRUE(drop("t"));
    }
  }
}

TEST_F(BrokerTest, LetsOneOfManyMakeAName) {
  std::atomic<int> won = 0;
  std::atomic<int> found = 0;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      auto made = runtime_.shard(i % 2).block_on(broker_->create(topic("same", 2), false, false));
      if (made) ++won;
      if (!made) EXPECT_EQ(made.error().code, ErrorCode::kDuplicateObject);
      if (broker_->find("same")) ++found;  // who lost finds what the winner made
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(found, 8);
}

TEST_F(BrokerTest, NeverRepeatsAProducerId) {
  std::set<int64_t> ids;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 1100; ++i) {
      auto id = shard().block_on(broker_->next_producer_id());
      ASSERT_TRUE(id);
      EXPECT_TRUE(ids.insert(*id).second) << *id;
    }
    reopen();
  }
  EXPECT_EQ(ids.size(), 3300u);
}

TEST_F(BrokerTest, RefusesToOpenWithoutKnowingProducerIds) {
  ASSERT_TRUE(shard().block_on(broker_->close()));
  broker_.reset();
  ASSERT_TRUE(env_.files().replace_file(std::string(kPath) + "/producer_ids", "many"));
  auto broker = shard().block_on(Broker::open(runtime_, env_, *catalog_, {.path = kPath}));
  ASSERT_FALSE(broker);
  EXPECT_EQ(broker.error().code, ErrorCode::kCorruptRecord);
}

TEST_F(BrokerTest, OpensManyPartitions) {
  ASSERT_TRUE(create(topic("many", 500)));
  reopen();
  const auto found = broker_->find("many");
  ASSERT_EQ(found->partitions.size(), 500u);
  EXPECT_TRUE(append(*found->partitions[499], batch({"a"})));
}

}  // namespace
}  // namespace millrace::broker
