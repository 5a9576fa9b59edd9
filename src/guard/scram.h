#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::guard {

enum class Digest { kSha256, kSha512 };

/// What is kept of a password, which cannot be read back from it. Bytes.
/// Source: RFC 5802, section 3; the digests: RFC 7677 and Kafka's SCRAM-SHA-512.
struct Verifier {
  int iterations = 0;
  std::string salt;
  std::string stored_key;
  std::string server_key;
  bool operator==(const Verifier&) const = default;
};

/// RFC 7677's least, which is Kafka's and PostgreSQL's number too.
inline constexpr int kIterations = 4096;

/// Takes a millisecond or two: not on a shard.
Verifier make_verifier(Digest digest, std::string_view password, std::string salt,
                       int iterations = kIterations);
/// As slow as make_verifier().
bool fits(Digest digest, const Verifier& verifier, std::string_view password);

/// "4096:salt:stored key:server key", each but the first in base64.
std::string to_text(const Verifier& verifier);
/// Nothing when it is not of that form.
std::optional<Verifier> verifier_from(std::string_view text);

/// What is told of a wrong name and of a wrong password alike: kNotAllowed.
Error wrong_login();

/// Bytes that nobody can guess.
std::string random_bytes(size_t count);

/// The server's side of one login by SCRAM, as a step machine without I/O: two messages of the
/// client, an answer to each. Nothing is slow here, the client does the iterations. A name that
/// nobody has is asked on like any other, and refused at the end, as a wrong password is.
/// Source: RFC 5802, without channel binding.
class ScramLogin {
 public:
  /// The verifier of the user that the client's first message names; nothing: there is none.
  using Lookup = std::function<std::optional<Verifier>(std::string_view user)>;

  static constexpr size_t kMessageBytesMax = 4096;
  static constexpr size_t kNameBytesMax = 255;
  static constexpr size_t kNonceBytesMax = 256;  // the client's

  /// `nonce`: this server's part, printable; empty: random.
  ScramLogin(Digest digest, Lookup lookup, std::string nonce = {});

  /// Answers the client's next message. Errors: kProtocol (not of the protocol), kNotAllowed (name
  /// or password is wrong); after either the login is over.
  Result<std::string> step(std::string_view message);
  /// Whether the client has shown that it knows the password.
  bool done() const { return state_ == State::kDone; }
  /// As the client's first message names it.
  const std::string& user() const { return user_; }

 private:
  enum class State { kFirst, kFinal, kDone, kFailed };
  Result<std::string> first(std::string_view message);
  Result<std::string> last(std::string_view message);

  const Digest digest_;
  const Lookup lookup_;
  State state_ = State::kFirst;
  std::string nonce_;  // this server's, then both
  std::string user_;
  std::string header_;  // the client's gs2-header, in base64
  std::string so_far_;  // client-first-bare "," server-first
  Verifier verifier_;
  bool known_ = false;
};

}  // namespace millrace::guard
