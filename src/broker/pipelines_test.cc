#include "broker/pipelines.h"

#include <fmt/format.h>

#include <fstream>
#include <thread>

#include "broker/broker_test_util.h"
#include "broker/dead_letter.h"
#include "catalog/function.h"
#include "catalog/pipeline.h"

namespace millrace::broker {
namespace {

using catalog::Transform;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using OnError = Transform::OnError;

std::string contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What a pipeline's statement says beside its steps.
struct Wanted {
  std::string inputs = "a";
  std::string outputs = "b";
  std::string start = "beginning";
  OnError on_error = OnError::kReject;
};

/// A node's pipelines over files in memory. Functions: "guest", the guest of the wasm room, and
/// "steps", of test/clients/steps.wat.
class PipelinesTest : public CoordinatorTest {
 protected:
  PipelinesTest() {
    options_.marker_wait = std::chrono::milliseconds(20);
    start();
    declare("guest", contents(MR_TEST_GUEST), false);
    declare("steps", contents(MR_STEPS_WAT), false);
  }
  ~PipelinesTest() override {
    env_.files().heal();
    stop();
  }

  void start() override {
    auto transforms =
        Transforms::open(runtime_, env_, *catalog_, *broker_, {.path = "/data/modules"});
    ASSERT_TRUE(transforms) << transforms.error().text;
    transforms_ = std::move(*transforms);
    broker_->set_transforms(transforms_.get());
    CoordinatorTest::start();
    Pipelines::Options options;
    options.retry_min = options.look_interval = std::chrono::milliseconds(5);
    options.retry_max = std::chrono::milliseconds(20);
    auto pipelines = Pipelines::open(
        {runtime_, env_, *catalog_, *broker_, *transactions_, *transforms_}, options);
    ASSERT_TRUE(pipelines) << pipelines.error().text;
    pipelines_ = std::move(*pipelines);
  }
  void stop() override {
    if (pipelines_) pipelines_->close();
    pipelines_.reset();
    CoordinatorTest::stop();
    if (broker_) broker_->set_transforms(nullptr);
    transforms_.reset();
  }

  void declare(const std::string& name, const std::string& module, bool replace) {
    auto kept = transforms_->add_module(module);
    ASSERT_TRUE(kept) << kept.error().text;
    catalog::Object function;
    function.kind = catalog::Kind::kFunction;
    function.name = name;
    function.options = {{catalog::kModuleHash, kept->hash},
                        {catalog::kModuleExports, kept->exports}};
    ASSERT_TRUE(shard().block_on(catalog_->put(std::move(function), replace)));
    transforms_->functions_changed();
  }
  static Transform step(std::string function, std::string name) {
    return {.function = std::move(function),
            .export_name = std::move(name),
            .place = Transform::Place::kPipeline};
  }

  catalog::Object pipeline(std::vector<Transform> steps, const Wanted& wanted) {
    catalog::Object object;
    object.kind = catalog::Kind::kPipeline;
    object.name = "x";
    object.id = Uuid::random();
    object.options = {{catalog::kPipelineInputs, wanted.inputs},
                      {catalog::kPipelineOutputs, wanted.outputs},
                      {catalog::kPipelineStart, wanted.start}};
    object.transforms = std::move(steps);
    for (auto& each : object.transforms) each.on_error = wanted.on_error;
    return object;
  }
  void begin(std::vector<Transform> steps, const Wanted& wanted = {}) {
    auto object = pipeline(std::move(steps), wanted);
    const auto ready = pipelines_->prepare(object, nullptr);
    ASSERT_TRUE(ready) << ready.error().text;
    auto stored = shard().block_on(catalog_->put(std::move(object), false));
    ASSERT_TRUE(stored) << stored.error().text;
    ASSERT_TRUE(pipelines_->start(*stored));
  }
  void make(const std::string& name, int32_t partitions = 1,
            std::map<std::string, std::string> options = {}) {
    auto object = topic(name, partitions);
    object.options = std::move(options);
    const auto made = create(std::move(object));
    ASSERT_TRUE(made) << made.error().text;
  }
  void produce(const std::string& name, std::initializer_list<std::string_view> values,
               size_t partition = 0) {
    ASSERT_TRUE(append(*broker_->find(name)->partitions.at(partition), batch(values)));
  }
  void produce_keys(const std::string& name, const std::vector<std::string>& keys,
                    size_t partition = 0) {
    log::BatchBuilder builder;
    for (const auto& key : keys) builder.add(1'700'000'000'000, key, "v");
    ASSERT_TRUE(append(*broker_->find(name)->partitions.at(partition), builder.finish()));
  }
  /// The committed records of all partitions: values, or "key=value".
  std::vector<std::string> committed(const std::string& name) {
    return records(name, log::Isolation::kCommitted);
  }
  std::vector<std::string> records(const std::string& name, log::Isolation isolation) {
    std::vector<std::string> out;
    const auto topic = broker_->find(name);
    if (!topic) return out;
    for (const auto& partition : topic->partitions) {
      Offset from = partition->start_offset();
      while (from < partition->last_stable_offset()) {
        auto read = runtime_.shard(1).block_on(partition->read(from, 1 << 20, isolation));
        EXPECT_TRUE(read) << read.error().text;
        if (!read || read->next_offset <= from) break;
        from = read->next_offset;
        if (isolation == log::Isolation::kCommitted) log::leave_out_aborted(*read);
        EXPECT_TRUE(log::for_each_record(read->batches, true, [&](const log::RecordView& record) {
          EXPECT_THAT(record.headers, testing::Not(testing::Contains(testing::Field(
                                          &log::Header::key, HasSubstr("millrace.")))));
          const std::string value(record.value.value_or("null"));
          out.push_back(record.key ? std::string(*record.key) + "=" + value : value);
        }));
      }
    }
    return out;
  }
  PipelineStatus status() {
    const auto all = pipelines_->status();
    return all.empty() ? PipelineStatus() : all.front();
  }
  template <typename F>
  void eventually(F holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
      const auto now = status();
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << now.state << ": " << now.reason;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  void await_lag(int64_t lag = 0) {
    eventually([&] { return status().state == "running" && status().lag == lag; });
  }

  std::unique_ptr<Transforms> transforms_;
  std::unique_ptr<Pipelines> pipelines_;
};

TEST_F(PipelinesTest, SendsRecordsThroughItsStepsIntoAnotherTopicEachOnce) {
  make("a");
  make("b");
  produce("a", {"one", "drop", "two"});
  begin({step("steps", "keep"), step("guest", "upper")});
  eventually([&] { return committed("b").size() == 2; });
  produce("a", {"three"});
  eventually([&] { return committed("b").size() == 3; });
  restart();
  produce("a", {"four,five"});
  eventually([&] { return committed("b").size() == 4; });
  EXPECT_THAT(committed("b"), ElementsAre("ONE", "TWO", "THREE", "FOUR,FIVE"));
  await_lag();
  EXPECT_EQ(status().records_in, 1u);
}

TEST_F(PipelinesTest, MakesManyOfOneAndSendsThemToTheTopicThatTheGuestNames) {
  make("a", 2);
  make("b");
  make("c", 3);
  produce("a", {"b,c"}, 0);
  produce("a", {"c,c,b"}, 1);
  begin({step("guest", "split"), step("guest", "route")}, {.outputs = "b,c"});
  eventually([&] { return committed("b").size() + committed("c").size() == 5; });
  EXPECT_THAT(committed("b"), ElementsAre("b", "b"));
  EXPECT_THAT(committed("c"), ElementsAre("c", "c", "c"));
}

TEST_F(PipelinesTest, BeginsWhereItIsTold) {
  make("a");
  for (const char* name : {"b", "c", "d", "e"}) make(name);
  produce("a", {"0", "1"});
  ASSERT_TRUE(append(*broker_->find("a")->partitions[0], batch({"2"}, 1'700'000'000'500)));
  size_t n = 0;
  for (const char* start : {"end", "beginning", "offset 1", "timestamp 1700000000100"}) {
    auto object = pipeline({step("guest", "upper")},
                           {.outputs = std::string(1, static_cast<char>('b' + n)), .start = start});
    object.name = fmt::format("x{}", n++);
    ASSERT_TRUE(pipelines_->prepare(object, nullptr));
    auto stored = shard().block_on(catalog_->put(std::move(object), false));
    ASSERT_TRUE(pipelines_->start(*stored));
  }
  produce("a", {"3"});
  eventually([&] { return committed("b").size() == 1 && committed("c").size() == 4; });
  eventually([&] { return committed("d").size() == 3 && committed("e").size() == 2; });
  EXPECT_THAT(committed("b"), ElementsAre("3"));
  EXPECT_THAT(committed("e"), ElementsAre("2", "3"));
}

TEST_F(PipelinesTest, KeepsTheStatesOfAggregatesWithTheirOutputs) {
  make("a", 2);
  make("b");
  begin({step("guest", "count")});
  produce_keys("a", {"k", "l", "k"}, 0);
  produce_keys("a", {"m"}, 1);
  eventually([&] { return committed("b").size() == 3; });
  EXPECT_THAT(committed("b"), UnorderedElementsAre("k=2", "l=1", "m=1"));
  EXPECT_EQ(status().state_keys, 3u);
  crash();
  produce_keys("a", {"k", "m"}, 0);
  eventually([&] { return committed("b").size() == 5; });
  EXPECT_THAT(committed("b"), testing::Contains("k=3"));
  EXPECT_THAT(committed("b"), testing::Contains("m=1").Times(2));  // of each partition, its own
}

TEST_F(PipelinesTest, StopsAtTheRecordThatFailsUntilItIsStartedAgain) {
  make("a");
  make("b");
  begin({step("steps", "strict")});
  produce("a", {"x"});
  eventually([&] { return committed("b").size() == 1; });
  produce("a", {"bad", "y"});
  eventually([&] { return status().state == "failed"; });
  EXPECT_THAT(status().reason, HasSubstr("offset 1 of partition 0 of \"a\" failed: steps.strict: "
                                         "bad record"));
  EXPECT_THAT(committed("b"), ElementsAre("x"));
  auto lenient = contents(MR_STEPS_WAT);
  const std::string b = "(i32.const 98)";
  lenient.replace(lenient.find(b), b.size(), "(i32.const 99)");
  declare("steps", lenient, true);
  ASSERT_TRUE(pipelines_->start(*catalog_->snapshot()->find("x")));
  eventually([&] { return committed("b").size() == 3; });
  EXPECT_THAT(committed("b"), ElementsAre("x", "bad", "y"));
}

TEST_F(PipelinesTest, SetsAsideTheRecordAtWhichTheGuestTrapsAndNoOther) {
  make("a");
  make("b");
  begin({step("steps", "trap")}, {.on_error = OnError::kDeadLetter});
  produce("a", {"1", "2", "trap", "4", "5"});
  eventually([&] { return committed("b").size() == 4; });
  EXPECT_THAT(committed("b"), ElementsAre("1", "2", "4", "5"));
  EXPECT_THAT(committed(dead_letter_topic("a")), ElementsAre("trap"));
  await_lag();
  EXPECT_EQ(status().record_errors, 1u);
}

TEST_F(PipelinesTest, RefusesWhatAnOutputCannotTake) {
  make("a");
  make("b", 1, {{"cleanup.policy", "compact"}});
  begin({step("guest", "upper")}, {.on_error = OnError::kSkip});
  produce("a", {"without a key"});
  produce_keys("a", {"k"});
  eventually([&] { return committed("b").size() == 1; });
  EXPECT_THAT(committed("b"), ElementsAre("k=V"));
  await_lag();
  EXPECT_EQ(status().record_errors, 1u);
}

TEST_F(PipelinesTest, ReadsWhatIsCommittedOfSeveralInputs) {
  make("a");
  make("a2");
  make("b");
  begin({step("guest", "upper")}, {.inputs = "a,a2"});
  produce("a", {"x"});
  produce("a2", {"y"});
  eventually([&] { return committed("b").size() == 2; });
  EXPECT_THAT(committed("b"), UnorderedElementsAre("X", "Y"));
}

TEST_F(PipelinesTest, TakesPartitionsThatItsInputGets) {
  make("a");
  make("b");
  begin({step("guest", "upper")}, {.start = "end"});
  ASSERT_TRUE(create(topic("a", 2), true));
  produce("a", {"new"}, 1);
  eventually([&] { return committed("b").size() == 1; });
}

TEST_F(PipelinesTest, BeginsAgainAfterAnErrorOfTheDiskAndLosesAndDoublesNothing) {
  make("a");
  make("b");
  begin({step("guest", "upper")});
  for (size_t i = 0; i < 40; ++i) {
    // A failed append has left nothing of itself.
    while (!append(*broker_->find("a")->partitions[0], batch({"x"}))) {
    }
    if (i % 8 == 3) env_.files().fail_after(i, ErrorCode::kIo, 1);
  }
  env_.files().heal();  // the reads below are the test's own
  eventually([&] { return committed("b").size() >= 40; });
  await_lag();
  EXPECT_EQ(committed("b").size(), 40u);
}

// The node stops before the nth write, sync or read of a transaction, for each n; some of what was
// not synced is lost.
TEST_F(PipelinesTest, CountsExactlyWhereverACrashStrikes) {
  make("a");
  make("b");
  begin({step("guest", "count")});
  bool struck = true;
  size_t total = 0, steps = 0;
  for (; struck; ++steps) {
    SCOPED_TRACE(steps);
    ASSERT_LT(steps, 200u);
    pipelines_->stop("x");
    produce_keys("a", {"k", "k"});
    total += 2;
    const auto last = fmt::format("k={}", total);
    const auto done = [&] { return !committed("b").empty() && committed("b").back() == last; };
    env_.files().fail_after(steps, ErrorCode::kIo, std::numeric_limits<size_t>::max() / 2);
    const auto before = env_.files().operation_count();
    ASSERT_TRUE(pipelines_->start(*catalog_->snapshot()->find("x")));
    eventually([&] {
      const auto now = status();
      return now.state == "retrying" || (now.state == "running" && now.lag == 0);
    });
    struck = env_.files().operation_count() > before + steps;
    crash(steps);
    eventually(done);
  }
  EXPECT_GT(steps, 5u);
  EXPECT_EQ(committed("b").size(), steps);  // each is counted once, two by two
  EXPECT_GT(records("b", log::Isolation::kUncommitted).size(), steps);  // some were taken back
}

TEST_F(PipelinesTest, LooksBackOnWhatItHasTaken) {
  make("a");
  make("b");
  produce("a", {"1", "2"});
  auto last = step("guest", "last");
  last.options[catalog::kLookBackRecords] = "1";
  begin({last}, {.start = "end"});
  produce("a", {"3"});
  eventually([&] { return committed("b").size() == 1; });
  await_lag();
  pipelines_->stop("x");
  produce("a", {"4", "5"});
  crash();
  eventually([&] { return committed("b").size() == 3; });
  EXPECT_THAT(committed("b"), ElementsAre("2", "3", "3"));
}

TEST_F(PipelinesTest, HoldsWhatItHasNotTakenAndForgetsAllWhenItGoes) {
  make("a");
  make("b");
  begin({step("guest", "upper")});
  produce("a", {"x"});
  eventually([&] { return committed("b").size() == 1; });
  const auto object = *catalog_->snapshot()->find("x");
  pipelines_->stop("x");
  EXPECT_THAT(pipelines_->status(), IsEmpty());
  ASSERT_TRUE(shard().block_on(catalog_->drop("x")));
  ASSERT_TRUE(pipelines_->forget(object));
  EXPECT_FALSE(broker_->find(catalog::pipeline_state_topic(object)));
  ASSERT_TRUE(drop("a"));
}

TEST_F(PipelinesTest, DropsWhatACrashHasLeftOfAPipelineThatNeverWas) {
  make("a");
  const auto object = pipeline({step("guest", "upper")}, {});
  ASSERT_TRUE(pipelines_->prepare(object, nullptr));
  EXPECT_TRUE(broker_->find(catalog::pipeline_state_topic(object)));
  restart();
  EXPECT_FALSE(broker_->find(catalog::pipeline_state_topic(object)));
}

}  // namespace
}  // namespace millrace::broker
