#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guard/scram_test_util.h"
#include "pgwire/detail/machine.h"
#include "pgwire/detail/test_client.h"

namespace millrace::pgwire::detail {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// A machine that asks "me" for a password.
class Login : public testing::Test {
 protected:
  /// What it does next, once it has what there is.
  Step feed(std::string_view bytes) {
    machine.feed(bytes);
    Step step = machine.next();
    output = machine.take_output();
    return step;
  }
  /// The body of the Authentication message, the code before it taken off.
  std::string asked(int32_t code) {
    EXPECT_EQ(output.substr(0, 1), "R");
    Reader reader(std::string_view(output).substr(5));
    EXPECT_EQ(reader.integer<int32_t>(), code);
    return std::string(reader.rest());
  }
  static std::string first(std::string_view token, std::string_view mechanism = "SCRAM-SHA-256") {
    std::string body = say::text(mechanism);
    put<int32_t>(body, static_cast<int32_t>(token.size()));
    return say::message('p', body + std::string(token));
  }
  bool refused(const Step& step, std::string_view sqlstate) {
    return std::holds_alternative<Close>(step) &&
           told(output).find(fmt::format("E({})", sqlstate)) != std::string::npos;
  }

  guard::Verifier verifier = guard::make_verifier(guard::Digest::kSha256, "secret", "salt");
  std::string output;
  Machine machine{{.process = 1,
                   .secret = 2,
                   .server_version = "15.0",
                   .verifier_of = [this](const std::string& user) {
                     return user == "me" ? std::optional(verifier) : std::nullopt;
                   }}};
};

TEST_F(Login, AsksAUserForThePassword) {
  EXPECT_TRUE(std::holds_alternative<Read>(feed(say::startup())));
  EXPECT_EQ(asked(10), std::string("SCRAM-SHA-256\0\0", 15));
  guard::ScramClient client(guard::Digest::kSha256, "", "secret");  // as libpq: without the name
  EXPECT_TRUE(std::holds_alternative<Read>(feed(first(client.first()))));
  const Step step = feed(say::message('p', client.last(asked(11))));
  EXPECT_EQ(asked(12), client.expected());
  ASSERT_TRUE(std::holds_alternative<Connect>(step));
  EXPECT_EQ(std::get<Connect>(step).user, "me");
  machine.connected({});
  EXPECT_TRUE(std::holds_alternative<Read>(feed({})));
  EXPECT_THAT(told(output), EndsWith("Z(I)"));
}

TEST_F(Login, AsksNobodyElse) {
  std::string startup = say::startup();
  startup.replace(startup.find("me"), 2, "ab");
  EXPECT_TRUE(std::holds_alternative<Connect>(feed(startup)));
  EXPECT_EQ(output, "");
}

TEST_F(Login, RefusesAWrongPassword) {
  feed(say::startup());
  guard::ScramClient client(guard::Digest::kSha256, "", "wrong");
  feed(first(client.first()));
  EXPECT_TRUE(refused(feed(say::message('p', client.last(asked(11)))), "28P01"));
  EXPECT_THAT(output, HasSubstr("password authentication failed for user \"me\""));
}

TEST_F(Login, RunsNothingBeforeThePasswordIsShown) {
  feed(say::startup());
  EXPECT_TRUE(refused(feed(say::query("SELECT 1")), "08P01"));
}

TEST_F(Login, RefusesWhatIsNotOfTheProtocol) {
  feed(say::startup());
  EXPECT_TRUE(refused(feed(first("n,,n=,r=a", "SCRAM-SHA-1")), "08P01"));
}

TEST_F(Login, RefusesAMessageThatIsCut) {
  feed(say::startup());
  EXPECT_TRUE(refused(feed(say::message('p', say::text("SCRAM-SHA-256") + "\0\0\1")), "08P01"));
}

TEST_F(Login, RefusesAMessageThatIsNotOfScram) {
  feed(say::startup());
  EXPECT_TRUE(refused(feed(first("hello")), "08P01"));
}

}  // namespace
}  // namespace millrace::pgwire::detail
