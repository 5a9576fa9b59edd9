// Modules that mean ill, or are badly made: each is answered with an error that says what happened,
// and the engine goes on serving others.
#include <gmock/gmock.h>

#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "wasm/detail/lanes.h"
#include "wasm/wasm_test_util.h"

namespace millrace::wasm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;

class HostileTest : public WasmTest {
 protected:
  // What others get, after everything that happens here.
  void TearDown() override {
    const auto filter = chain({{.module = guest(), .transform = "contains"}});
    const auto records = values({"JFK", "EWR"});
    EXPECT_THAT(told(must(filter->apply({.records = records}))), testing::ElementsAre("0:JFK"));
  }
  /// A filter whose result batch stands at address 64: ten words in hexadecimal, little-endian.
  static std::string result(std::vector<uint32_t> words, std::string_view more = {}) {
    words.resize(10);
    std::string bytes;
    for (const uint32_t word : words) {
      for (int shift = 0; shift < 32; shift += 8)
        bytes += fmt::format("\\{:02x}", word >> shift & 255);
    }
    return wat(fmt::format(R"((data (i32.const 64) "{}") {}
      (func (export "millrace__filter__f") (param i32) (result i32) (i32.const 64)))",
                           bytes, more));
  }
  /// Words of data at an address.
  static std::string data(uint32_t at, const std::vector<uint32_t>& words) {
    std::string bytes;
    for (const uint32_t word : words) {
      for (int shift = 0; shift < 32; shift += 8)
        bytes += fmt::format("\\{:02x}", word >> shift & 255);
    }
    return fmt::format(R"((data (i32.const {}) "{}"))", at, bytes);
  }
};

TEST_F(HostileTest, AnEndlessLoopEndsWithItsSlice) {
  const auto began = std::chrono::steady_clock::now();
  const auto text = failure(wat_filter("(loop $l (br $l)) (i32.const 0)"),
                            {.time_slice = std::chrono::milliseconds(20)});
  EXPECT_THAT(text, HasSubstr("more than its time slice of 20 ms"));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(20));
}

TEST_F(HostileTest, AMemoryBombStopsAtItsLimit) {
  const auto text = failure(wat_filter(R"(
    (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable))"),
                            {.memory_bytes = size_t{8} << 20});
  EXPECT_THAT(text, AllOf(HasSubstr("unreachable"), HasSubstr("of the 8 MiB of memory")));
}

TEST_F(HostileTest, AModuleThatBeginsWithMoreMemoryThanItMayDoesNotStart) {
  const auto begins = [](int pages) {
    return fmt::format(R"((module (memory (export "memory") {}) (func (export "millrace_abi_1"))
      (func (export "millrace_alloc") (param i32) (result i32) (i32.const 8))
      (func (export "millrace__filter__f") (param i32) (result i32) (local.get 0))))",
                       pages);
  };
  EXPECT_THAT(failure(begins(100), {.memory_bytes = size_t{1} << 20}), HasSubstr("does not start"));
  EXPECT_THAT(refusal(begins(5000)), HasSubstr("is refused"));
}

TEST_F(HostileTest, AnOutputBombIsCut) {
  // 100,000 records, all of the same input and value.
  const auto filter = chain({{.module = module(wat(R"(
    (func (export "millrace__expand__f") (param $batch i32) (result i32) (local $i i32) (local $at i32)
      (drop (memory.grow (i32.const 100)))
      (i32.store (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const 100000))
      (i32.store (i32.const 72) (i32.const 65536))
      (local.set $at (i32.const 65536))
      (loop $l
        (memory.copy (local.get $at) (i32.load offset=8 (local.get $batch)) (i32.const 48))
        (i32.store offset=32 (local.get $at) (i32.const 0)) (i32.store offset=36 (local.get $at) (i32.const 0))
        (local.set $at (i32.add (local.get $at) (i32.const 48)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 100000))))
      (i32.const 64)))")),
                              .transform = "f"}});
  const auto records = values({"a"});
  const auto many = filter->apply({.records = records});
  ASSERT_FALSE(many.has_value());
  EXPECT_THAT(many.error().text, HasSubstr("it gave 100000 records for 1; its limit is 65552"));
  const std::string large(200, 'x');
  const auto more = values({large});
  const auto wide = chain({{.module = filter->options().steps[0].module,
                            .transform = "f",
                            .limits = {.output_records_more = 200'000}}});
  const auto bytes = wide->apply({.records = more});
  ASSERT_FALSE(bytes.has_value());
  EXPECT_THAT(bytes.error().text, HasSubstr("it gave more than 1051776 bytes for 1 records"));
}

TEST_F(HostileTest, ATrapAtARecordFailsThatBatchAlone) {
  const auto filter = chain({{.module = module(wat_filter(R"(
    (loop $l
      (if (i32.eq (i32.load8_u (i32.load offset=24 (i32.add (i32.load offset=8 (local.get $batch)) (i32.mul (local.get $i) (i32.const 48))))) (i32.const 33))
        (then (unreachable)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.load offset=4 (local.get $batch)))))
    (local.get $batch))")),
                              .transform = "f"}});
  const auto good = values({"a", "b", "c"});
  const auto bad = values({"a", "!", "c"});
  EXPECT_THAT(must(filter->apply({.records = good})).records(), SizeIs(3));
  const auto failed = filter->apply({.records = bad});
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().text, HasSubstr("unreachable"));
  EXPECT_THAT(must(filter->apply({.records = good})).records(), SizeIs(3));
}

TEST_F(HostileTest, ARecursionWithoutEndOverflowsItsOwnStack) {
  EXPECT_THAT(failure(wat_filter("(call $deep (i32.const 0))) (func $deep (param i32) (result i32) "
                                 "(i32.add (i32.const 1) (call $deep (local.get 0)))")),
              HasSubstr("its stack overflowed"));
}

TEST_F(HostileTest, OfAnotherAbiOrOfNoneItIsRefusedByName) {
  EXPECT_THAT(refusal(R"((module (memory (export "memory") 1) (func (export "millrace_abi_2"))))"),
              HasSubstr("it speaks millrace_abi_2"));
  EXPECT_THAT(refusal("(module)"), HasSubstr("no Millrace module"));
  EXPECT_THAT(refusal(R"((module (func (export "millrace_abi_1"))))"),
              HasSubstr("exports no memory"));
  EXPECT_THAT(refusal(R"((module (memory (export "memory") 1) (func (export "millrace_abi_1"))))"),
              HasSubstr("exports no millrace_alloc"));
  EXPECT_THAT(refusal(wat("")), HasSubstr("exports no transform"));
  EXPECT_THAT(refusal(wat(R"((func (export "_start")))")), HasSubstr("build it as a library"));
  EXPECT_THAT(
      refusal(wat(R"((func (export "millrace__sort__f") (param i32) (result i32) (i32.const 0)))")),
      HasSubstr("millrace__sort__f is of no kind"));
  EXPECT_THAT(
      refusal(wat(R"((func (export "millrace__map__F") (param i32) (result i32) (i32.const 0)))")),
      HasSubstr("no name of a-z"));
  EXPECT_THAT(
      refusal(wat(R"((func (export "millrace__map__f") (param i64) (result i32) (i32.const 0)))")),
      HasSubstr("must be a function (i32) -> i32"));
  EXPECT_THAT(
      refusal(wat(R"((func (export "millrace__map__f") (param i32) (result i32) (i32.const 0))
                            (func (export "millrace__init__g") (param i32) (result i32) (i32.const 0)))")),
      HasSubstr("no transform g"));
  EXPECT_THAT(
      refusal(R"((module (memory (export "memory") i64 1) (func (export "millrace_abi_1"))))"),
      HasSubstr("is refused"));
}

TEST_F(HostileTest, UnknownImportsAreNamed) {
  EXPECT_THAT(refusal(R"((module (import "env" "system" (func (param i32) (result i32)))
                         (memory (export "memory") 1) (func (export "millrace_abi_1"))
                         (func (export "millrace_alloc") (param i32) (result i32) (i32.const 0))
                         (func (export "millrace__map__f") (param i32) (result i32) (i32.const 0))))"),
              HasSubstr("it imports env.system"));
  EXPECT_THAT(refusal(R"((module (import "wasi_snapshot_preview1" "fd_fly" (func))
                         (memory (export "memory") 1) (func (export "millrace_abi_1"))
                         (func (export "millrace_alloc") (param i32) (result i32) (i32.const 0))
                         (func (export "millrace__map__f") (param i32) (result i32) (i32.const 0))))"),
              HasSubstr("wasi_snapshot_preview1.fd_fly"));
}

TEST_F(HostileTest, AStartThatNeverEndsIsRefused) {
  EXPECT_THAT(refusal(wat(R"((func $s (loop $l (br $l))) (start $s)
                            (func (export "millrace__map__f") (param i32) (result i32) (i32.const 0)))")),
              AllOf(HasSubstr("does not start"), HasSubstr("time slice")));
  EXPECT_THAT(refusal(wat(R"((func (export "_initialize") (loop $l (br $l)))
                            (func (export "millrace__map__f") (param i32) (result i32) (i32.const 0)))")),
              AllOf(HasSubstr("does not start"), HasSubstr("time slice")));
  EXPECT_THAT(engine().modules(), SizeIs(0));
}

TEST_F(HostileTest, WhatIsTooLargeOrNoModuleIsRefused) {
  const auto large = engine().load(std::string(100'000'000, '\0'));
  ASSERT_FALSE(large.has_value());
  EXPECT_THAT(large.error().text, HasSubstr("100000000 bytes, more than 32 MiB"));
  std::mt19937_64 random(1);
  std::string noise(1000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  const auto bytes = engine().load(noise);
  ASSERT_FALSE(bytes.has_value());
  EXPECT_THAT(bytes.error().text, HasSubstr("no WebAssembly module"));
  const auto begun = engine().load(std::string("\0asm\1\0\0\0", 8) + noise);
  ASSERT_FALSE(begun.has_value());
  EXPECT_EQ(begun.error().code, ErrorCode::kInvalidArgument);
}

/// A number in LEB128.
std::string leb(uint32_t n) {
  std::string bytes;
  for (; n >= 0x80; n >>= 7) bytes += static_cast<char>(n | 0x80);
  return bytes + static_cast<char>(n);
}

/// A module of `count` functions, each of which adds `adds` times.
std::string functions(uint32_t count, uint32_t adds) {
  std::string body("\0\x20\0", 3);  // no locals; local.get 0
  for (uint32_t i = 0; i < adds; ++i) body += std::string("\x20\0\x6a", 3);  // local.get 0; i32.add
  body += '\x0b';
  std::string types("\1\x60\1\x7f\1\x7f", 6), declared = leb(count), code = leb(count);
  for (uint32_t i = 0; i < count; ++i) {
    declared += '\0';
    code += leb(static_cast<uint32_t>(body.size())) + body;
  }
  std::string wasm("\0asm\1\0\0\0", 8);
  for (const auto& [id, content] : {std::pair('\1', types), {'\3', declared}, {'\x0a', code}}) {
    wasm += id + leb(static_cast<uint32_t>(content.size())) + content;
  }
  return wasm;
}

TEST_F(HostileTest, CodeThatWouldTakeTheCompilerGigabytesIsRefused) {
  const auto refused = [&](uint32_t count, uint32_t adds) {
    const auto loaded = engine().load(functions(count, adds));
    EXPECT_FALSE(loaded.has_value());
    return loaded ? std::string() : loaded.error().text;
  };
  EXPECT_THAT(refused(300'000, 20), HasSubstr("it has 300000 functions, more than 30000"));
  EXPECT_THAT(refused(1, 300'000), HasSubstr("its function 0 has 900004 bytes, more than 524288"));
  EXPECT_THAT(refused(3, 20), HasSubstr("no Millrace module"));  // but well-formed
}

TEST_F(HostileTest, ResultsAreNotBelieved) {
  const auto record = [](uint32_t key_at, uint32_t key_size, uint32_t input) {
    return std::vector<uint32_t>{0, 0, 0, 0, key_at, key_size, 0, 0xffffffff, 0, 0, input, 0};
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {wat_filter("(i32.const 0)"), "it did not say why"},
      {wat_filter("(i32.const -8)"), "outside the memory"},
      {wat_filter("(i32.const 65)"), "not 4-aligned"},
      {wat_filter("(i32.const 1024)"), "no batch of version 1 (version 0)"},
      {result({2}), "no batch of version 1 (version 2)"},
      {result({1, 1, 0xfffffff8}),
       "the table of records (1 of 48 bytes at address 4294967288) is outside"},
      {result({1, 0xffffffff, 128}), "the table of records (4294967295 of 48 bytes"},
      {result({1, 1, 132}), "the table of records at address 132 is not 8-aligned"},
      {result({1, 0, 0, 1, 130}), "the table of errors at address 130 is not 4-aligned"},
      {result({1, 0, 0, 0x20000000, 128}), "the table of errors"},
      {result({1, 0, 0, 0, 0, 1, 0xfffffffc}), "the table of states"},
      {result({1, 1, 128}, data(128, record(65536, 1, 0))), "key or value of record 0"},
      {result({1, 1, 128}, data(128, record(0, 0x80000000, 0))), "key or value of record 0"},
      {result({1, 1, 128}, data(128, record(0xffffffff, 0xfffffffe, 0))),
       "key or value of record 0"},
      {result({1, 1, 128}, data(128, record(0, 0, 3))),
       "record 0 says that it comes from input 3 of 3"},
      {result({1, 2, 128}, data(128, record(0, 0, 1)) + data(176, record(0, 0, 1))),
       "record 1 comes from input 1, out of order"},
      {result({1, 1, 128, 1, 256}, data(128, record(0, 0, 1)) + data(256, {1, 0, 0})),
       "input 1 is both"},
      {result({1, 0, 0, 1, 256}, data(256, {7, 0, 0})), "error 0 is of input 7"},
      {result({1, 0, 0, 4, 256}), "4 errors for 3 inputs"},
      {result({1, 0, 0, 1, 256}, data(256, {0, 65000, 1000})), "the message of error 0 is outside"},
      {result({1, 1, 128}, data(128, {0, 0, 0, 0, 0, 0, 0, 0, 65528, 1, 0, 0})),
       "table of headers"},
      {result({1, 1, 128}, data(128, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0xffffffff, 0, 0})),
       "it gave more than"},
      {result({1, 1, 128},
              data(128, {0, 0, 0, 0, 0, 0, 0, 0, 256, 1, 0, 0}) + data(256, {0, 0xffffffff, 0, 0})),
       "header 0 of record 0"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_THAT(failure(text), HasSubstr(expected)) << text;
}

TEST_F(HostileTest, AMapThatDropsARecordIsMalformed) {
  const auto map = chain({{.module = module(wat(R"(
    (func (export "millrace__map__f") (param i32) (result i32)
      (i32.store offset=4 (local.get 0) (i32.const 2)) (local.get 0)))")),
                           .transform = "f"}});
  const auto records = values({"a", "b", "c"});
  const auto output = map->apply({.records = records});
  ASSERT_FALSE(output.has_value());
  EXPECT_THAT(output.error().text,
              HasSubstr("2 records and 0 errors for 3 inputs; a map gives one for each"));
}

TEST_F(HostileTest, AnAllocThatLiesIsNotBelieved) {
  const auto with = [&](std::string_view address) {
    return failure(
        fmt::format(R"((module (memory (export "memory") 1) (func (export "millrace_abi_1"))
      (func (export "millrace_alloc") (param i32) (result i32) (i32.const {}))
      (func (export "millrace__filter__f") (param i32) (result i32) (local.get 0))))",
                    address));
  };
  EXPECT_THAT(with("0"), HasSubstr("gave no room for a batch of 3 records"));
  EXPECT_THAT(with("12"), HasSubstr("not 8-aligned"));
  EXPECT_THAT(with("65528"), HasSubstr("outside its memory"));
  EXPECT_THAT(with("-8"), HasSubstr("outside its memory"));
}

TEST_F(HostileTest, AfterAHundredFailuresInARowItIsPausedUntilResumed) {
  const auto bad = module(wat_filter(R"(
    (if (i32.eq (i32.load offset=4 (local.get $batch)) (i32.const 1)) (then (unreachable))) (local.get $batch))"));
  const auto filter = chain({{.module = bad, .transform = "f"}});
  const auto one = values({"a"});
  const auto two = values({"a", "b"});
  for (int i = 0; i < 99; ++i) EXPECT_FALSE(filter->apply({.records = one}).has_value());
  EXPECT_TRUE(filter->apply({.records = two}).has_value());  // not in a row any more
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(bad->paused());
    EXPECT_FALSE(filter->apply({.records = one}).has_value());
  }
  EXPECT_TRUE(bad->paused());
  const auto refused = filter->apply({.records = two});
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().text, HasSubstr("is paused after 100 failed batches in a row"));
  bad->resume();
  EXPECT_TRUE(filter->apply({.records = two}).has_value());
}

TEST_F(HostileTest, LinesAreCutAndWasiHasNothingBehindIt) {
  const auto filter = chain({{.module = module(R"((module
    (import "millrace" "log" (func $log (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "\40\00\00\00\05\00\00\00") (data (i32.const 64) "hello")
    (func (export "millrace_abi_1"))
    (func (export "millrace_alloc") (param i32) (result i32) (i32.const 4096))
    (func (export "millrace__filter__f") (param i32) (result i32) (local $i i32)
      (if (i32.ne (call $clock (i32.const 0) (i64.const 0) (i32.const 0)) (i32.const 76)) (then (unreachable)))
      (if (i32.ne (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)) (i32.const 8)) (then (unreachable)))
      (if (i32.ne (call $write (i32.const 7) (i32.const 16) (i32.const 1) (i32.const 0)) (i32.const 8)) (then (unreachable)))
      (if (i32.ne (call $write (i32.const 1) (i32.const -1) (i32.const 1) (i32.const 0)) (i32.const 21)) (then (unreachable)))
      (if (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 32)) (then (unreachable)))
      (call $log (i32.const 9) (i32.const 60000) (i32.const 60000))
      (loop $l (call $log (i32.const 0) (i32.const 0) (i32.const 50000))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
      (local.get 0))))"),
                              .transform = "f"}});
  const auto records = values({"a"});
  EXPECT_TRUE(filter->apply({.records = records}).has_value());
  ASSERT_EQ(logged_.size(), 101u);
  EXPECT_EQ(logged_[0], "here|f|2|hello");
  EXPECT_EQ(logged_[1], "here|f|3|(a text outside its memory)");
  EXPECT_EQ(logged_[2].size(), std::string_view("here|f|0|").size() + 4096);
  EXPECT_EQ(logged_[100], "here|f|2|more lines of this call are dropped");
}

TEST_F(HostileTest, ExitAndAbortEndTheCallWithTheirReason) {
  const auto guest_with = [&](std::string_view import, std::string_view call) {
    return failure(
        fmt::format(R"((module {} (memory (export "memory") 1) (func (export "millrace_abi_1"))
      (data (i32.const 16) "\06\00\00\00n\00o\00!\00") (data (i32.const 32) "\08\00\00\00a\00.\00t\00s\00")
      (func (export "millrace_alloc") (param i32) (result i32) (i32.const 4096))
      (func (export "millrace__filter__f") (param i32) (result i32) {} (i32.const 0))))",
                    import, call));
  };
  EXPECT_THAT(
      guest_with(R"((import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))))",
                 "(call $exit (i32.const 3))"),
      HasSubstr("it ended itself (exit code 3)"));
  EXPECT_THAT(guest_with(R"((import "env" "abort" (func $abort (param i32 i32 i32 i32))))",
                         "(call $abort (i32.const 20) (i32.const 36) (i32.const 7) (i32.const 1))"),
              HasSubstr("it aborted: no! (a.ts:7)"));
  EXPECT_THAT(guest_with(R"((import "env" "abort" (func $abort (param i32 i32 i32 i32))))",
                         "(call $abort (i32.const -1) (i32.const 1) (i32.const 7) (i32.const 1))"),
              HasSubstr("it aborted:  (:7)"));
}

TEST_F(HostileTest, ASlowGuestLeavesALaneToOthers) {
  io::Runtime runtime(1, 1);
  auto& shard = runtime.shard(0);
  const auto slow =
      chain({{.module = module(wat_filter("(loop $l (br $l)) (i32.const 0)")), .transform = "f"}});
  const auto quick = chain({{.module = guest(), .transform = "contains"}});
  const auto records = values({"JFK"});
  std::vector<std::thread> threads;
  std::atomic<bool> over = false;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!over) EXPECT_FALSE(shard.block_on(slow->run({.records = records})).has_value());
    });
  }
  // The slow one has one of the two lanes for 50 ms a batch; if it had both, twenty batches of
  // another would wait a second.
  while (slow->counters().batches == 0) std::this_thread::yield();
  const uint64_t before = slow->counters().batches;
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(shard.block_on(quick->run({.records = records})).has_value());
  EXPECT_LT(slow->counters().batches - before, 15u);
  over = true;
  for (auto& thread : threads) thread.join();
}

TEST(LanesTest, OneSourceLeavesTwoLanesToOthers) {
  std::mutex mutex;
  int running = 0;
  int most = 0;
  std::atomic<int> started = 0;
  const auto count = [&](int more) {
    std::lock_guard lock(mutex);
    running += more;
    most = std::max(most, running);
  };
  {
    Lanes lanes(4);
    const auto source = std::make_shared<Lanes::Source>();
    for (int i = 0; i < 8; ++i) {
      lanes.add(source, [&] {
        count(1);
        // Waits for its neighbour, so that two do run at a time.
        for (++started; started < 2;) std::this_thread::yield();
        count(-1);
      });
    }
    std::promise<void> other;
    lanes.add(std::make_shared<Lanes::Source>(), [&] { other.set_value(); });
    other.get_future().wait();
  }
  EXPECT_EQ(started, 8);
  EXPECT_EQ(most, 2);
}

}  // namespace
}  // namespace millrace::wasm
