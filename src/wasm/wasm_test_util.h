#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io/memory_files.h"
#include "wasm/chain.h"

namespace millrace::wasm {

/// The bytes of testdata/guest.cc, compiled (chain_test.cc).
std::string guest_bytes();

/// A module in text form that does as the ABI says, with one place for a batch, and `rest`.
inline std::string wat(std::string_view rest) {
  return fmt::format(R"((module
  (import "millrace" "log" (func $log (param i32 i32 i32)))
  (import "millrace" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "millrace_abi_1"))
  (func (export "millrace_alloc") (param $size i32) (result i32)
    (if (i32.gt_u (i32.add (local.get $size) (i32.const 4096)) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.div_u (local.get $size) (i32.const 32768))))))
    (i32.const 4096))
  {}))",
                     rest);
}

/// The same with one filter `f`, of this body; its parameter is the batch.
inline std::string wat_filter(std::string_view body) {
  return wat(fmt::format(R"((func (export "millrace__filter__f") (param $batch i32) (result i32)
    (local $i i32) {}))",
                         body));
}

/// An engine over files in memory, and what guests logged.
class WasmTest : public testing::Test {
 protected:
  void restart(size_t lanes = 2, size_t idle_bytes = size_t{1} << 30) {
    engine_.reset();
    engine_ = must(Engine::start(env_, {.lanes = lanes,
                                        .cache_folder = "/cache",
                                        .instances_max = 50,
                                        .idle_memory_bytes = idle_bytes,
                                        .log = [this](const LogLine& line) {
                                          std::lock_guard lock(mutex_);
                                          logged_.push_back(
                                              fmt::format("{}|{}|{}|{}", line.place, line.transform,
                                                          static_cast<int>(line.level), line.text));
                                        }}));
  }
  Engine& engine() {
    if (!engine_) restart();
    return *engine_;
  }

  template <typename T>
  static T must(Result<T> result) {
    EXPECT_TRUE(result.has_value()) << result.error().text;
    return std::move(result).value();
  }

  std::shared_ptr<Module> guest() { return must(engine().load(guest_bytes())); }
  std::shared_ptr<Module> module(const std::string& text) {
    return must(engine().load(must(assemble(text))));
  }
  /// Why a module is refused.
  std::string refusal(const std::string& text) {
    const auto loaded = engine().load(must(assemble(text)));
    EXPECT_FALSE(loaded.has_value());
    return loaded ? std::string() : loaded.error().text;
  }
  std::shared_ptr<Chain> chain(std::vector<Step> steps) {
    return must(Chain::open(engine(), {.place = "here", .steps = std::move(steps)}));
  }
  /// Why a batch of three records fails in a module with the filter `f`.
  std::string failure(const std::string& text, Limits limits = {}) {
    const auto filter = chain({{.module = module(text), .transform = "f", .limits = limits}});
    const auto records = values({"a", "b", "c"});
    const auto output = filter->apply({.records = records});
    EXPECT_FALSE(output.has_value());
    return output ? std::string() : output.error().text;
  }

  static std::vector<RecordView> values(std::vector<std::string_view> texts) {
    std::vector<RecordView> records(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      records[i].value = texts[i];
      records[i].timestamp = static_cast<TimestampMs>(i);
      records[i].offset = static_cast<Offset>(100 + i);
    }
    return records;
  }
  /// "input:value" of each record.
  static std::vector<std::string> told(const Output& output) {
    std::vector<std::string> texts;
    for (const auto& record : output.records()) {
      texts.push_back(fmt::format("{}:{}", record.input, record.value.value_or("(null)")));
    }
    return texts;
  }

  io::TestEnv env_;
  std::mutex mutex_;
  std::vector<std::string> logged_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace millrace::wasm
