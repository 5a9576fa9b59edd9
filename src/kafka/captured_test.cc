#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "kafka/detail/header.h"
#include "kafka/messages_fill.h"

namespace millrace::kafka {
namespace {

/// A frame that a real client or Apache Kafka 4.3.1 sent, from testdata/; the file's name is
/// <client>-<API>-v<version>-<request or response>.hex.
struct Captured {
  std::string name;
  std::string message;  // "FetchRequest"
  int16_t version = 0;
  bool is_request = false;
  std::string bytes;
};

std::string from_hex(const std::string& text) {
  std::string bytes;
  std::string digits;
  for (char c : text) {
    if (c == '\n') continue;
    digits += c;
    if (digits.size() < 2) continue;
    bytes += static_cast<char>(std::stoi(digits, nullptr, 16));
    digits.clear();
  }
  return bytes;
}

std::vector<Captured> captured_frames() {
  std::vector<Captured> frames;
  for (const auto& entry : std::filesystem::directory_iterator(MR_KAFKA_TESTDATA)) {
    Captured frame;
    frame.name = entry.path().stem();
    std::vector<std::string> words;
    std::stringstream split(frame.name);
    for (std::string word; std::getline(split, word, '-');) words.push_back(word);
    EXPECT_EQ(words.size(), 4u) << frame.name;
    frame.is_request = words.at(3) == "request";
    frame.message = words.at(1) + (frame.is_request ? "Request" : "Response");
    frame.version = static_cast<int16_t>(std::stoi(words.at(2).substr(1)));
    std::ifstream file(entry.path());
    frame.bytes = from_hex(std::string(std::istreambuf_iterator<char>(file), {}));
    frames.push_back(std::move(frame));
  }
  return frames;
}

/// Reads the head and gives what it was.
void read_head(const Captured& frame, int16_t key, Reader& in, Writer& out) {
  const ApiInfo& api = *find_api(key);
  const bool flexible = frame.version >= api.flexible_min;
  if (frame.is_request) {
    const auto header = RequestHeader::read(in);
    EXPECT_EQ(header.api_key, key);
    EXPECT_EQ(header.api_version, frame.version);
    EXPECT_TRUE(header.version_supported);
    out.int16(header.api_key);
    out.int16(header.api_version);
    out.int32(header.correlation_id);
    out.string(header.client_id, false, true, "client_id");
    if (flexible) out.varint(0);
  } else {
    RequestHeader asked;
    asked.api_key = key;
    asked.api_version = frame.version;
    asked.api = &api;
    asked.version_supported = true;
    asked.correlation_id = in.int32();
    if (flexible && key != ApiVersionsRequest::kApiKey) in.skip_tags();
    write_response_header(out, asked);
  }
}

struct SameBytes {
  const Captured& frame;
  bool& found;
  template <typename Message>
  void operator()(const char* name) const {
    if (frame.message != name) return;
    found = true;
    SCOPED_TRACE(frame.name);
    Reader in(frame.bytes);
    Writer out;
    read_head(frame, Message::kApiKey, in, out);
    Message message;
    message.read(in, frame.version);
    ASSERT_TRUE(in.ok()) << in.error().text;
    EXPECT_TRUE(in.rest().empty()) << in.rest().size() << " bytes left";
    message.write(out, frame.version);
    auto again = out.finish(false);
    ASSERT_TRUE(again) << again.error().text;
    EXPECT_TRUE(again->to_string() == frame.bytes);
  }
};

TEST(Captured, FramesOfRealClientsDecodeAndEncodeToTheSameBytes) {
  const auto frames = captured_frames();
  EXPECT_GE(frames.size(), 40u);
  for (const auto& frame : frames) {
    bool found = false;
    for_each_message(SameBytes{frame, found});
    EXPECT_TRUE(found) << frame.name;
  }
}

}  // namespace
}  // namespace millrace::kafka
