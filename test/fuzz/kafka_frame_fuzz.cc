// Hostile bytes against what stands between a Kafka client's socket and the handlers: frames,
// request headers, and every request's decoder at every version. What decodes must encode, and
// decode to the same again.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "kafka/detail/frame_decoder.h"
#include "kafka/detail/header.h"
#include "kafka/messages.h"
#include "kafka/messages_fill.h"
#include "test/fuzz/seeds.h"

namespace {

using namespace millrace::kafka;  // this file is nothing but a test of it

template <typename Message>
std::string encoded(Message message, int16_t version) {
  Writer out;
  message.write(out, version);
  auto bytes = out.finish(false);
  if (!bytes) __builtin_trap();  // whatever a version can say, it can say again
  return bytes->to_string();
}

template <typename Message>
void decode(Reader in, int16_t version) {
  Message message;
  message.read(in, version);
  if (!in.ok()) return;
  const std::string text = encoded(std::move(message), version);
  Reader again(text);
  Message twin;
  twin.read(again, version);
  // By their bytes: a number that is none does not equal itself.
  if (!again.ok() || encoded(std::move(twin), version) != text) __builtin_trap();
}

bool is_request(std::string_view name) { return name.ends_with("Request"); }

/// Decodes the body of the request that the header names.
struct DecodeBody {
  const RequestHeader& header;
  Reader in;
  template <typename Message>
  void operator()(const char* name) const {
    if constexpr (requires { Message::kApiKey; }) {
      if (is_request(name) && Message::kApiKey == header.api_key) {
        decode<Message>(in, header.api_version);
      }
    }
  }
};

/// Appends an empty request at each of its versions, with its header.
struct AddEmpty {
  std::vector<std::string>& seeds;
  template <typename Message>
  void operator()(const char* name) const {
    if constexpr (requires { Message::kApiKey; }) {
      if (!is_request(name)) return;
      for (int16_t v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
        Writer out;
        out.int16(Message::kApiKey);
        out.int16(v);
        out.int32(1);
        out.string(std::string_view("fuzz"), false);
        if (v >= find_api(Message::kApiKey)->flexible_min) out.varint(0);
        Message().write(out, v);
        if (auto bytes = out.finish(false)) seeds.push_back(bytes->to_string());
      }
    }
  }
};

void handle(const std::string& frame) {
  Reader in(frame);
  const auto header = RequestHeader::read(in);
  if (in.ok() && header.version_supported) for_each_message(DecodeBody{header, in});
}

}  // namespace

/// The requests of real clients, as src/kafka/testdata has them, and an empty one of every kind.
std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(MR_KAFKA_TESTDATA)) {
    if (!entry.path().stem().string().ends_with("-request")) continue;
    std::ifstream file(entry.path());
    std::string bytes;
    for (char high, low; file >> high >> low;) {
      bytes += static_cast<char>(std::stoi(std::string{high, low}, nullptr, 16));
    }
    seeds.push_back(std::move(bytes));
  }
  // The file system's order is no one's promise, and a replay is to be the same everywhere.
  std::ranges::sort(seeds);
  for_each_message(AddEmpty{seeds});
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  handle(std::string(bytes));  // as one frame, so that the fuzzer need not find lengths first

  FrameDecoder decoder(1 << 20);
  while (!bytes.empty()) {
    auto space = decoder.space();
    const size_t n = std::min({space.size(), bytes.size(), size_t{7} + bytes.size() % 5000});
    std::memcpy(space.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    decoder.filled(n);
    while (true) {
      auto frame = decoder.next();
      if (!frame) return 0;
      if (!*frame) break;
      handle(**frame);
    }
  }
  return 0;
}
