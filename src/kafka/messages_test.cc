#include <gtest/gtest.h>

#include "kafka/messages_fill.h"

namespace millrace::kafka {
namespace {

template <typename Message>
std::string encoded(Message message, int16_t version) {
  Writer out;
  message.write(out, version);
  auto bytes = out.finish(false);
  EXPECT_TRUE(bytes) << bytes.error().text;
  return bytes ? bytes->to_string() : std::string();
}

template <typename Message>
Message random_message(uint32_t seed, int16_t version) {
  Filler random(seed);
  Message message;
  fill_fields(message, random, version);
  return message;
}

struct RoundTrip {
  template <typename Message>
  void operator()(const char* name) const {
    for (int16_t v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
      for (uint32_t seed = 0; seed < 40; ++seed) {
        SCOPED_TRACE(fmt::format("{} version {} seed {}", name, v, seed));
        const auto message = random_message<Message>(seed, v);
        const std::string bytes = encoded(message, v);
        Reader in(bytes);
        Message again;
        again.read(in, v);
        ASSERT_TRUE(in.ok()) << in.error().text;
        EXPECT_TRUE(in.rest().empty());
        EXPECT_EQ(again, message);
        EXPECT_EQ(encoded(std::move(again), v), bytes);
      }
    }
  }
};

TEST(Messages, RoundTripAtEveryVersion) { for_each_message(RoundTrip()); }

struct Cut {
  template <typename Message>
  void operator()(const char* name) const {
    for (int16_t v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
      SCOPED_TRACE(fmt::format("{} version {}", name, v));
      const std::string bytes = encoded(random_message<Message>(7, v), v);
      for (size_t n = 0; n < std::min<size_t>(bytes.size(), 2000); ++n) {
        const std::string cut = bytes.substr(0, n);  // its own allocation: a read past it is seen
        Reader in(cut);
        Message message;
        message.read(in, v);
        EXPECT_FALSE(in.ok()) << "cut to " << n << " of " << bytes.size();
      }
    }
  }
};

TEST(Messages, CutAnywhereAreAnError) { for_each_message(Cut()); }

struct Hostile {
  template <typename Message>
  void operator()(const char*) const {
    for (int16_t v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
      const std::string good = encoded(random_message<Message>(11, v), v);
      Filler random(static_cast<uint32_t>(v));
      for (int round = 0; round < 300 && !good.empty(); ++round) {
        std::string bytes = good;
        for (int i = 0; i < 3; ++i) {
          static constexpr char kEvil[] = {'\xff', '\x7f', '\x80', '\0'};
          const auto choice = random.below(6);
          bytes[random.below(bytes.size())] =
              choice < 4 ? kEvil[choice] : static_cast<char>(random.below(256));
        }
        Reader in(bytes);
        Message message;
        message.read(in, v);  // any outcome, as long as it is one
      }
    }
  }
};

TEST(Messages, SurviveHostileBytes) { for_each_message(Hostile()); }

TEST(Messages, RefuseCountsThatTheBytesCannotHold) {
  // Metadata v1: a count of 2^31 - 1 topics, and nothing behind it.
  Reader in(std::string_view("\x7f\xff\xff\xff", 4));
  MetadataRequest request;
  request.read(in, 1);
  ASSERT_FALSE(in.ok());
  EXPECT_NE(in.error().text.find("longer than the message"), std::string::npos);
}

TEST(Messages, RefuseMoreElementsThanTheLimit) {
  // A million empty names (compact length 1 each) would fit the bytes and cost 32 MB.
  Writer out;
  const size_t count = 1'000'000;
  out.array(count, true);
  for (size_t i = 0; i < count; ++i) out.string(std::string_view(), true);
  const std::string bytes = out.finish(false)->to_string();
  Reader in(bytes);
  DeleteTopicsRequest request;
  request.read(in, 5);
  ASSERT_FALSE(in.ok());
  EXPECT_NE(in.error().text.find("too many"), std::string::npos);
  EXPECT_TRUE(request.topic_names.empty());
}

TEST(Messages, SkipTaggedFieldsOfTheFuture) {
  // ApiVersions v3 request: two names, then one unknown tagged field of 3 bytes.
  const std::string bytes(
      "\x02"
      "a"
      "\x02"
      "b"
      "\x01"
      "\x2a"
      "\x03"
      "xyz",
      10);
  Reader in(bytes);
  ApiVersionsRequest request;
  request.read(in, 3);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(request.client_software_name, "a");
  EXPECT_EQ(request.client_software_version, "b");
  EXPECT_TRUE(in.rest().empty());
}

TEST(Messages, SayWhichValueAVersionCannotHold) {
  ListOffsetsResponse response;
  response.topics.emplace_back().partitions.emplace_back().leader_epoch = 0;
  Writer out;
  response.write(out, 3);  // leader epochs came with version 4
  auto bytes = out.finish(false);
  ASSERT_FALSE(bytes);
  EXPECT_NE(bytes.error().text.find("leader_epoch"), std::string::npos);
}

TEST(Messages, DropIgnorableValues) {
  MetadataResponse response;
  response.cluster_id = "c";  // from version 2 on, ignorable
  Writer out;
  response.write(out, 0);
  EXPECT_TRUE(out.finish(false));
}

TEST(Messages, SendLargeRecordsWithoutACopy) {
  FetchResponse response;
  auto& partition = response.responses.emplace_back().partitions.emplace_back();
  partition.records = Records(std::string(100'000, 'r'));
  const char* where = partition.records->owned.data();
  Writer out;
  response.write(out, 18);
  auto bytes = out.finish(true);
  ASSERT_TRUE(bytes);
  auto pieces = bytes->pieces();
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].bytes.data(), where);
  EXPECT_EQ(pieces[0].bytes.size() + pieces[1].bytes.size() + pieces[2].bytes.size(),
            bytes->total_bytes());
  Reader length(pieces[0].bytes);
  EXPECT_EQ(static_cast<size_t>(length.int32()) + 4, bytes->total_bytes());
}

}  // namespace
}  // namespace millrace::kafka
