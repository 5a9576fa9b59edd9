// Any bytes as a guest module: loaded, and where they are one, run over a batch. Whatever they do,
// it ends as an error or as a result within the limits.

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include "base/io/memory_files.h"
#include "test/fuzz/seeds.h"
#include "wasm/chain.h"

namespace {
using namespace millrace;

wasm::Engine& engine() {
  static io::TestEnv env;
  static const auto made = wasm::Engine::start(
      env, {.lanes = 1, .instances_max = 8, .log = [](const wasm::LogLine&) {}});
  return **made;
}

/// For aggregates: nothing is known of any key.
class NoStates : public wasm::StateReader {
 public:
  Result<> read(std::span<wasm::StateView>) override { return {}; }
};
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::ifstream file(MR_TEST_GUEST, std::ios::binary);
  std::vector<std::string> seeds = {std::string(std::istreambuf_iterator<char>(file), {})};
  for (const std::string_view body :
       {"(local.get 0)", "(unreachable)", "(i32.const -8)", "(memory.grow (i32.const 9))"}) {
    seeds.push_back(*wasm::assemble(
        R"((module (memory (export "memory") 1) (func (export "millrace_abi_1"))
          (func (export "millrace_alloc") (param i32) (result i32) (i32.const 1024))
          (func (export "millrace__map__f") (param i32) (result i32) )" +
        std::string(body) + "))"));
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto module = engine().load({reinterpret_cast<const char*>(data), size});
  if (!module) return 0;
  std::vector<wasm::RecordView> records(20);
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].value = "a,value";
    if (i % 2) records[i].key = "key";
  }
  for (const auto& transform : (*module)->transforms()) {
    const wasm::Limits limits{.memory_bytes = 1 << 20,
                              .time_slice = std::chrono::milliseconds(5),
                              .output_bytes_more = 4096,
                              .output_records_more = 64};
    const auto chain = wasm::Chain::open(
        engine(), {.place = "fuzz",
                   .steps = {{.module = *module, .transform = transform.name, .limits = limits}}});
    if (!chain) continue;
    NoStates states;
    for (int round = 0; round < 2; ++round) {
      const auto output = (*chain)->apply({.records = records}, &states);
      if (output && output->records().size() > 64 + 16 * records.size()) __builtin_trap();
    }
  }
  return 0;
}
