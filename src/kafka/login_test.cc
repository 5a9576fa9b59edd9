#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/io/memory_files.h"
#include "guard/scram_test_util.h"
#include "guard/users.h"
#include "kafka/detail/error_codes.h"
#include "kafka/detail/fake_broker.h"
#include "kafka/detail/test_client.h"
#include "kafka/detail/test_coordinators.h"
#include "kafka/server.h"

namespace millrace::kafka {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;

class LoginTest : public testing::Test {
 protected:
  void SetUp() override {
    auto& shard = runtime_.shard(0);
    coordinators_.emplace(runtime_, env_, broker_);
    ASSERT_TRUE(shard.block_on(
        coordinators_->catalog->put(*guard::make_user("ann", "secret", "o", 0), false)));
    auto server = Server::listen(runtime_, env_, broker_, coordinators_->all(), "127.0.0.1:0");
    ASSERT_TRUE(server) << server.error().text;
    server_ = std::move(*server);
  }
  void TearDown() override {
    auto& shard = runtime_.shard(0);
    if (server_) shard.block_on(server_->close(std::chrono::seconds(10)));
    server_.reset();
    coordinators_.reset();
  }
  static SaslHandshakeResponse shake_hands(Client& client, std::string mechanism,
                                           int16_t version = 1) {
    SaslHandshakeRequest request;
    request.mechanism = std::move(mechanism);
    return client.ask<SaslHandshakeResponse>(std::move(request), version);
  }
  static SaslAuthenticateResponse send_token(Client& client, std::string token) {
    SaslAuthenticateRequest request;
    request.auth_bytes = std::move(token);
    return client.ask<SaslAuthenticateResponse>(std::move(request), 2);
  }
  static void send_raw(Client& client, const std::string& token) {
    Writer out;
    out.bytes(token, false);
    client.send_bytes(out.finish(false)->to_string());
  }
  void expect_only_user(const std::string& user) {
    const auto all = runtime_.shard(0).block_on(server_->connections());
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].user, user);
  }

  io::TestEnv env_{4, 0};
  io::Runtime runtime_{1, 1};
  FakeBroker broker_{runtime_};
  std::optional<TestCoordinators> coordinators_;
  std::unique_ptr<Server> server_;
};

TEST_F(LoginTest, MakesAConnectionThatOfItsUserByEachMechanism) {
  {
    Client client(server_->address());
    EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 13).error_code, 0);
    expect_only_user("ANONYMOUS");
    EXPECT_THAT(shake_hands(client, "PLAIN").mechanisms,
                ElementsAre("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"));
    const auto answer = send_token(client, "\0ann\0secret"s);
    EXPECT_EQ(answer.error_code, 0) << answer.error_message.value_or("");
    expect_only_user("ann");
    EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 13).error_code, 0);
    // Once a connection.
    EXPECT_EQ(shake_hands(client, "PLAIN").error_code, wire::kIllegalSaslState);
    EXPECT_EQ(send_token(client, "\0ann\0secret"s).error_code, wire::kIllegalSaslState);
    EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 13).error_code, 0);
  }
  for (const auto digest : {guard::Digest::kSha256, guard::Digest::kSha512}) {
    Client client(server_->address());
    guard::ScramClient scram(digest, "ann", "secret");
    shake_hands(client, digest == guard::Digest::kSha256 ? "SCRAM-SHA-256" : "SCRAM-SHA-512");
    const auto first = send_token(client, scram.first());
    ASSERT_EQ(first.error_code, 0);
    const auto last = send_token(client, scram.last(first.auth_bytes));
    EXPECT_EQ(last.error_code, 0) << last.error_message.value_or("");
    EXPECT_EQ(last.auth_bytes, scram.expected());
    EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 13).error_code, 0);
  }
}

TEST_F(LoginTest, TakesTokensAsTheyAreBehindTheOldHandshake) {
  {
    Client client(server_->address());
    guard::ScramClient scram(guard::Digest::kSha512, "ann", "secret");
    EXPECT_EQ(shake_hands(client, "SCRAM-SHA-512", 0).error_code, 0);
    send_raw(client, scram.first());
    send_raw(client, scram.last(client.receive_frame()));
    EXPECT_EQ(client.receive_frame(), scram.expected());
    EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 13).error_code, 0);
  }
  // The name of a token's first bytes is not a request's.
  for (const auto& token : {"\0ann\0wrong"s, "\0\0\0\0"s, ""s, "\0\1rest"s}) {
    Client client(server_->address());
    EXPECT_EQ(shake_hands(client, "PLAIN", 0).error_code, 0);
    send_raw(client, token);
    EXPECT_EQ(client.receive_frame(), "");
  }
}

TEST_F(LoginTest, EndsAConnectionWhoseLoginFails) {
  std::string told[2];
  for (const int unknown : {0, 1}) {
    Client client(server_->address());
    shake_hands(client, "PLAIN");
    const auto answer = send_token(client, unknown ? "\0bob\0secret"s : "\0ann\0wrong"s);
    EXPECT_EQ(answer.error_code, wire::kSaslAuthenticationFailed);
    told[unknown] = answer.error_message.value_or("");
    EXPECT_EQ(client.receive_frame(), "");
  }
  EXPECT_EQ(told[0], "the user name or the password is wrong");
  EXPECT_EQ(told[1], told[0]);
  {
    Client client(server_->address());
    guard::ScramClient scram(guard::Digest::kSha256, "ann", "wrong");
    shake_hands(client, "SCRAM-SHA-256");
    const auto first = send_token(client, scram.first());
    const auto last = send_token(client, scram.last(first.auth_bytes));
    EXPECT_EQ(last.error_code, wire::kSaslAuthenticationFailed);
    EXPECT_EQ(last.error_message, told[0]);
    EXPECT_EQ(client.receive_frame(), "");
  }
  {
    Client client(server_->address());
    const auto answer = shake_hands(client, "GSSAPI");
    EXPECT_EQ(answer.error_code, wire::kUnsupportedSaslMechanism);
    EXPECT_THAT(answer.mechanisms, ElementsAre("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"));
    EXPECT_EQ(client.receive_frame(), "");
  }
  {
    Client client(server_->address());
    EXPECT_EQ(send_token(client, "\0ann\0secret"s).error_code, wire::kIllegalSaslState);
    EXPECT_EQ(client.receive_frame(), "");
  }
  {
    Client client(server_->address());
    shake_hands(client, "PLAIN");
    client.send(MetadataRequest(), 13);
    EXPECT_EQ(client.receive_frame(), "");
  }
}

TEST_F(LoginTest, RunsNothingThatWasSentBehindAFailedLogin) {
  Client client(server_->address());
  SaslAuthenticateRequest wrong;
  wrong.auth_bytes = "\0ann\0wrong"s;
  shake_hands(client, "PLAIN");
  client.send(wrong, 2);
  client.send(MetadataRequest(), 13);
  EXPECT_EQ(client.receive<SaslAuthenticateResponse>(2).error_code,
            wire::kSaslAuthenticationFailed);
  EXPECT_EQ(client.receive_frame(), "");
}

}  // namespace
}  // namespace millrace::kafka
