#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "catalog/catalog.h"
#include "guard/scram.h"

namespace millrace::guard {

// A user is an object of the catalog. In its options stand the verifiers of its password, one for
// each digest, and when it was made; the password itself is nowhere.

/// Who has not logged in. Source: Kafka's KafkaPrincipal.
inline constexpr std::string_view kAnonymous = "ANONYMOUS";

/// A user to be put into the catalog. Takes some milliseconds: not on a shard. Errors:
/// kInvalidName, kInvalidArgument (a password that clients would not all send alike).
Result<catalog::Object> make_user(std::string name, std::string_view password, std::string owner,
                                  TimestampMs now);
/// The same user with another password.
Result<> set_password(catalog::Object& user, std::string_view password);

std::optional<Verifier> verifier_of(const catalog::Object& user, Digest digest);
/// The mechanisms that it may log in by, with commas between.
std::string mechanisms_of(const catalog::Object& user);
/// When it was made; -1: not known.
TimestampMs created_ms(const catalog::Object& user);

/// Whether the password is the user's. Null: a name that nobody has, which takes as long to refuse.
/// Some milliseconds: not on a shard.
bool password_fits(const catalog::Object* user, std::string_view password);

}  // namespace millrace::guard
