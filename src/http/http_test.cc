#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/detail/exchange.h"
#include "http/detail/feed.h"

namespace millrace::http::detail {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kGet = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const Answer kOk{200, "text/plain", "ok\n"};

TEST(Exchange, ReadsARequestInAnyPieces) {
  Exchange exchange;
  for (size_t i = 0; i < kGet.size(); i++) {
    auto early = exchange.next();
    ASSERT_TRUE(early);
    EXPECT_FALSE(*early) << i;
    exchange.feed(kGet.substr(i, 1));
  }
  auto request = exchange.next();
  ASSERT_TRUE(request && *request);
  EXPECT_EQ((*request)->method, "GET");
  EXPECT_EQ((*request)->target, "/metrics");
  EXPECT_TRUE((*request)->keep_alive);
}

TEST(Exchange, ReadsPipelinedRequestsOneByOne) {
  Exchange exchange;
  exchange.feed(kGet + "POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" +
                "HEAD / HTTP/1.0\r\n\r\n");
  EXPECT_EQ((*exchange.next())->target, "/metrics");
  const auto post = *exchange.next();
  EXPECT_EQ(post->method, "POST");
  EXPECT_EQ(post->body, "abc");
  auto head = *exchange.next();
  EXPECT_EQ(head->method, "HEAD");
  EXPECT_FALSE(head->keep_alive);
  EXPECT_FALSE(*exchange.next());
}

TEST(Exchange, AnswersWithLengthAndConnection) {
  Exchange exchange;
  Request request{"GET", "/", true, 11};
  EXPECT_THAT(exchange.respond(request, kOk, true),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Length: 3\r\n"),
                    Not(HasSubstr("close")), EndsWith("\r\n\r\nok\n")));
  EXPECT_THAT(exchange.respond(request, kOk, false), HasSubstr("Connection: close\r\n"));
  request.method = "HEAD";
  EXPECT_THAT(exchange.respond(request, kOk, true),
              AllOf(HasSubstr("Content-Length: 3\r\n"), EndsWith("\r\n\r\n")));
}

TEST(Exchange, TellsWhoAsksAndWhatTheyHave) {
  Exchange exchange;
  const std::string head = "GET / HTTP/1.1\r\nAuthorization: ";
  // "ada:secret", "ada", what is not base64, and another scheme
  exchange.feed(head + "Basic YWRhOnNlY3JldA==\r\nIf-None-Match: \"x\"\r\n\r\n");
  const auto request = *exchange.next();
  EXPECT_EQ(request->user, "ada");
  EXPECT_EQ(request->password, "secret");
  EXPECT_EQ(request->if_none_match, "\"x\"");
  for (const auto* other : {"Basic YWRh", "Basic ????", "Basic ", "Bearer YWRhOnNlY3JldA=="}) {
    exchange.feed(head + other + "\r\n\r\n");
    EXPECT_EQ((*exchange.next())->user, "") << other;
  }
}

TEST(Exchange, KnowsAPageOfAnotherOrigin) {
  Exchange exchange;
  const std::string head = "POST / HTTP/1.1\r\nHost: localhost:8080\r\n";
  for (const auto& [origin, foreign] :
       {std::pair{"", false}, std::pair{"Origin: http://localhost:8080\r\n", false},
        std::pair{"Origin: https://evil.example\r\n", true},
        std::pair{"Origin: http://localhost\r\n", true}, std::pair{"Origin: null\r\n", true}}) {
    exchange.feed(head + origin + "\r\n");
    EXPECT_EQ((*exchange.next())->foreign_page, foreign) << origin;
  }
}

TEST(Exchange, TellsWhatIsUnchangedWithoutABody) {
  Exchange exchange;
  Answer answer{304, "application/wasm", "", "", "\"x\""};
  EXPECT_THAT(exchange.respond(Request{"GET", "/"}, answer, true),
              AllOf(StartsWith("HTTP/1.1 304 Not Modified\r\n"), HasSubstr("ETag: \"x\"\r\n"),
                    Not(HasSubstr("Content-Length")), EndsWith("\r\n\r\n")));
}

TEST(Exchange, RefusesWhatIsNotHttp) {
  for (std::string bytes : {"\x16\x03\x01\x02", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"}) {
    Exchange exchange;
    exchange.feed(bytes + "\r\n\r\n");
    auto request = exchange.next();
    ASSERT_FALSE(request) << bytes;
    EXPECT_THAT(exchange.refuse(request.error()),
                AllOf(StartsWith("HTTP/1.1 400 Bad Request"), HasSubstr("Connection: close")));
  }
}

TEST(Exchange, RefusesWhatIsTooLarge) {
  Exchange header;
  header.feed("GET / HTTP/1.1\r\nX: " + std::string(20'000, 'a'));
  auto request = header.next();
  ASSERT_FALSE(request);
  EXPECT_THAT(header.refuse(request.error()), StartsWith("HTTP/1.1 413 "));
  Exchange body;
  body.feed("POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n");
  EXPECT_FALSE(body.next());
}

TEST(Exchange, SurvivesAnyChangedByte) {
  std::string bytes = "POST /x HTTP/1.1\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc" + kGet;
  for (size_t at = 0; at < bytes.size(); at++) {
    for (int with : {0, 10, 13, 32, 255}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(with);
      Exchange exchange;
      exchange.feed(changed);
      for (int i = 0; i < 5; i++) {
        auto request = exchange.next();
        if (!request || !*request) break;
      }
    }
  }
}

TEST(Exchange, KnowsAWebSocketAndAnEventSourceThatComesAgain) {
  const std::string upgrade =
      "GET /x HTTP/1.1\r\nHost: y\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
  const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  Exchange exchange;
  exchange.feed(upgrade + key + "Sec-WebSocket-Version: 13\r\n\r\nrest");
  EXPECT_EQ((*exchange.next())->websocket_key, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(exchange.take_rest(), "rest");
  exchange.feed(upgrade + key + "Sec-WebSocket-Version: 8\r\n\r\n");
  EXPECT_FALSE((*exchange.next())->websocket_key);
  exchange.feed(upgrade + "Sec-WebSocket-Version: 13\r\nLast-Event-ID: 7\r\n\r\n");
  const auto request = exchange.next();
  EXPECT_FALSE((*request)->websocket_key);
  EXPECT_EQ((*request)->last_event_id, "7");
}

/// What a client sends: masked.
std::string masked(uint8_t first, std::string_view payload) {
  std::string bytes{static_cast<char>(first)};
  if (payload.size() < 126) {
    bytes += static_cast<char>(0x80 | payload.size());
  } else {
    bytes += {static_cast<char>(0xfe), static_cast<char>(payload.size() >> 8),
              static_cast<char>(payload.size() & 0xff)};
  }
  bytes += "\x11\x22\x33\x44";
  for (size_t i = 0; i < payload.size(); ++i)
    bytes += static_cast<char>(payload[i] ^ "\x11\x22\x33\x44"[i % 4]);
  return bytes;
}

TEST(WebSocket, AcceptsAsTheRfcSays) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocket, ReadsFramesInAnyPieces) {
  const std::string bytes = masked(0x81, "Hello") + masked(0x82, std::string(1000, 'x'));
  WebSocketReader reader;
  std::vector<std::string> frames;
  for (const char byte : bytes) {
    reader.feed(std::string_view(&byte, 1));
    auto frame = reader.next();
    ASSERT_TRUE(frame);
    if (*frame) frames.push_back((*frame)->payload);
  }
  EXPECT_EQ(frames, (std::vector<std::string>{"Hello", std::string(1000, 'x')}));
}

TEST(WebSocket, RefusesWhatIsNoFrameOrTooLarge) {
  for (std::string bytes :
       {std::string("\x81\x05Hello"), masked(0xC1, "x"), masked(0x89, std::string(200, 'x')),
        std::string("\x81\xff\0\0\0\x01\0\0\0\0\x11\x22\x33\x44", 14)}) {
    WebSocketReader reader;
    reader.feed(bytes);
    EXPECT_FALSE(reader.next());
  }
}

TEST(WebSocket, WritesEachLengthInItsShortestForm) {
  const auto head = [](size_t size) {
    const auto bytes = websocket_frame(WebSocketFrame::kText, std::string(size, 'x'));
    return bytes.substr(0, bytes.size() - size);
  };
  EXPECT_EQ(head(125), "\x81\x7d");
  EXPECT_EQ(head(126), std::string("\x81\x7e\0\x7e", 4));
  EXPECT_EQ(head(65535), "\x81\x7e\xff\xff");
  EXPECT_EQ(head(65536), std::string("\x81\x7f\0\0\0\0\0\x01\0\0", 10));
  // A reason is cut between characters.
  EXPECT_EQ(websocket_close(1011, std::string(122, 'x') + "ä").size(), 2u + 2 + 122);
}

TEST(FeedRequest, IsReadFromTheTarget) {
  Request request{"GET", "/v1/subscribe?view=by%20shop&snapshot=true&token=a%2Eb", true, 11};
  auto feed = read_feed_request(request);
  ASSERT_TRUE(feed);
  EXPECT_EQ(feed->view, "by shop");
  EXPECT_TRUE(feed->options.snapshot && feed->options.reset);
  EXPECT_EQ(feed->options.token, "a.b");
  request.last_event_id = "c";
  EXPECT_EQ(read_feed_request(request)->options.token, "c");
  for (const char* target :
       {"/", "/?view=", "/?view=%4", "/?view=%zz", "/?view=v&snapshot=1", "/?view=v&what=1"}) {
    request.target = target;
    EXPECT_FALSE(read_feed_request(request)) << target;
  }
}

}  // namespace
}  // namespace millrace::http::detail
