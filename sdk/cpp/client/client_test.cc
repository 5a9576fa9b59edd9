#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "client_test_util.h"
#include "detail/fetch.h"
#include "detail/guests.h"
#include "wasm/record_views.h"

namespace millrace::client::detail {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// The same, but mark makes '*'.
std::string other_steps() {
  auto text = steps();
  const std::string mark = "(i32.const 35)";
  return text.replace(text.find(mark), mark.size(), "(i32.const 42)");
}

const std::string kUnchanged = "HTTP/1.1 304 Not Modified\r\n\r\n";
const std::string kGone = "HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nno function\n";

Error error_of(const auto& result) { return result ? Error{} : result.error(); }

TEST(Fetch, AsksForTheModuleByNameAndHash) {
  FakeNode node(FakeNode::ok("bytes"));
  const auto got = fetch_module(node.address(), "a b/c", "", "");
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->bytes, "bytes");
  EXPECT_THAT(node.asked(), testing::StartsWith("GET /v1/functions/a%20b%2Fc/module HTTP/1.1\r\n"));
  node.set(kUnchanged);
  const auto same = fetch_module(node.address(), "f", "h", "k");
  ASSERT_TRUE(same) << same.error().text;
  EXPECT_TRUE(same->unchanged);
  EXPECT_THAT(node.asked(), AllOf(HasSubstr("GET /v1/functions/f/module?hash=h "),
                                  HasSubstr("If-None-Match: \"k\"\r\n")));
}

TEST(Fetch, TellsWhatIsWrong) {
  FakeNode node(kGone);
  const auto gone = error_of(fetch_module(node.address(), "f", "", ""));
  EXPECT_EQ(gone.code, ErrorCode::kUndefinedFunction);
  EXPECT_THAT(gone.text, AllOf(HasSubstr("\"f\" (404): no function"), HasSubstr(node.address())));
  for (const std::string answer :
       {"", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "\x16\x03nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n"}) {
    node.set(answer);
    const auto wrong = error_of(fetch_module(node.address(), "f", "", "", {}, 200ms));
    EXPECT_EQ(wrong.code, ErrorCode::kConnectionClosed) << answer << wrong.text;
  }
  EXPECT_EQ(error_of(fetch_module("127.0.0.1:1", "f", "", "")).code, ErrorCode::kConnectionClosed);
  for (const auto* address : {"", "localhost", ":80", "http://localhost:8080", "a:"}) {
    const auto wrong = error_of(fetch_module(address, "f", "", ""));
    EXPECT_EQ(wrong.code, ErrorCode::kInvalidArgument) << address;
  }
}

TEST(Fetch, EndsWhenItIsTold) {
  FakeNode node(std::nullopt);  // takes connections, and says nothing
  EXPECT_THAT(error_of(fetch_module(node.address(), "f", "", "", {}, 50ms)).text,
              HasSubstr("not in time"));
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(20ms);
    source.request_stop();
  });
  EXPECT_FALSE(fetch_module(node.address(), "f", "", "", source.get_token(), 60s));
}

class ClientGuests : public testing::Test {
 protected:
  Options options(std::vector<Transform> transforms) {
    return {.node = node.address(), .transforms = std::move(transforms), .look_again = 5ms};
  }
  std::unique_ptr<Guests> guests(std::vector<Transform> transforms) {
    auto opened = Guests::open(options(std::move(transforms)));
    EXPECT_TRUE(opened) << opened.error().text;
    return std::move(*opened);
  }
  Error refusal(Transform transform) {
    return error_of(Guests::open(options({std::move(transform)})));
  }
  /// "value" of each record that stays, then "input! why" of each letter; or the error.
  static std::vector<std::string> shape(Guests& through, const std::vector<std::string>& values) {
    std::vector<Record> records;
    for (const auto& value : values) records.push_back({.topic = "t", .value = value});
    const wasm::RecordViews views(records, &Header::name, false);
    const auto shaped = through.shape(views.all());
    if (!shaped) return {shaped.error().text};
    std::vector<std::string> out;
    for (const auto& each : shaped->records) out.emplace_back(*each.value);
    for (const auto& each : shaped->letters) {
      out.push_back(std::to_string(each.input) + "! " + each.why);
    }
    return out;
  }
  FakeNode node{FakeNode::ok(bytes_of(steps()))};
};

TEST_F(ClientGuests, FilterAndChangeRecordsInOrder) {
  const auto through = guests(
      {{.function = "steps", .export_name = "keep"}, {.function = "steps", .export_name = "mark"}});
  EXPECT_THAT(shape(*through, {"a1", "d2", "b3"}), ElementsAre("#1", "#3"));
  EXPECT_THAT(shape(*through, {}), ElementsAre());
  EXPECT_EQ(through->counts().records_in, 3u);
  EXPECT_EQ(through->counts().records_out, 2u);
}

TEST_F(ClientGuests, GiveWithoutTransformsWhatTheyGet) {
  EXPECT_THAT(shape(*guests({}), {"a", "d"}), ElementsAre("a", "d"));
}

TEST_F(ClientGuests, GiveARecordsKeyHeadersAndTimeThroughAFilterAsTheyWere) {
  const auto through = guests({{.function = "steps", .export_name = "keep"}});
  const std::vector<Record> records = {
      {.topic = "t", .value = "d"},
      {.topic = "t", .timestamp = 7, .key = "", .value = "a", .headers = {{"h", {}}, {"h", "v"}}}};
  const wasm::RecordViews views(records, &Header::name, false);
  const auto shaped = through->shape(views.all());
  ASSERT_TRUE(shaped && shaped->records.size() == 1);
  const auto& record = shaped->records[0];
  EXPECT_EQ(record.input, 1u);
  EXPECT_EQ(record.timestamp, 7);
  EXPECT_EQ(record.key, "");
  ASSERT_EQ(record.headers.size(), 2u);
  EXPECT_FALSE(record.headers[0].value);
  EXPECT_EQ(record.headers[1].value, "v");
}

TEST_F(ClientGuests, DoWithARefusedRecordWhatItsStepSays) {
  const auto with = [&](OnError on_error) {
    const auto through =
        guests({{.function = "steps", .export_name = "keep"},
                {.function = "steps", .export_name = "strict", .on_error = on_error}});
    return shape(*through, {"d", "bad", "c"});
  };
  EXPECT_THAT(with(OnError::kReject),
              ElementsAre("record 1 of the batch failed in steps.strict: bad record"));
  EXPECT_THAT(with(OnError::kSkip), ElementsAre("c"));
  EXPECT_THAT(with(OnError::kDeadLetter), ElementsAre("c", "1! steps.strict: bad record"));
}

TEST_F(ClientGuests, DoWithATrapWhatTheStrictestStepSays) {
  const auto with = [&](OnError first, OnError second) {
    const auto through = guests({{.function = "steps", .export_name = "keep", .on_error = first},
                                 {.function = "steps", .export_name = "trap", .on_error = second}});
    auto gave = shape(*through, {"a", "t"});
    EXPECT_EQ(through->counts().failed, 2u);
    EXPECT_THAT(shape(*through, {"a"}), ElementsAre("a"));  // the next batch
    return gave;
  };
  EXPECT_THAT(with(OnError::kSkip, OnError::kSkip), ElementsAre());
  EXPECT_THAT(with(OnError::kSkip, OnError::kDeadLetter),
              ElementsAre(AllOf(testing::StartsWith("0! "), HasSubstr("trap")),
                          testing::StartsWith("1! ")));
  EXPECT_THAT(with(OnError::kReject, OnError::kSkip), ElementsAre(HasSubstr("trap")));
}

TEST_F(ClientGuests, AreNotPausedByFailures) {
  const auto through = guests({{.function = "steps", .export_name = "trap"}});
  for (size_t i = 0; i < wasm::Module::kFailuresMax; ++i) shape(*through, {"t"});
  EXPECT_THAT(shape(*through, {"a"}), ElementsAre("a"));
}

TEST_F(ClientGuests, FollowAFunctionToItsNextModuleUnlessPinned) {
  const auto through = guests({{.function = "steps", .export_name = "mark"}});
  const auto hash = through->modules().now()->modules[0]->hash();
  const auto pinned = guests({{.function = "steps", .export_name = "mark", .hash = hash}});
  const auto eventually = [](const auto& holds) {
    while (!holds()) std::this_thread::sleep_for(1ms);
  };
  // The node is away, has lost the function, has a module without the export: what runs goes on.
  for (const auto& [answer, why] : {std::pair<std::string, std::string>{"", "no node answers"},
                                    {kGone, "no function"},
                                    {FakeNode::ok(bytes_of(R"((module (memory (export "memory") 1)
           (func (export "millrace_abi_1"))
           (func (export "millrace_alloc") (param i32) (result i32) (i32.const 1024))
           (func (export "millrace__filter__f") (param i32) (result i32) (i32.const 0))))")),
                                     "no export"},
                                    {FakeNode::ok("nonsense"), "refused"}}) {
    node.set(answer);
    eventually([&] {
      const auto following = through->modules().following();
      return !following && following.error().text.contains(why);
    });
    EXPECT_THAT(shape(*through, {"a"}), ElementsAre("#"));
  }
  node.set(FakeNode::ok(bytes_of(other_steps())));
  eventually([&] { return shape(*through, {"a"}) == std::vector<std::string>{"*"}; });
  eventually([&] { return through->modules().following().has_value(); });
  node.set(kUnchanged);
  eventually([&] {
    return node.asked().contains(through->modules().now()->modules[0]->hash());  // what it has
  });
  EXPECT_THAT(shape(*through, {"a"}), ElementsAre("*"));
  EXPECT_THAT(shape(*pinned, {"a"}), ElementsAre("#"));
}

TEST_F(ClientGuests, RefuseWhatCannotStandInAClient) {
  const auto none = refusal({.function = "steps", .export_name = "none"});
  EXPECT_EQ(none.code, ErrorCode::kUndefinedFunction);
  EXPECT_THAT(none.hint, HasSubstr("keep"));
  EXPECT_THAT(refusal({.function = "steps"}).text, HasSubstr("several exports"));
  EXPECT_THAT(refusal({.function = "steps", .export_name = "keep", .params = {{"a", "1"}}}).text,
              HasSubstr("keep"));
  EXPECT_THAT(
      refusal({.function = "steps", .export_name = "keep", .hash = std::string(64, '0')}).text,
      HasSubstr("not 0000"));
  node.set(FakeNode::ok("nonsense"));
  EXPECT_EQ(refusal({.function = "steps"}).code, ErrorCode::kInvalidArgument);
  node.set(kGone);
  EXPECT_EQ(refusal({.function = "steps"}).code, ErrorCode::kUndefinedFunction);
}

}  // namespace
}  // namespace millrace::client::detail
