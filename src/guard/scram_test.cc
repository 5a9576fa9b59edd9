#include "guard/scram.h"

#include <gmock/gmock.h>

#include "guard/detail/crypto.h"
#include "guard/scram_test_util.h"

namespace millrace::guard {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

ScramLogin::Lookup only(std::string user, Verifier verifier) {
  return [user = std::move(user), verifier = std::move(verifier)](std::string_view name) {
    return name == user ? std::optional(verifier) : std::nullopt;
  };
}

constexpr const char* kRfcNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
Verifier of_rfc() {
  return make_verifier(Digest::kSha256, "pencil", *detail::from_base64("W22ZaJ0SNY7soEsUEjb6gQ=="));
}

TEST(Scram, SpeaksAsTheExampleOfRfc7677) {
  ScramLogin login(Digest::kSha256, only("user", of_rfc()), kRfcNonce);
  const auto first = login.step("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_EQ(
      *first,
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  EXPECT_FALSE(login.done());
  const auto last = login.step(
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  ASSERT_TRUE(last) << last.error().text;
  EXPECT_EQ(*last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  EXPECT_TRUE(login.done());
  EXPECT_EQ(login.user(), "user");
  EXPECT_FALSE(login.step("n,,n=user,r=again"));
}

TEST(Scram, LogsInByBothDigestsWithNamesThatHoldItsOwnLetters) {
  for (const auto digest : {Digest::kSha256, Digest::kSha512}) {
    const auto verifier = make_verifier(digest, "p,=", random_bytes(16));
    ScramLogin login(digest, only("a,b=c", verifier));
    ScramClient client(digest, "a=2Cb=3Dc", "p,=");
    const auto first = login.step(client.first());
    ASSERT_TRUE(first) << first.error().text;
    const auto last = login.step(client.last(*first));
    ASSERT_TRUE(last) << last.error().text;
    EXPECT_EQ(*last, client.expected());
    EXPECT_TRUE(login.done());
    EXPECT_EQ(login.user(), "a,b=c");
  }
}

TEST(Scram, TellsAWrongPasswordAndAnUnknownNameAlike) {
  std::string told[2], begun[2];
  for (const int unknown : {0, 1}) {
    ScramLogin login(Digest::kSha256, only("user", of_rfc()));
    ScramClient client(Digest::kSha256, unknown ? "nobody" : "user", "wrong");
    const auto first = login.step(client.first());
    ASSERT_TRUE(first) << first.error().text;
    begun[unknown] = first->substr(first->find(",s="));
    const auto last = login.step(client.last(*first));
    ASSERT_FALSE(last);
    EXPECT_EQ(last.error().code, ErrorCode::kNotAllowed);
    EXPECT_FALSE(login.done());
    told[unknown] = last.error().text;
  }
  EXPECT_EQ(told[0], told[1]);
  EXPECT_EQ(begun[0].size(), begun[1].size());
  EXPECT_THAT(begun[1], StartsWith(",s="));
  // The salt of a name that nobody has stays what it was.
  ScramLogin again(Digest::kSha256, only("user", of_rfc()));
  EXPECT_THAT(*again.step("n,,n=nobody,r=x"), HasSubstr(begun[1]));
}

TEST(Scram, RefusesMessagesThatAreBent) {
  for (const std::string message :
       {"", "n", "n,", "n,,", "x,,n=user,r=a", "p=tls-unique,,n=user,r=a", "n,,r=a", "n,,n=user",
        "n,,n=user,r=", "n,,n=us=er,r=a", "n,,m=x,n=user,r=a", "n,a=other,n=user,r=a",
        "n,,n=user,r=a b"}) {
    ScramLogin login(Digest::kSha256, only("user", of_rfc()));
    const auto answer = login.step(message);
    ASSERT_FALSE(answer) << message;
    EXPECT_EQ(answer.error().code, ErrorCode::kProtocol) << message;
    EXPECT_FALSE(login.step("n,,n=user,r=a")) << "it goes on after an error";
  }
  ScramLogin login(Digest::kSha256, only("user", of_rfc()));
  EXPECT_FALSE(login.step("n,,n=user,r=" + std::string(ScramLogin::kNonceBytesMax + 1, 'a')));
  const auto bent = [](auto bend) {
    ScramLogin login(Digest::kSha256, only("user", of_rfc()));
    ScramClient client(Digest::kSha256, "user", "pencil");
    return login.step(bend(client.last(*login.step(client.first())))).has_value();
  };
  EXPECT_TRUE(bent([](std::string message) { return message; }));
  EXPECT_FALSE(bent([](std::string message) { return "c=eSws" + message.substr(6); }));
  EXPECT_FALSE(bent([](std::string message) { return message.replace(11, 1, "z"); }));
  EXPECT_FALSE(bent([](std::string message) { return message.substr(0, message.find(",p=")); }));
  EXPECT_FALSE(bent([](std::string message) { return message + "AAAA"; }));
  EXPECT_FALSE(bent([](std::string message) { return message.substr(0, message.size() - 4); }));
}

TEST(Verifier, StandsAsText) {
  const auto verifier = of_rfc();
  EXPECT_EQ(verifier_from(to_text(verifier)), verifier);
  EXPECT_THAT(to_text(verifier), StartsWith("4096:W22ZaJ0SNY7soEsUEjb6gQ==:"));
  for (const char* text : {"", "4096", "4096:!:!:!", "0:YQ==:YQ==:YQ==", "4096:YQ==:YQ==:YQ==:x"}) {
    EXPECT_FALSE(verifier_from(text)) << text;
  }
}

TEST(Base64, TakesNothingElse) {
  for (const std::string bytes : {"", "a", "ab", "abc", "abcd"}) {
    EXPECT_EQ(detail::from_base64(detail::base64(bytes)), bytes);
  }
  for (const char* text : {"YQ", "YQ=", "YQ==YQ==", " YQ=", "Y===", "====", "YQ=a", "YQ-="}) {
    EXPECT_FALSE(detail::from_base64(text)) << text;
  }
}

}  // namespace
}  // namespace millrace::guard
