#include "guard/users.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/config.h"
#include "guard/sasl.h"

namespace millrace::guard {

namespace {

constexpr size_t kSaltBytes = 16;
constexpr const char* kCreated = "created_ms";

const char* option_of(Digest digest) {
  return digest == Digest::kSha256 ? "scram-sha-256" : "scram-sha-512";
}

/// Clients prepare other characters each in their own way (SASLprep), so that one could log in and
/// another not.
bool is_plain(std::string_view text, char first) {
  return std::ranges::all_of(text, [&](char c) { return c >= first && c <= '~'; });
}

}  // namespace

Result<catalog::Object> make_user(std::string name, std::string_view password, std::string owner,
                                  TimestampMs now) {
  if (name.empty() || name.size() > ScramLogin::kNameBytesMax || !is_plain(name, '!')) {
    return Error{ErrorCode::kInvalidName,
                 fmt::format("\"{}\" cannot be a user's name: it has 1 to {} printable characters "
                             "of ASCII, without spaces",
                             name, ScramLogin::kNameBytesMax)};
  }
  if (name == kAnonymous) {
    return Error{ErrorCode::kInvalidName,
                 fmt::format("{} is what clients are that have not logged in", kAnonymous)};
  }
  catalog::Object user;
  user.kind = catalog::Kind::kUser;
  user.name = std::move(name);
  user.owner = std::move(owner);
  user.options[kCreated] = std::to_string(now);
  MR_TRY(set_password(user, password));
  return user;
}

Result<> set_password(catalog::Object& user, std::string_view password) {
  if (password.empty() || password.size() > kPasswordBytesMax || !is_plain(password, ' ')) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("a password has 1 to {} printable characters of ASCII: clients send "
                             "others each in their own way",
                             kPasswordBytesMax)};
  }
  if (password.starts_with("SCRAM-SHA-256$")) {  // as psql's \password makes it
    return Error{ErrorCode::kNotSupported, "a password that is hashed already is not taken",
                 std::nullopt, "Send the password itself: ALTER USER name PASSWORD '...'"};
  }
  for (const auto digest : {Digest::kSha256, Digest::kSha512}) {
    user.options[option_of(digest)] =
        to_text(make_verifier(digest, password, random_bytes(kSaltBytes)));
  }
  return {};
}

std::optional<Verifier> verifier_of(const catalog::Object& user, Digest digest) {
  const auto found = user.options.find(option_of(digest));
  return found == user.options.end() ? std::nullopt : verifier_from(found->second);
}

std::string mechanisms_of(const catalog::Object& user) {
  std::string out;
  for (const auto mechanism : kMechanisms) {
    const auto digest = mechanism == Mechanism::kScramSha512 ? Digest::kSha512 : Digest::kSha256;
    if (!verifier_of(user, digest)) continue;
    out += fmt::format("{}{}", out.empty() ? "" : ", ", name_of(mechanism));
  }
  return out;
}

TimestampMs created_ms(const catalog::Object& user) {
  const auto found = user.options.find(kCreated);
  if (found == user.options.end()) return -1;
  auto ms = config::parse_integer(found->second);
  return ms ? *ms : -1;
}

bool password_fits(const catalog::Object* user, std::string_view password) {
  auto verifier = user ? verifier_of(*user, Digest::kSha256) : std::nullopt;
  const bool known = verifier.has_value();
  if (!known) verifier = Verifier{kIterations, std::string(kSaltBytes, '\0'), {}, {}};
  return fits(Digest::kSha256, *verifier, password) && known;
}

}  // namespace millrace::guard
