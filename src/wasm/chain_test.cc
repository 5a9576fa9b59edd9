#include "wasm/chain.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "base/io/gate.h"
#include "wasm/wasm_test_util.h"

namespace millrace::wasm {

std::string guest_bytes() {
  std::ifstream file(MR_TEST_GUEST, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ChainTest : public WasmTest {};

TEST_F(ChainTest, AFilterKeepsWhatItFinds) {
  const auto filter = chain({{.module = guest(), .transform = "contains"}});
  const auto records = values({"to JFK", "to EWR", "", "JFK"});
  const auto output = must(filter->apply({.records = records}));
  EXPECT_THAT(told(output), ElementsAre("0:to JFK", "3:JFK"));
  EXPECT_EQ(output.records()[1].timestamp, 3);
  EXPECT_EQ(output.records()[1].offset, 103);
  EXPECT_EQ(output.records()[1].key, std::nullopt);
}

TEST_F(ChainTest, RecordsInOneBufferAreCopiedAtOnceAndOthersOneByOne) {
  const auto filter = chain({{.module = guest(), .transform = "contains"}});
  const std::string buffer = "0JFK1JFK2EWR";
  const std::string_view bytes = buffer;
  std::vector<RecordView> records(4);
  for (size_t i = 0; i < 3; ++i) {
    records[i].key = bytes.substr(4 * i, 1);
    records[i].value = bytes.substr(4 * i + 1, 3);
  }
  records[3].value = "elsewhere: JFK";
  for (const std::string_view of : {bytes, std::string_view(), std::string_view("another")}) {
    const auto output = must(filter->apply({.records = records, .bytes = of}));
    EXPECT_THAT(told(output), ElementsAre("0:JFK", "1:JFK", "3:elsewhere: JFK"));
    EXPECT_EQ(output.records()[1].key, "1");
  }
}

TEST_F(ChainTest, AMapGivesARecordOrAnErrorForEach) {
  const auto map = chain({{.module = guest(), .transform = "upper"}});
  auto records = values({"a", "b", "c"});
  records[1].value = std::nullopt;
  const auto output = must(map->apply({.records = records}));
  EXPECT_THAT(told(output), ElementsAre("0:A", "2:C"));
  ASSERT_EQ(output.errors().size(), 1u);
  EXPECT_EQ(output.errors()[0].input, 1u);
  EXPECT_EQ(output.errors()[0].step, 0u);
  EXPECT_EQ(output.errors()[0].message, "no value");
}

TEST_F(ChainTest, ExpandGivesSeveralWithHeaders) {
  const auto split = chain({{.module = guest(), .transform = "split"}});
  const auto records = values({"a,b", "c"});
  const auto output = must(split->apply({.records = records}));
  EXPECT_THAT(told(output), ElementsAre("0:a", "0:b", "1:c"));
  ASSERT_EQ(output.records()[1].headers.size(), 1u);
  EXPECT_EQ(output.records()[1].headers[0].name, "part");
  EXPECT_EQ(output.records()[1].headers[0].value, "1");
}

TEST_F(ChainTest, StepsOfOneModuleShareAnInstanceAndErrorsNameTheCallersRecords) {
  const auto module = guest();
  const auto steps = chain({{.module = module, .transform = "split"},
                            {.module = module, .transform = "key_only"},
                            {.module = module, .transform = "upper"}});
  auto records = values({"x", "1,2", "y"});
  records[1].key = "k";
  records[2].key = "z";
  const auto output = must(steps->apply({.records = records}));
  EXPECT_THAT(told(output), ElementsAre("1:K", "1:K", "2:Z"));
  EXPECT_EQ(module->counters().instances, 1u);
  EXPECT_EQ(module->counters().records_in, 3u + 4u + 3u);
  EXPECT_EQ(steps->counters().records_in, 3u);
  EXPECT_EQ(steps->counters().records_out, 3u);
}

TEST_F(ChainTest, ATransformTwiceHasTwoInstancesAndParametersOfItsOwn) {
  const auto module = guest();
  const auto both = chain({{.module = module, .transform = "contains", .params = {{"word", "a"}}},
                           {.module = module, .transform = "contains", .params = {{"word", "b"}}},
                           {.module = module, .transform = "upper"}});
  auto records = values({"a", "ab", "b", "cba"});
  for (int round = 0; round < 3; ++round) {
    const auto output = must(both->apply({.records = records}));
    EXPECT_THAT(told(output), ElementsAre("1:AB", "3:CBA"));
  }
  EXPECT_EQ(module->counters().instances, 2u);
}

TEST_F(ChainTest, ErrorsOfALaterStepAreTracedToTheCaller) {
  const auto module = guest();
  const auto steps =
      chain({{.module = module, .transform = "keyed"}, {.module = module, .transform = "upper"}});
  auto records = values({"a", "b", "c", "d"});
  records[2].value = std::nullopt;
  for (const size_t i : {1, 2, 3}) records[i].key = "k";
  const auto output = must(steps->apply({.records = records}));
  EXPECT_THAT(told(output), ElementsAre("1:B", "3:D"));
  ASSERT_EQ(output.errors().size(), 1u);
  EXPECT_EQ(output.errors()[0].input, 2u);
  EXPECT_EQ(output.errors()[0].step, 1u);
}

TEST_F(ChainTest, WrongParametersAreToldAtTheStart) {
  const auto wrong =
      chain({{.module = guest(), .transform = "contains", .params = {{"words", "x"}}}});
  const auto started = wrong->start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(started.error().text, HasSubstr("transform contains failed (module "));
  EXPECT_THAT(started.error().text,
              HasSubstr("here): its init failed: contains takes one parameter, word"));
}

TEST_F(ChainTest, WhatCannotBeIsRefusedWhenItIsOpened) {
  const auto module = guest();
  const auto refused = [&](std::vector<Step> steps) {
    const auto opened = Chain::open(engine(), {.place = {}, .steps = std::move(steps)});
    return opened ? std::string("opened") : opened.error().text;
  };
  EXPECT_THAT(refused({}), HasSubstr("at least one"));
  EXPECT_THAT(refused({{.module = module, .transform = "nothing"}}),
              HasSubstr("has no transform \"nothing\"; it has add, contains, count"));
  EXPECT_THAT(refused({{.module = module, .transform = "upper", .params = {{"a", "b"}}}}),
              HasSubstr("takes no parameters"));
  EXPECT_THAT(
      refused({{.module = module, .transform = "count"}, {.module = module, .transform = "count"}}),
      HasSubstr("one aggregate"));
  EXPECT_THAT(
      refused({{.module = module, .transform = "add"}, {.module = module, .transform = "upper"}}),
      HasSubstr("stands alone"));
  EXPECT_THAT(refused({{.module = module, .transform = "upper", .limits = {.memory_bytes = 1}}}),
              HasSubstr("memory limit"));
  EXPECT_THAT(
      refused(
          {{.module = module, .transform = "upper", .look_back = std::make_shared<OwnedBatch>()}}),
      HasSubstr("no look-back"));
}

TEST_F(ChainTest, LookBackIsGivenOnceToEachInstance) {
  const auto rows = std::make_shared<OwnedBatch>();
  for (const std::string_view text : {"old", "new"}) rows->add(values({text})[0]);
  const auto last = chain({{.module = guest(), .transform = "last", .look_back = rows}});
  const auto records = values({"x"});
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(told(must(last->apply({.records = records}))), ElementsAre("0:new"));
  }
  EXPECT_THAT(logged_, ElementsAre("here|last|1|2"));
}

/// States in a map, committed when the test says so.
class MapStates : public StateReader {
 public:
  Result<> read(std::span<StateView> states) override {
    for (auto& state : states) {
      const auto at = kept.find(std::string(state.key.value_or("(null)")));
      if (at != kept.end()) state.value = at->second;
    }
    return {};
  }
  void commit(const Output& output) {
    for (const auto& state : output.states()) {
      kept[std::string(state.key.value_or("(null)"))] = *state.value;
    }
  }
  std::map<std::string, std::string> kept;
};

TEST_F(ChainTest, AnAggregateReadsStatesAndTellsWhichChanged) {
  const auto module = guest();
  const auto count = chain({{.module = module, .transform = "contains", .params = {{"word", "+"}}},
                            {.module = module, .transform = "count"}});
  auto records = values({"+", "+", "-", "+", "+"});
  const std::vector<std::optional<std::string_view>> keys = {"a", "b", "c", "a", std::nullopt};
  for (size_t i = 0; i < keys.size(); ++i) records[i].key = keys[i];
  MapStates states;
  for (int round = 1; round <= 2; ++round) {
    const auto output = must(count->apply({.records = records}, &states));
    EXPECT_EQ(output.records().size(), 3u);
    states.commit(output);
  }
  EXPECT_EQ(states.kept,
            (std::map<std::string, std::string>{{"a", "4"}, {"b", "2"}, {"(null)", "2"}}));
  const auto output = must(count->apply({.records = records}, &states));
  EXPECT_THAT(told(output), ElementsAre("3:6", "1:3", "4:3"));
  EXPECT_EQ(output.records()[0].key, "a");
  EXPECT_EQ(states.kept["a"], "4");  // nothing is kept before it is committed
}

/// A place whose states cannot be read.
class BrokenStates : public StateReader {
 public:
  Result<> read(std::span<StateView>) override { return Error{ErrorCode::kIo, "no disk"}; }
};

TEST_F(ChainTest, StatesThatCannotBeReadAreNotTheGuestsFailure) {
  const auto module = guest();
  const auto count = chain({{.module = module, .transform = "count"}});
  const auto records = values({"a"});
  BrokenStates states;
  const auto output = count->apply({.records = records}, &states);
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, ErrorCode::kIo);
  EXPECT_EQ(module->counters().failures, 0u);
  EXPECT_EQ(module->counters().instances, 1u);  // it waits for its next batch
}

TEST_F(ChainTest, AnOwnedBatchKeepsWhatItWasShown) {
  OwnedBatch batch;
  {
    const std::string key = "key", name = "name", value(1000, 'v');
    const HeaderView headers[] = {{.name = name, .value = value}, {.name = name}};
    batch.add({.timestamp = 7, .offset = 8, .key = key, .value = value, .headers = headers});
    batch.add({});
  }
  EXPECT_EQ(batch.bytes(), 3u + 1000 + 4 + 1000 + 4);
  const auto records = batch.view().records;
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].key, "key");
  EXPECT_EQ(records[0].offset, 8);
  ASSERT_EQ(records[0].headers.size(), 2u);
  EXPECT_EQ(records[0].headers[0].value, std::string(1000, 'v'));
  EXPECT_EQ(records[0].headers[1].value, std::nullopt);
  EXPECT_EQ(records[1].value, std::nullopt);
}

TEST_F(ChainTest, AScalarGivesAResultOrAnErrorARow) {
  const auto add = chain({{.module = guest(), .transform = "add"}});
  const int64_t numbers[] = {40, 2};
  const auto bytes = [&](size_t i) {
    return std::string_view(reinterpret_cast<const char*>(&numbers[i]), 8);
  };
  const HeaderView sum[] = {{.name = "", .value = bytes(0)}, {.name = "", .value = bytes(1)}};
  const HeaderView null[] = {{.name = "", .value = bytes(0)}, {.name = "", .value = std::nullopt}};
  std::vector<RecordView> rows(3);
  rows[0].headers = sum;
  rows[1].headers = null;
  const auto output = must(add->apply({.records = rows}));
  ASSERT_EQ(output.records().size(), 2u);
  const int64_t expected = 42;
  EXPECT_EQ(output.records()[0].value,
            std::string_view(reinterpret_cast<const char*>(&expected), 8));
  EXPECT_EQ(output.records()[1].value, std::nullopt);
  ASSERT_EQ(output.errors().size(), 1u);
  EXPECT_EQ(output.errors()[0].message, "add takes two numbers");
}

TEST_F(ChainTest, AGuestSaysWhyItFails) {
  const auto refuse = chain(
      {{.module = guest(), .transform = "upper"}, {.module = guest(), .transform = "refuse"}});
  const auto records = values({"x"});
  const auto output = refuse->apply({.records = records});
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, ErrorCode::kGuestFailed);
  EXPECT_THAT(output.error().text, HasSubstr("transform refuse failed (module "));
  EXPECT_THAT(output.error().text, HasSubstr(", step 2 of 2, here): I do not want to"));
  EXPECT_EQ(refuse->counters().failures, 1u);
}

TEST_F(ChainTest, AnOutputKeepsItsMemoryWhileOthersAreMade) {
  const auto module = guest();
  const auto upper = chain({{.module = module, .transform = "upper"}});
  const auto first_in = values({"first"});
  const auto second_in = values({"second"});
  const auto first = must(upper->apply({.records = first_in}));
  {
    const auto second = must(upper->apply({.records = second_in}));
    EXPECT_EQ(module->counters().instances, 2u);
    EXPECT_THAT(told(second), ElementsAre("0:SECOND"));
  }
  EXPECT_THAT(told(first), ElementsAre("0:FIRST"));
  EXPECT_THAT(told(must(upper->apply({.records = second_in}))), ElementsAre("0:SECOND"));
  EXPECT_EQ(module->counters().instances, 2u);
}

TEST_F(ChainTest, MoreChainsThanInstancesTakeTurns) {
  restart(1);  // so that a module has four instances at most
  const auto module = guest();
  std::vector<std::shared_ptr<Chain>> chains;
  for (int i = 0; i < 10; ++i) {
    chains.push_back(chain({{.module = module,
                             .transform = "contains",
                             .params = {{"word", std::string(1, static_cast<char>('a' + i))}}}}));
  }
  const auto records = values({"abcdefghij", "-"});
  for (int round = 0; round < 2; ++round) {
    for (auto& one : chains) EXPECT_EQ(must(one->apply({.records = records})).records().size(), 1u);
  }
  EXPECT_LE(module->counters().instances, 4u);
  std::vector<Output> held;
  for (int i = 0; i < 4; ++i) held.push_back(must(chains[0]->apply({.records = records})));
  const auto fifth = chains[1]->apply({.records = records});
  ASSERT_FALSE(fifth.has_value());
  EXPECT_EQ(fifth.error().code, ErrorCode::kOutOfMemory);
  held.clear();
  EXPECT_TRUE(chains[1]->apply({.records = records}).has_value());
}

TEST_F(ChainTest, IdleInstancesOfMoreMemoryThanMayBeEnd) {
  restart(2, size_t{8} << 20);
  const auto module = guest();
  const auto small = chain({{.module = module, .transform = "upper"}});
  const auto large = chain({{.module = module, .transform = "keyed"}});
  const std::string text(size_t{5} << 20, 'x');
  const auto one = values({"x"});
  const auto much = values({text, text});
  EXPECT_TRUE(small->apply({.records = one}).has_value());
  EXPECT_EQ(module->counters().instances, 1u);
  EXPECT_TRUE(large->apply({.records = much}).has_value());
  EXPECT_EQ(module->counters().instances, 0u);
  EXPECT_THAT(told(must(small->apply({.records = one}))), ElementsAre("0:X"));
  EXPECT_EQ(module->counters().instances, 1u);
}

TEST_F(ChainTest, AwaitedFromAShardItRunsOnALane) {
  io::Runtime runtime(1, 1);
  const auto upper = chain({{.module = guest(), .transform = "upper"}});
  const auto records = values({"x"});
  auto& shard = runtime.shard(0);
  auto output = must(shard.block_on(upper->run({.records = records})));
  EXPECT_THAT(told(output), ElementsAre("0:X"));
  auto where = [] { return io::Shard::current() == nullptr; };
  EXPECT_TRUE(shard.block_on(upper->on_lane(std::move(where))));
  auto loaded = must(shard.block_on(engine().load_in_background(guest_bytes())));
  EXPECT_EQ(loaded, upper->options().steps[0].module);
}

TEST_F(ChainTest, ManyThreadsAtOnce) {
  const auto module = guest();
  const auto steps = chain({{.module = module, .transform = "contains", .params = {{"word", "1"}}},
                            {.module = module, .transform = "upper"}});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string text = fmt::format("a{}1", t);
      const auto records = values({text, "2", text});
      for (int i = 0; i < 200; ++i) {
        const auto output = steps->apply({.records = records});
        if (!output || output->records().size() != 2 ||
            output->records()[1].value != fmt::format("A{}1", t)) {
          ++wrong;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(module->counters().batches, 2u * 4 * 200);
}

}  // namespace
}  // namespace millrace::wasm
