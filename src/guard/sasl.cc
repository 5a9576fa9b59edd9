#include "guard/sasl.h"

namespace millrace::guard {

std::string_view name_of(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::kPlain:
      return "PLAIN";
    case Mechanism::kScramSha256:
      return "SCRAM-SHA-256";
    case Mechanism::kScramSha512:
      return "SCRAM-SHA-512";
  }
  return "PLAIN";
}

std::optional<Mechanism> mechanism_named(std::string_view name) {
  for (const auto mechanism : kMechanisms) {
    if (name_of(mechanism) == name) return mechanism;
  }
  return std::nullopt;
}

/// [acting as] NUL name NUL password
Result<PlainMessage> read_plain(std::string_view message) {
  const auto malformed = [](const char* what) { return Error{ErrorCode::kProtocol, what}; };
  const auto first = message.find('\0');
  const auto second = message.find('\0', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) {
    return malformed("a message of PLAIN lacks its zero bytes");
  }
  const auto acting_as = message.substr(0, first);
  const auto user = message.substr(first + 1, second - first - 1);
  const auto password = message.substr(second + 1);
  if (user.empty() || user.size() > ScramLogin::kNameBytesMax) {
    return malformed("a message of PLAIN names no user");
  }
  if (password.empty() || password.size() > kPasswordBytesMax ||
      password.find('\0') != std::string_view::npos) {
    return malformed("a message of PLAIN has no password, or one that nobody can have");
  }
  if (!acting_as.empty() && acting_as != user) {
    return malformed("a message of PLAIN asks to act as another user, which nobody may");
  }
  return PlainMessage{std::string(user), std::string(password)};
}

}  // namespace millrace::guard
