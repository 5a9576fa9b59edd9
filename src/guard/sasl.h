#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guard/scram.h"

namespace millrace::guard {

/// How a client of the Kafka protocol says who it is.
enum class Mechanism { kPlain, kScramSha256, kScramSha512 };
inline constexpr Mechanism kMechanisms[] = {Mechanism::kPlain, Mechanism::kScramSha256,
                                            Mechanism::kScramSha512};
/// "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"
std::string_view name_of(Mechanism mechanism);
/// Nothing: there is no mechanism of that name here.
std::optional<Mechanism> mechanism_named(std::string_view name);

inline constexpr size_t kPasswordBytesMax = 1024;

/// The one message of PLAIN.
struct PlainMessage {
  std::string user;
  std::string password;
};
/// Errors: kProtocol. Source: RFC 4616.
Result<PlainMessage> read_plain(std::string_view message);

}  // namespace millrace::guard
