#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/detail/exchange.h"

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
  EXPECT_EQ((*exchange.next())->method, "POST");
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
  body.feed("POST / HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n");
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

}  // namespace
}  // namespace millrace::http::detail
