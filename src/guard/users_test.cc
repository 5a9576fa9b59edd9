#include "guard/users.h"

#include <gmock/gmock.h>

#include "guard/sasl.h"

namespace millrace::guard {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Users, KeepNoPassword) {
  auto user = make_user("ann", "secret of ann", "boss", 1000);
  ASSERT_TRUE(user) << user.error().text;
  EXPECT_EQ(user->kind, catalog::Kind::kUser);
  EXPECT_EQ(user->owner, "boss");
  EXPECT_EQ(created_ms(*user), 1000);
  for (const auto& [name, value] : user->options) EXPECT_THAT(value, Not(HasSubstr("secret")));
  EXPECT_TRUE(password_fits(&*user, "secret of ann"));
  EXPECT_FALSE(password_fits(&*user, "secret of Ann"));
  EXPECT_FALSE(password_fits(nullptr, "secret of ann"));
  const auto before = verifier_of(*user, Digest::kSha512);
  ASSERT_TRUE(before);
  EXPECT_TRUE(fits(Digest::kSha512, *before, "secret of ann"));
  ASSERT_TRUE(set_password(*user, "another"));
  EXPECT_TRUE(password_fits(&*user, "another"));
  EXPECT_FALSE(password_fits(&*user, "secret of ann"));
  EXPECT_NE(verifier_of(*user, Digest::kSha512)->salt, before->salt);
}

TEST(Users, HaveNamesAndPasswordsThatEveryClientSendsAlike) {
  for (const std::string name : {"", "a b", "ANONYMOUS", "j\xc3\xb6rg"}) {
    const auto user = make_user(name, "p", "o", 0);
    ASSERT_FALSE(user) << name;
    EXPECT_EQ(user.error().code, ErrorCode::kInvalidName);
  }
  EXPECT_FALSE(make_user(std::string(256, 'a'), "p", "o", 0));
  for (const std::string password : {"", "line\n", "\xc3\xa9"}) {
    const auto user = make_user("a", password, "o", 0);
    ASSERT_FALSE(user) << password;
    EXPECT_EQ(user.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(user.error().text, Not(HasSubstr(password.empty() ? "\"\"" : password)));
  }
}

TEST(Plain, IsReadWithBounds) {
  using namespace std::string_literals;
  const auto message = read_plain("\0ann\0secret"s);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->user, "ann");
  EXPECT_EQ(message->password, "secret");
  EXPECT_TRUE(read_plain("ann\0ann\0secret"s));
  for (const auto& bent : {""s, "ann"s, "\0ann"s, "\0\0secret"s, "\0ann\0"s, "bob\0ann\0secret"s,
                           "\0ann\0sec\0ret"s, "\0"s + std::string(256, 'a') + "\0p"s,
                           "\0ann\0"s + std::string(kPasswordBytesMax + 1, 'a')}) {
    EXPECT_FALSE(read_plain(bent));
  }
}

TEST(Mechanisms, HaveKafkasNames) {
  for (const auto mechanism : kMechanisms)
    EXPECT_EQ(mechanism_named(name_of(mechanism)), mechanism);
  EXPECT_FALSE(mechanism_named("plain"));
  EXPECT_FALSE(mechanism_named("GSSAPI"));
}

}  // namespace
}  // namespace millrace::guard
