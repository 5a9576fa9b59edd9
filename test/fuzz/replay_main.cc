// Runs a fuzz target without libFuzzer: its seeds, then mutations of them from a fixed seed, a
// bounded number of times. Arguments: iterations (default 20000), or paths of inputs to replay.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "test/fuzz/seeds.h"

// What a target without seeds of its own begins from.
__attribute__((weak)) std::vector<std::string> fuzz_seeds() { return {std::string(64, '\0')}; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {
void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

void mutate(std::string& input, const std::vector<std::string>& seeds, std::mt19937_64& random) {
  const auto position = [&](size_t size) { return size == 0 ? 0 : random() % size; };
  switch (random() % 6) {
    case 0:
      if (!input.empty()) input[position(input.size())] ^= static_cast<char>(1 << random() % 8);
      break;
    case 1:
      if (!input.empty()) input[position(input.size())] = static_cast<char>(random());
      break;
    case 2:
      input.resize(position(input.size() + 1));
      break;
    case 3:
      input.insert(position(input.size() + 1), 1 + random() % 8, static_cast<char>(random()));
      break;
    case 4:
      input.erase(position(input.size() + 1), 1 + random() % 8);
      break;
    case 5: {  // a number at the edge of its range
      static constexpr char kEdges[] = {'\x00', '\x01', '\x7f', '\x80', '\xff'};
      const size_t at = position(input.size() + 1);
      const size_t width = size_t{1} << random() % 4;
      for (size_t i = at; i < input.size() && i < at + width; ++i) {
        input[i] = kEdges[random() % sizeof kEdges];
      }
      break;
    }
  }
  if (random() % 64 == 0 && !seeds.empty()) input += seeds[random() % seeds.size()];
}
}  // namespace

int main(int argc, char** argv) {
  size_t iterations = 20'000;
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      iterations = std::strtoull(argv[i], nullptr, 10);
      continue;
    }
    run(std::string(std::istreambuf_iterator<char>(file), {}));
    iterations = 0;
  }
  const auto seeds = fuzz_seeds();
  for (const auto& seed : seeds) run(seed);
  std::mt19937_64 random(20'130'101);
  for (size_t i = 0; i < iterations; ++i) {
    std::string input = seeds.empty() ? std::string() : seeds[random() % seeds.size()];
    for (size_t n = 1 + random() % 8; n > 0; --n) mutate(input, seeds, random);
    run(input);
  }
  std::printf("%zu seeds, %zu mutations\n", seeds.size(), iterations);
  return 0;
}
