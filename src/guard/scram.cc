#include "guard/scram.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>

#include "base/config.h"
#include "guard/detail/crypto.h"

namespace millrace::guard {

using detail::base64;
using detail::from_base64;
using detail::hash;
using detail::hmac;

namespace {

constexpr size_t kSaltBytes = 16;
constexpr size_t kNonceBytes = 18;  // 24 letters in base64
constexpr int kIterationsMax = 1'000'000;

Error malformed(std::string_view what) {
  return Error{ErrorCode::kProtocol, fmt::format("a SCRAM message {}", what)};
}

/// Takes what stands before the next comma, and the comma.
std::string_view take(std::string_view& rest) {
  const auto part = rest.substr(0, rest.find(','));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return part;
}

/// Takes the attribute `name`: its value; nothing when another one stands there.
std::optional<std::string_view> take(std::string_view& rest, char name) {
  if (rest.size() < 2 || rest[0] != name || rest[1] != '=') return std::nullopt;
  return take(rest).substr(2);
}

bool is_nonce(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

/// A name as it was before `,` and `=` were written as =2C and =3D; nothing when it is not of that
/// form.
std::optional<std::string> unescaped(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '=') {
      out += name[i];
      continue;
    }
    const auto code = name.substr(i + 1, 2);
    if (code != "2C" && code != "3D") return std::nullopt;
    out += code == "2C" ? ',' : '=';
    i += 2;
  }
  return out;
}

std::string exclusive_or(std::string a, std::string_view b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<char>(a[i] ^ b[i]);
  return a;
}

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

/// What stands in for the verifier of a name that nobody has: the same for each name as long as the
/// node runs, so that it cannot be told from another.
Verifier decoy(Digest digest, std::string_view user) {
  static const std::string secret = random_bytes(32);
  Verifier verifier{.iterations = kIterations,
                    .salt = hmac(digest, secret, user).substr(0, kSaltBytes),
                    .stored_key = hmac(digest, secret, "stored"),
                    .server_key = hmac(digest, secret, "server")};
  return verifier;
}

}  // namespace

Error wrong_login() {
  return Error{ErrorCode::kNotAllowed, "the user name or the password is wrong"};
}

std::string random_bytes(size_t count) { return detail::random_bytes(count); }

Verifier make_verifier(Digest digest, std::string_view password, std::string salt, int iterations) {
  const auto salted = detail::iterated(digest, password, salt, iterations);
  return {.iterations = iterations,
          .salt = std::move(salt),
          .stored_key = hash(digest, hmac(digest, salted, "Client Key")),
          .server_key = hmac(digest, salted, "Server Key")};
}

bool fits(Digest digest, const Verifier& verifier, std::string_view password) {
  const auto made = make_verifier(digest, password, verifier.salt, verifier.iterations);
  return same(made.stored_key, verifier.stored_key);
}

std::string to_text(const Verifier& verifier) {
  return fmt::format("{}:{}:{}:{}", verifier.iterations, base64(verifier.salt),
                     base64(verifier.stored_key), base64(verifier.server_key));
}

std::optional<Verifier> verifier_from(std::string_view text) {
  std::string_view parts[4];
  for (auto& part : parts) {
    part = text.substr(0, text.find(':'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
  }
  const auto iterations = config::parse_integer(parts[0]);
  auto salt = from_base64(parts[1]);
  auto stored_key = from_base64(parts[2]);
  auto server_key = from_base64(parts[3]);
  if (!iterations || *iterations < 1 || *iterations > kIterationsMax || !text.empty() || !salt ||
      !stored_key || !server_key || stored_key->empty()) {
    return std::nullopt;
  }
  return Verifier{.iterations = static_cast<int>(*iterations),
                  .salt = std::move(*salt),
                  .stored_key = std::move(*stored_key),
                  .server_key = std::move(*server_key)};
}

ScramLogin::ScramLogin(Digest digest, Lookup lookup, std::string nonce)
    : digest_(digest),
      lookup_(std::move(lookup)),
      nonce_(nonce.empty() ? base64(random_bytes(kNonceBytes)) : std::move(nonce)) {}

Result<std::string> ScramLogin::step(std::string_view message) {
  const auto now = std::exchange(state_, State::kFailed);
  if (message.size() > kMessageBytesMax) return malformed("is too long");
  if (now == State::kFirst) return first(message);
  if (now == State::kFinal) return last(message);
  return malformed("came after the login had ended");
}

/// gs2-header = ("n" / "y") "," ["a=" name] ","; then ["m=" ...] "n=" name ",r=" nonce ["," ...]
Result<std::string> ScramLogin::first(std::string_view message) {
  std::string_view rest = message;
  const auto binding = take(rest);
  if (binding.starts_with("p=")) {
    return malformed("asks for channel binding, which there is none of without TLS");
  }
  if (binding != "n" && binding != "y") return malformed("does not begin with n or y");
  const auto acting_as = rest.starts_with("a=") ? take(rest, 'a') : std::optional(take(rest));
  if (rest.empty()) return malformed("names no user");
  const auto bare = rest;
  header_ = base64(message.substr(0, message.size() - bare.size()));
  if (rest.starts_with("m=")) return malformed("has an extension that is not known here");
  const auto name = take(rest, 'n');
  const auto user = name ? unescaped(*name) : std::nullopt;
  if (!user || user->size() > kNameBytesMax) return malformed("names no user");
  const auto nonce = take(rest, 'r');
  if (!nonce || !is_nonce(*nonce) || nonce->size() > kNonceBytesMax) {
    return malformed("has no nonce");
  }
  if (acting_as && !acting_as->empty() && *acting_as != *name) {
    return malformed("asks to act as another user, which nobody may");
  }
  user_ = *user;
  auto verifier = lookup_(user_);
  known_ = verifier.has_value();
  verifier_ = known_ ? std::move(*verifier) : decoy(digest_, user_);
  nonce_ = std::string(*nonce) + nonce_;
  auto answer = fmt::format("r={},s={},i={}", nonce_, base64(verifier_.salt), verifier_.iterations);
  so_far_ = fmt::format("{},{}", bare, answer);
  state_ = State::kFinal;
  return answer;
}

/// "c=" gs2-header in base64 ",r=" nonce ["," ...] ",p=" proof
Result<std::string> ScramLogin::last(std::string_view message) {
  const auto at = message.rfind(",p=");
  if (at == std::string_view::npos) return malformed("has no proof");
  const auto without_proof = message.substr(0, at);
  const auto proof = from_base64(message.substr(at + 3));
  std::string_view rest = without_proof;
  const auto binding = take(rest, 'c');
  const auto nonce = take(rest, 'r');
  if (!binding || !nonce || !proof) return malformed("has no proof");
  if (*binding != header_) return malformed("does not repeat what the first one began with");
  if (*nonce != nonce_) return malformed("has another nonce than the one before");
  const auto so_far = fmt::format("{},{}", so_far_, without_proof);
  const auto signature = hmac(digest_, verifier_.stored_key, so_far);
  const bool whole = proof->size() == signature.size();
  const auto client_key = whole ? exclusive_or(*proof, signature) : signature;
  const bool right = same(hash(digest_, client_key), verifier_.stored_key);
  if (!whole || !right || !known_) {
    return wrong_login();
  }
  state_ = State::kDone;
  return "v=" + base64(hmac(digest_, verifier_.server_key, so_far));
}

}  // namespace millrace::guard
