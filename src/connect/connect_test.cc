#include <gmock/gmock.h>

#include <thread>

#include "broker/broker_test_util.h"
#include "broker/journal.h"
#include "catalog/connector.h"
#include "connect/connectors.h"
#include "connect/detail/body.h"
#include "connect/detail/http_client.h"
#include "connect/detail/options.h"
#include "connect/detail/sink_run.h"
#include "connect/detail/source_run.h"

namespace millrace::connect {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A system of numbered records; its position is the next number.
class Numbers : public Source {
 public:
  Numbers(Progress& progress, int64_t total, int64_t fails_at)
      : progress_(progress), total_(total), fails_at_(fails_at) {}

  Result<Position> open(const Position& position) override {
    const auto at = position.find("n");
    next_ = at == position.end() ? 0 : std::stoll(at->second);
    return position.empty() ? Position{{"n", "0"}} : Position();
  }
  Result<> read(SourceBatch& out, std::chrono::milliseconds) override {
    texts_.clear();
    if (next_ >= total_) progress_.stop();
    for (int i = 0; i < 7 && next_ < total_; ++i, ++next_) {
      if (next_ == fails_at_) return Error{ErrorCode::kIo, "the system is away"};
      wasm::RecordView record;
      record.timestamp = 1'700'000'000'000 + next_;
      record.value = texts_.emplace_back(std::to_string(next_));
      out.records.add(record, static_cast<int32_t>(next_ % 3));
    }
    out.moved = {{"n", std::to_string(next_)}};
    return {};
  }

 private:
  Progress& progress_;
  const int64_t total_, fails_at_;
  int64_t next_ = 0;
  std::deque<std::string> texts_;
};

/// A system that says no at one value, once.
class Shelf : public Sink {
 public:
  Shelf(std::vector<std::string>& shelf, std::string refuses, Progress& progress, size_t enough)
      : shelf_(shelf), refuses_(std::move(refuses)), progress_(progress), enough_(enough) {}
  Result<std::optional<SinkPosition>> open() override { return std::optional<SinkPosition>(); }
  Result<> write(const Records& records, const SinkPosition&) override {
    for (const auto& record : records.records) {
      if (record.value == refuses_) return Error{ErrorCode::kIo, "no"};
    }
    for (const auto& record : records.records) shelf_.emplace_back(record.value.value_or("null"));
    if (shelf_.size() >= enough_) progress_.stop();
    return {};
  }

 private:
  std::vector<std::string>& shelf_;
  const std::string refuses_;
  Progress& progress_;
  const size_t enough_;
};

class ConnectTest : public broker::CoordinatorTest {
 protected:
  ConnectTest() {
    start();
    EXPECT_TRUE(create(topic("t", 2)));
    object_.kind = catalog::Kind::kSource;
    object_.name = "c";
    object_.id = Uuid::random();
    object_.options = {{catalog::kConnectorOption, "http"}, {catalog::kTopicOption, "t"}};
  }
  ~ConnectTest() override {
    env_.files().heal();
    stop();
  }
  Connectors::Rooms rooms() { return {runtime_, env_, *broker_, *groups_, *transactions_}; }
  Result<> run_source(int64_t total, int64_t fails_at) {
    const auto rooms_now = rooms();
    Progress progress;
    return SourceRun(rooms_now, object_, progress,
                     std::make_unique<Numbers>(progress, total, fails_at))
        .run();
  }
  /// What a reader of committed records sees, of all partitions, in the order of numbers.
  std::vector<std::string> committed() {
    std::vector<std::string> out;
    for (const auto& partition : broker_->find("t")->partitions) {
      auto read = shard().block_on(
          partition->read(partition->start_offset(), 1 << 20, log::Isolation::kCommitted));
      EXPECT_TRUE(read) << read.error().text;
      if (!read) continue;
      log::leave_out_aborted(*read);
      EXPECT_TRUE(log::for_each_record(read->batches, false, [&](const log::RecordView& record) {
        out.emplace_back(record.value.value_or("null"));
      }));
    }
    std::ranges::sort(out, {}, [](const auto& text) { return std::stoll(text); });
    return out;
  }
  static std::vector<std::string> numbers(int64_t from, int64_t until) {
    std::vector<std::string> out;
    for (; from < until; ++from) out.push_back(std::to_string(from));
    return out;
  }

  catalog::Object object_;
};

TEST_F(ConnectTest, ASourceGoesOnWhereItsRecordsEnd) {
  const auto failed = run_source(100, 40);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().text, "the system is away");
  EXPECT_EQ(committed(), numbers(0, 35));  // whole batches
  ASSERT_TRUE(run_source(100, -1));
  EXPECT_EQ(committed(), numbers(0, 100));
}

TEST_F(ConnectTest, ASourceLosesAndDoublesNothingWhenTheMachineForgets) {
  for (const size_t operations : {3u, 10u, 25u, 60u}) {
    env_.files().fail_after(operations, ErrorCode::kIo, std::numeric_limits<size_t>::max() / 2);
    static_cast<void>(run_source(200, -1));
    crash();
    const auto kept = committed();
    EXPECT_EQ(kept, numbers(0, static_cast<int64_t>(kept.size()))) << operations;
  }
  ASSERT_TRUE(run_source(200, -1));
  EXPECT_EQ(committed(), numbers(0, 200));
}

TEST_F(ConnectTest, ASourceThatIsForgottenBeginsAnew) {
  ASSERT_TRUE(run_source(10, -1));
  ASSERT_TRUE(SourceRun::forget(rooms(), object_));
  ASSERT_TRUE(run_source(10, -1));
  EXPECT_EQ(committed().size(), 20u);
  EXPECT_TRUE(broker::is_internal_topic(broker::kSourcePositionsTopic));
}

TEST_F(ConnectTest, ASinkGoesOnWhereItWasAcknowledged) {
  ASSERT_TRUE(run_source(100, -1));
  object_.kind = catalog::Kind::kSink;
  std::vector<std::string> shelf;
  const auto rooms_now = rooms();
  const auto run = [&](std::string refuses, size_t enough) {
    auto progress = std::make_shared<Progress>();
    auto sink = std::make_unique<Shelf>(shelf, std::move(refuses), *progress, enough);
    return SinkRun(rooms_now, object_, progress, std::move(sink), false).run();
  };
  const auto failed = run("50", 100);
  ASSERT_FALSE(failed);
  EXPECT_THAT(shelf, IsEmpty());
  ASSERT_TRUE(run("none", 100));
  std::ranges::sort(shelf, {}, [](const auto& text) { return std::stoll(text); });
  EXPECT_EQ(shelf, numbers(0, 100));
  // Only what is new comes now.
  shelf.clear();
  auto& partition = *broker_->find("t")->partitions[0];
  ASSERT_TRUE(append(partition, batch({"1000"})));
  ASSERT_TRUE(run("none", 1));
  EXPECT_THAT(shelf, ElementsAre("1000"));
}

TEST_F(ConnectTest, AConnectorWaitsLongerAndLongerAndSaysWhy) {
  const auto connectors = Connectors::make(rooms());
  object_.options["with.url"] = "http://127.0.0.1:1/";  // nobody listens there
  object_.options["with.backoff"] = "10 ms";
  object_.options["with.backoff_max"] = "40 ms";
  ASSERT_TRUE(connectors->start(object_));
  std::vector<ConnectorStatus> status;
  for (int i = 0; i < 3000; ++i) {
    status = connectors->status();
    if (status.at(0).restarts >= 3) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_GE(status.at(0).restarts, 3u);
  EXPECT_THAT(status.at(0).error.value_or(""), HasSubstr("127.0.0.1:1"));
  EXPECT_FALSE(connectors->feed("c", "{}"));  // it reads by itself
  ASSERT_TRUE(connectors->remove(object_));
  EXPECT_THAT(connectors->status(), IsEmpty());
}

TEST_F(ConnectTest, OneThatCannotBeStartedIsListedWithItsReason) {
  const auto connectors = Connectors::make(rooms());
  object_.options["with.colour"] = "red";  // as another version of the node would have taken it
  EXPECT_FALSE(connectors->check(object_));
  ASSERT_TRUE(connectors->start(object_));
  auto status = connectors->status();
  ASSERT_EQ(status.size(), 1u);
  EXPECT_EQ(status[0].state, "failed");
  EXPECT_EQ(status[0].topic, "t");
  EXPECT_THAT(status[0].error.value_or(""), HasSubstr("no option colour"));
  EXPECT_GE(status[0].error_at, 0);
  EXPECT_THAT(connectors->feed("c", "{}").error().text, HasSubstr("no option colour"));
  EXPECT_THAT(env_.metrics().render(), HasSubstr("state=\"failed\"} 1\n"));
  object_.options.erase("with.colour");
  ASSERT_TRUE(connectors->start(object_));
  ASSERT_TRUE(connectors->feed("c", "{}"));
  status = connectors->status();
  EXPECT_EQ(status.at(0).state, "running");
  EXPECT_EQ(status.at(0).error, std::nullopt);
  object_.options["with.colour"] = "red";
  ASSERT_TRUE(connectors->start(object_));
  ASSERT_TRUE(connectors->remove(object_));
  EXPECT_THAT(connectors->status(), IsEmpty());
}

TEST_F(ConnectTest, ASourceWithoutUrlIsFed) {
  const auto connectors = Connectors::make(rooms());
  object_.options["with.format"] = "array";
  ASSERT_TRUE(connectors->start(object_));
  const auto fed = connectors->feed("c", R"([1, 2, 3])");
  ASSERT_TRUE(fed) << fed.error().text;
  EXPECT_EQ(*fed, 3u);
  EXPECT_EQ(committed(), numbers(1, 4));
  const auto bad = connectors->feed("c", "[1, 2");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidRecord);
  EXPECT_EQ(connectors->feed("nobody", "[]").error().code, ErrorCode::kUndefinedObject);
  EXPECT_EQ(connectors->status().at(0).records, 3u);
}

TEST_F(ConnectTest, MetricsTellWhatAConnectorHasDone) {
  const auto connectors = Connectors::make(rooms());
  object_.options["with.format"] = "array";
  ASSERT_TRUE(connectors->start(object_));
  ASSERT_TRUE(connectors->feed("c", R"([1, 2, 3])"));
  ASSERT_FALSE(connectors->feed("c", "["));
  const auto told = env_.metrics().render();
  EXPECT_THAT(told,
              HasSubstr("millrace_connect_records_total{connector=\"c\",kind=\"source\"} 3\n"));
  EXPECT_THAT(told, HasSubstr("millrace_connect_bytes_total{connector=\"c\",kind=\"source\"} 9\n"));
  EXPECT_THAT(told,
              HasSubstr("millrace_connect_errors_total{connector=\"c\",kind=\"source\"} 1\n"));
  EXPECT_THAT(told,
              HasSubstr("millrace_connect_restarts_total{connector=\"c\",kind=\"source\"} 0\n"));
  EXPECT_THAT(told, Not(HasSubstr("millrace_connect_lag_records{")));
  // Another definition counts on.
  ASSERT_TRUE(connectors->feed("c", "[4]"));
  object_.options[catalog::kPausedOption] = "true";
  ASSERT_TRUE(connectors->start(object_));
  const auto paused = env_.metrics().render();
  EXPECT_THAT(paused,
              HasSubstr("millrace_connect_records_total{connector=\"c\",kind=\"source\"} 4\n"));
  const std::string state = "millrace_connect_state{connector=\"c\",kind=\"source\",state=";
  EXPECT_THAT(told, HasSubstr(state + "\"paused\"} 0\n"));
  EXPECT_THAT(paused, HasSubstr(state + "\"paused\"} 1\n"));
  EXPECT_THAT(paused, HasSubstr(state + "\"running\"} 0\n"));
  ASSERT_TRUE(connectors->remove(object_));
  EXPECT_THAT(env_.metrics().render(), Not(HasSubstr("connector=\"c\"")));
}

TEST_F(ConnectTest, MetricsTellARunThatFails) {
  const auto connectors = Connectors::make(rooms());
  ASSERT_TRUE(append(*broker_->find("t")->partitions[0], batch({"1", "2", "3"})));
  object_.kind = catalog::Kind::kSink;
  object_.options["with.url"] = "http://127.0.0.1:1/";  // nobody listens there
  object_.options["with.backoff"] = "10 ms";
  ASSERT_TRUE(connectors->start(object_));
  const std::string labels = "{connector=\"c\",kind=\"sink\"";
  for (int i = 0; i < 3000 && connectors->status().at(0).restarts < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto told = env_.metrics().render();
  EXPECT_THAT(told, HasSubstr("millrace_connect_lag_records" + labels + "} 3\n"));
  EXPECT_THAT(told, HasSubstr("millrace_connect_records_total" + labels + "} 0\n"));
  EXPECT_THAT(told, Not(HasSubstr("millrace_connect_errors_total" + labels + "} 0\n")));
  EXPECT_THAT(told, Not(HasSubstr("millrace_connect_restarts_total" + labels + "} 0\n")));
  connectors->stop();
}

TEST(ConnectOptions, WhatNobodyKnowsIsRefusedByName) {
  Options options({{"a", "1"}, {"time", "2 minutes"}, {"b", "x"}, {"librdkafka.x", "y"}});
  EXPECT_EQ(*options.number("a", 0, 0, 10), 1);
  EXPECT_EQ(*options.interval("time", {}, {}), std::chrono::minutes(2));
  EXPECT_EQ(options.with_prefix("librdkafka.").at("x"), "y");
  const auto left = options.finish("this");
  ASSERT_FALSE(left);
  EXPECT_THAT(left.error().text, HasSubstr("no option b"));
  EXPECT_THAT(left.error().hint, HasSubstr("librdkafka.*"));
  Options wrong({{"n", "11"}, {"t", "soon"}, {"w", "z"}});
  EXPECT_FALSE(wrong.number("n", 0, 0, 10));
  EXPECT_FALSE(wrong.interval("t", {}, {}));
  EXPECT_FALSE(wrong.one_of("w", "x", {"x", "y"}));
  EXPECT_FALSE(wrong.needed("m", "x"));
}

TEST(ConnectOptions, BackoffDoublesIsBoundedAndSpread) {
  const Backoff backoff{std::chrono::milliseconds(100), std::chrono::milliseconds(1000)};
  EXPECT_EQ(backoff.wait(1, 0).count(), 50);
  EXPECT_EQ(backoff.wait(3, 0).count(), 200);
  for (uint64_t failures = 5; failures < 100; ++failures) {
    EXPECT_GE(backoff.wait(failures, failures * 7919).count(), 500);
    EXPECT_LE(backoff.wait(failures, failures * 7919).count(), 1000);
  }
}

TEST(HttpUrl, IsTakenApart) {
  const auto url = HttpUrl::parse("https://example.com:8443/a/b?c=d");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "example.com");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(HttpUrl::parse("http://[::1]:80")->host, "::1");
  EXPECT_EQ(HttpUrl::parse("http://x")->port, "80");
  for (const char* bad : {"", "ftp://x", "http://", "http://x:y/", "http://x/a b"}) {
    EXPECT_FALSE(HttpUrl::parse(bad)) << bad;
  }
  // A password in a URL is not told again.
  const auto secret = HttpUrl::parse("http://me:hidden@x/");
  ASSERT_FALSE(secret);
  EXPECT_THAT(secret.error().text, Not(HasSubstr("hidden")));
}

TEST(HttpEndpoint, TakesCertificatesForTlsAlone) {
  Options secure({{"ca_file", "/ca.pem"}});
  EXPECT_EQ(HttpEndpoint::take(secure, "https://x", "GET")->ca_file, "/ca.pem");
  Options plain({{"ca_file", "/ca.pem"}});
  const auto refused = HttpEndpoint::take(plain, "http://x", "GET");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, HasSubstr("https://"));
}

TEST(Body, HoldsRecordsByItsFormat) {
  EXPECT_THAT(*values_of(BodyFormat::kArray, R"( [{"a": [1, "]"]}, "x,y", null, 1.50] )"),
              ElementsAre(R"({"a": [1, "]"]})", R"("x,y")", "null", "1.50"));
  EXPECT_THAT(*values_of(BodyFormat::kArray, "[]"), IsEmpty());
  EXPECT_THAT(*values_of(BodyFormat::kLines, "a\r\n\n {\"b\":1}\nc"),
              ElementsAre("a", "{\"b\":1}", "c"));
  EXPECT_THAT(*values_of(BodyFormat::kJson, " {\"a\":1}\n"), ElementsAre("{\"a\":1}"));
  EXPECT_THAT(*values_of(BodyFormat::kWhole, " a\n"), ElementsAre(" a\n"));
  for (const char* bad : {"", "[1", "{}", "[1,]", "[1] 2", "[a]"}) {
    EXPECT_FALSE(values_of(BodyFormat::kArray, bad)) << bad;
  }
  EXPECT_FALSE(values_of(BodyFormat::kJson, "{"));
  EXPECT_EQ(json_element("{\"a\":1}"), "{\"a\":1}");
  EXPECT_EQ(json_element("plain"), "\"plain\"");
}

}  // namespace
}  // namespace millrace::connect
