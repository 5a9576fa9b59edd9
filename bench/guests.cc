// Measures the room wasm: compile, cached load, instantiate, a batch through a filter, memory.
//   millrace_guests [MODULE.wasm...]     other modules are compiled, loaded and started too
// A line of JSON for each case. Times are the best of several rounds: this is about what the code
// costs, not about what else the machine does.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "base/io/env.h"
#include "wasm/chain.h"

namespace {

using namespace millrace;
using Clock = std::chrono::steady_clock;

template <typename T>
T must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "millrace_guests: {}\n", result.error().text);
    std::exit(1);
  }
  return std::move(result).value();
}

double best_us(int rounds, const std::function<void()>& work) {
  double best = 1e12;
  for (int i = 0; i < rounds; ++i) {
    const auto began = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double, std::micro>(Clock::now() - began).count());
  }
  return best;
}

double resident_mb() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// The same module with another name in it: a custom section, so that its hash differs.
std::string variant(const std::string& wasm, int i) {
  const std::string name = fmt::format("v{:06}", i);
  return wasm +
         std::string({0, static_cast<char>(name.size() + 1), static_cast<char>(name.size())}) +
         name;
}

struct Records {
  std::string bytes;
  std::vector<wasm::RecordView> records;
};

/// JSON of 100 bytes as flights are, one in three of them to JFK, in one buffer.
Records flights(size_t count) {
  Records made;
  for (size_t i = 0; i < count; ++i) {
    auto text = fmt::format(
        R"({{"flight":{},"carrier":"UA","origin":"{}","dest":"IAH","delay":2,"tail":"N14228",)",
        i % 1000, i % 3 ? "EWR" : "JFK");
    text += "\"pad\":\"";
    text.resize(98, 'x');
    made.bytes += text + "\"}";
  }
  made.records.resize(count);
  for (size_t i = 0; i < count; ++i)
    made.records[i].value = std::string_view(made.bytes).substr(100 * i, 100);
  return made;
}

void start_of_modules(io::Env& env, const std::string& folder, const std::string& path) {
  const std::string wasm = read(path);
  const auto fresh = [&] {
    auto engine = must(wasm::Engine::start(env, {.lanes = 1, .cache_folder = folder}));
    (void)engine->load("");  // makes what the first module of a node waits for
    return engine;
  };
  double compile = 1e12, load = 1e12, start = 1e12;
  for (int i = 0; i < 5; ++i) {
    std::filesystem::remove_all(folder);
    auto engine = fresh();
    compile = std::min(compile, best_us(1, [&] { (void)must(engine->load(wasm)); }));
    engine = fresh();
    std::shared_ptr<wasm::Module> module;
    load = std::min(load, best_us(1, [&] { module = must(engine->load(wasm)); }));
    start = std::min(
        start, best_us(20, [&] {
          const auto chain = must(wasm::Chain::open(
              *engine,
              {.place = {},
               .steps = {{.module = module, .transform = module->transforms().front().name}}}));
          (void)chain->start();
        }));
  }
  fmt::print(
      R"({{"case":"module","file":"{}","bytes":{},"compile_ms":{:.1f},"cached_load_ms":{:.2f},"instantiate_us":{:.1f}}})"
      "\n",
      std::filesystem::path(path).filename().string(), wasm.size(), compile / 1e3, load / 1e3,
      start);
}

void batches(io::Env& env, const std::string& wasm) {
  const auto engine = must(wasm::Engine::start(env, {.lanes = 1}));
  const auto module = must(engine->load(wasm));
  for (const std::string transform : {"first_byte", "contains", "upper"}) {
    const auto chain = must(wasm::Chain::open(
        *engine, {.place = {}, .steps = {{.module = module, .transform = transform}}}));
    for (const size_t count : {1, 10, 1000, 10000}) {
      const auto made = flights(count);
      size_t out = 0;
      const auto us = best_us(static_cast<int>(200'000 / count + 20), [&] {
        out = must(chain->apply({.records = made.records, .bytes = made.bytes})).records().size();
      });
      const auto loose = best_us(static_cast<int>(200'000 / count + 20), [&] {
        out = must(chain->apply({.records = made.records})).records().size();
      });
      fmt::print(
          R"({{"case":"batch","transform":"{}","records":{},"kept":{},"us":{:.2f},"ns_a_record":{:.1f},"copied_one_by_one_ns":{:.1f}}})"
          "\n",
          transform, count, out, us, 1e3 * us / static_cast<double>(count),
          1e3 * loose / static_cast<double>(count));
    }
  }
}

void memory(io::Env& env, const std::string& wasm) {
  const double before = resident_mb();
  std::unique_ptr<wasm::Engine> engine;
  const double start_us =
      best_us(1, [&] { engine = must(wasm::Engine::start(env, {.lanes = 3})); });
  const double empty = resident_mb();
  const auto made = flights(1000);
  std::vector<std::shared_ptr<wasm::Chain>> chains;
  for (int i = 0; i < 200; ++i) {
    chains.push_back(must(wasm::Chain::open(
        *engine,
        {.place = {},
         .steps = {{.module = must(engine->load(variant(wasm, i))), .transform = "contains"}}})));
  }
  const double loaded = resident_mb();
  for (const auto& chain : chains)
    (void)must(chain->apply({.records = made.records, .bytes = made.bytes}));
  fmt::print(
      R"({{"case":"memory","modules":200,"engine_start_ms":{:.2f},"engine_mb":{:.1f},"loaded_mb":{:.1f},"after_a_batch_each_mb":{:.1f}}})"
      "\n",
      start_us / 1e3, empty - before, loaded - empty, resident_mb() - empty);
}

io::Task<std::vector<double>> crossings(wasm::Chain& chain, const Records& made, size_t rounds) {
  std::vector<double> times;
  for (size_t i = 0; i < rounds; ++i) {
    const auto began = Clock::now();
    (void)must(co_await chain.run({.records = made.records, .bytes = made.bytes}));
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count());
  }
  std::ranges::sort(times);
  co_return times;
}

/// From a shard to a lane, through the filter, and back: what a produce request waits.
void latency(io::Env& env, const std::string& wasm) {
  const auto engine = must(wasm::Engine::start(env, {.lanes = 3}));
  const auto chain = must(wasm::Chain::open(
      *engine,
      {.place = {}, .steps = {{.module = must(engine->load(wasm)), .transform = "first_byte"}}}));
  io::Runtime runtime(1, 1);
  for (const size_t count : {1, 1000}) {
    const auto made = flights(count);
    const auto times = runtime.shard(0).block_on(crossings(*chain, made, 5000));
    fmt::print(
        R"({{"case":"crossing","records":{},"p50_us":{:.1f},"p99_us":{:.1f},"p99_9_us":{:.1f}}})"
        "\n",
        count, times[2500], times[4950], times[4995]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto env = io::make_real_env();
  char folder[] = "/tmp/millrace_guests_XXXXXX";
  if (!mkdtemp(folder)) return 1;
  std::vector<std::string> files(argv + 1, argv + argc);
  files.insert(files.begin(), MR_TEST_GUEST);
  const auto wasm = read(MR_TEST_GUEST);
  memory(*env, wasm);
  for (const auto& file : files) start_of_modules(*env, folder, file);
  batches(*env, wasm);
  latency(*env, wasm);
  std::filesystem::remove_all(folder);
  return 0;
}
