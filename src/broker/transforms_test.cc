#include "broker/transforms.h"

#include <fstream>

#include "broker/broker_test_util.h"
#include "broker/dead_letter.h"
#include "broker/detail/look_back.h"
#include "broker/detail/readers.h"
#include "catalog/function.h"
#include "log/log_test_util.h"
#include "wasm/engine.h"

namespace millrace::broker {
namespace {

using catalog::Transform;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using OnError = Transform::OnError;
constexpr auto kProduce = Transform::Place::kProduce;
constexpr auto kFetch = Transform::Place::kFetch;

/// The module of test/clients/steps.wat: keep drops 'd', mark makes '#' of the first byte, strict
/// refuses 'b', trap traps at 't', spin never ends at 's'.
std::string steps_text() {
  std::ifstream file(MR_STEPS_WAT);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TransformsTest : public BrokerTest {
 protected:
  TransformsTest() {
    open_transforms();
    declare(steps_text(), false);
  }
  ~TransformsTest() override { close_transforms(); }

  void open_transforms() {
    auto opened = Transforms::open(runtime_, env_, *catalog_, *broker_, {.path = "/data/modules"});
    ASSERT_TRUE(opened) << opened.error().text;
    transforms_ = std::move(*opened);
    broker_->set_transforms(transforms_.get());
  }
  void close_transforms() {
    if (broker_) broker_->set_transforms(nullptr);
    transforms_.reset();
  }
  void restart() {
    close_transforms();
    close();
    env_.files().forget_unsynced();
    open();
    open_transforms();
  }
  /// Function "steps".
  void declare(const std::string& module, bool replace) {
    auto kept = transforms_->add_module(module);
    ASSERT_TRUE(kept) << kept.error().text;
    catalog::Object function;
    function.kind = catalog::Kind::kFunction;
    function.name = "steps";
    function.options = {{catalog::kModuleHash, kept->hash},
                        {catalog::kModuleExports, kept->exports}};
    ASSERT_TRUE(shard().block_on(catalog_->put(std::move(function), replace)));
    transforms_->functions_changed();
  }
  static Transform step(std::string name, Transform::Place place = kProduce,
                        OnError on_error = OnError::kReject, std::string group = {}) {
    return {.function = "steps",
            .export_name = std::move(name),
            .place = place,
            .group = std::move(group),
            .on_error = on_error};
  }
  std::shared_ptr<Partition> partition_with(std::vector<Transform> steps) {
    auto object = topic("t");
    object.transforms = std::move(steps);
    object.depends_on = {"steps"};
    auto made = create(std::move(object));
    EXPECT_TRUE(made) << made.error().text;
    return (*made)->partitions.at(0);
  }
  std::shared_ptr<Partition> partition() { return broker_->find("t")->partitions.at(0); }
  Result<std::string> fetch(const std::string& client = "c", const std::string& user = "") {
    auto read = runtime_.shard(1).block_on(partition()->read(0, 1 << 20));
    EXPECT_TRUE(read);
    return runtime_.shard(1).block_on(transforms_->fetched(
        partition()->fetch_transforms(), 0, {"/h", client, user}, std::move(read->batches)));
  }
  static std::vector<std::string> values_in(std::string_view batches) {
    std::vector<std::string> out;
    EXPECT_TRUE(log::for_each_record(batches, false, [&](const log::RecordView& record) {
      out.emplace_back(record.value.value_or("null"));
    }));
    return out;
  }

  std::unique_ptr<Transforms> transforms_;
};

TEST_F(TransformsTest, FiltersAndMapsWhatIsProducedAndLeavesGaps) {
  auto t = partition_with({step("keep"), step("mark")});
  auto first = append(*t, batch({"apple", "date", "cherry"}));
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_EQ(first->base_offset, 0);
  EXPECT_EQ(first->next_offset, 3);
  EXPECT_THAT(values(*t), ElementsAre("#pple", "#herry"));
  // A batch of which nothing stays keeps its place.
  ASSERT_TRUE(append(*t, batch({"d", "dd"})));
  auto last = append(*t, batch({"egg"}));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->base_offset, 5);
  restart();
  EXPECT_THAT(values(*partition()), ElementsAre("#pple", "#herry", "#gg"));
  EXPECT_EQ(partition()->high_watermark(), 6);
  ASSERT_TRUE(append(*partition(), batch({"fig", "d"})));
  EXPECT_THAT(values(*partition(), 6), ElementsAre("#ig"));
}

TEST_F(TransformsTest, LooksBackOverGaps) {
  auto t = partition_with({step("keep")});
  ASSERT_TRUE(append(*t, batch({"x", "y", "d", "d", "d", "d", "d", "d", "d"})));
  const auto looked = runtime_.shard(1).block_on(
      detail::read_look_back(detail::look_back_sources(*broker_->find("t")), {.records = 1}, 0));
  ASSERT_TRUE(looked) << looked.error().text;
  ASSERT_EQ((*looked)->size(), 1u);
  EXPECT_EQ((*looked)->view().records[0].value, "y");
}

TEST_F(TransformsTest, LeavesSequencesOfProducersWhole) {
  auto t = partition_with({step("keep")});
  const auto numbered = [](std::string batch, int32_t sequence) {
    return log::produced(std::move(batch), 7, 0, sequence);
  };
  ASSERT_TRUE(append(*t, numbered(batch({"a", "d"}), 0)));
  ASSERT_TRUE(append(*t, numbered(batch({"d", "d", "d"}), 2)));
  restart();
  auto retry = append(*partition(), numbered(batch({"d", "d", "d"}), 2));
  ASSERT_TRUE(retry) << retry.error().text;
  EXPECT_TRUE(retry->duplicate);
  EXPECT_EQ(append(*partition(), numbered(batch({"x"}), 9)).error().code,
            ErrorCode::kOutOfOrderSequence);
  ASSERT_TRUE(append(*partition(), numbered(batch({"b"}), 5)));
  EXPECT_THAT(values(*partition()), ElementsAre("a", "b"));
}

TEST_F(TransformsTest, RefusesTheProducersBatchWithRecordAndReason) {
  auto t = partition_with({step("strict")});
  const auto refused = append(*t, batch({"a", "bad"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kGuestFailed);
  EXPECT_THAT(refused.error().text, HasSubstr("record 1 "));
  EXPECT_THAT(refused.error().text, HasSubstr("steps.strict: bad record"));
  EXPECT_EQ(t->high_watermark(), 0);
  const auto logs = transforms_->logs();
  ASSERT_FALSE(logs.empty());
  EXPECT_EQ(logs[0].function, "steps");
  EXPECT_EQ(logs[0].level, "warning");
  EXPECT_EQ(logs[0].text, "a batch came");
}

TEST_F(TransformsTest, SetsAsideWhatFailsWithItsBytesAndGoesOn) {
  auto t = partition_with({step("strict", kProduce, OnError::kDeadLetter), step("mark")});
  ASSERT_TRUE(append(*t, batch({"a", "bad", "c"})));
  EXPECT_THAT(values(*t), ElementsAre("#", "#"));
  auto letters = broker_->find(dead_letter_topic("t"));
  ASSERT_TRUE(letters);
  EXPECT_THAT(values(*letters->partitions[0]), ElementsAre("bad"));
}

TEST_F(TransformsTest, LeavesOutBatchesThatFailAsAWhole) {
  auto t = partition_with({step("trap", kProduce, OnError::kSkip)});
  ASSERT_TRUE(append(*t, batch({"a"})));
  ASSERT_TRUE(append(*t, batch({"b", "trap"})));
  ASSERT_TRUE(append(*t, batch({"c"})));
  EXPECT_THAT(values(*t), ElementsAre("a", "c"));
  const auto counts = transforms_->counts();
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts[0].failures, 1u);
  EXPECT_EQ(counts[0].record_errors, 2u);
}

TEST_F(TransformsTest, GivesEachGroupItsOwn) {
  auto t = partition_with({step("keep", kFetch), step("mark", kFetch, OnError::kReject, "g")});
  ASSERT_TRUE(append(*t, batch({"a", "d", "c"})));
  EXPECT_THAT(values(*t), ElementsAre("a", "d", "c"));
  transforms_->seen("g", "/h", "in g", true);
  EXPECT_THAT(values_in(*fetch("in g")), ElementsAre("#", "#"));
  EXPECT_THAT(values_in(*fetch("in none")), ElementsAre("a", "c"));
  transforms_->seen("other", "/h", "in g", true);
  const auto unclear = fetch("in g");
  ASSERT_FALSE(unclear);
  EXPECT_EQ(unclear.error().code, ErrorCode::kNotAllowed);
  EXPECT_THAT(unclear.error().hint, HasSubstr("client.id"));
}

TEST_F(TransformsTest, GivesEachUserItsOwn) {
  catalog::Object user;
  user.kind = catalog::Kind::kUser;
  user.name = "u";
  ASSERT_TRUE(shard().block_on(catalog_->put(user, false)));
  auto mark = step("mark", kFetch);
  mark.user = "u";
  auto t = partition_with({mark, step("keep", kFetch, OnError::kReject, "g")});
  ASSERT_TRUE(append(*t, batch({"a", "d", "c"})));
  transforms_->seen("g", "/h", "in g", true);
  EXPECT_THAT(values_in(*fetch("any", "u")), ElementsAre("#", "#", "#"));
  EXPECT_THAT(values_in(*fetch("any", "other")), ElementsAre("a", "d", "c"));
  EXPECT_THAT(values_in(*fetch("in g", "other")), ElementsAre("a", "c"));
  EXPECT_THAT(values_in(*fetch("in g", "u")), ElementsAre("#", "#", "#"));  // none has a d any more
  const auto counts = transforms_->counts();
  EXPECT_EQ(std::ranges::count(counts, "u", &TransformCounts::user), 2);
}

TEST_F(TransformsTest, GivesWhatStandsBeforeTheBatchThatFails) {
  auto t = partition_with({step("strict", kFetch)});
  ASSERT_TRUE(append(*t, batch({"a"})));
  ASSERT_TRUE(append(*t, batch({"b"})));
  ASSERT_TRUE(append(*t, batch({"c"})));
  EXPECT_THAT(values_in(*fetch()), ElementsAre("a"));
}

TEST_F(TransformsTest, ChangesOverToAnotherModuleBetweenBatches) {
  auto t = partition_with({step("keep")});
  ASSERT_TRUE(append(*t, batch({"d", "e"})));
  auto other = steps_text();
  const std::string d = "(i32.const 100)";
  other.replace(other.find(d), d.size(), "(i32.const 101)");
  declare(other, true);
  ASSERT_TRUE(append(*t, batch({"d", "e"})));
  EXPECT_THAT(values(*t), ElementsAre("e", "d"));
  restart();
  ASSERT_TRUE(append(*partition(), batch({"d", "e"})));
  EXPECT_THAT(values(*partition(), 4), ElementsAre("d"));
}

TEST_F(TransformsTest, ForgetsModulesThatNoFunctionHas) {
  auto kept = transforms_->add_module(
      "(module (memory (export \"memory\") 1)"
      "(func (export \"millrace_abi_1\"))"
      "(func (export \"millrace_alloc\") (param i32) (result i32) i32.const 8)"
      "(func (export \"millrace__filter__f\") (param i32) (result i32) local.get 0))");
  ASSERT_TRUE(kept) << kept.error().text;
  EXPECT_EQ(kept->exports, "filter f");
  EXPECT_TRUE(transforms_->module_bytes(kept->hash));
  restart();
  EXPECT_EQ(transforms_->module_bytes(kept->hash).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(transforms_->module_bytes("../x").error().code, ErrorCode::kNotFound);
}

TEST(Readers, TellGroupsOfMembersFromThoseOfTools) {
  detail::Readers readers;
  const auto now = detail::Readers::Clock::now();
  readers.seen("asked", "/h", "c", false, now);
  EXPECT_THAT(readers.groups_of("/h", "c", now), ElementsAre("asked"));
  readers.seen("joined", "/h", "c", true, now);
  EXPECT_THAT(readers.groups_of("/h", "c", now), ElementsAre("joined"));
  EXPECT_THAT(readers.groups_of("/other", "c", now), IsEmpty());
  EXPECT_THAT(readers.groups_of("/h", "c", now + std::chrono::minutes(11)), IsEmpty());
}

}  // namespace
}  // namespace millrace::broker
