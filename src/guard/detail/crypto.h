#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "guard/scram.h"

// OpenSSL, as functions of bytes. That it fails is a defect of ours: it is given no choice of
// algorithms, and nothing that grows.
namespace millrace::guard::detail {

std::string hash(Digest digest, std::string_view bytes);
std::string hmac(Digest digest, std::string_view key, std::string_view bytes);
/// PBKDF2 with HMAC, as long as the digest: RFC 5802's Hi().
std::string iterated(Digest digest, std::string_view password, std::string_view salt,
                     int iterations);
std::string random_bytes(size_t count);
std::string base64(std::string_view bytes);
/// Nothing when it is not base64, with its padding and without anything else.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace millrace::guard::detail
