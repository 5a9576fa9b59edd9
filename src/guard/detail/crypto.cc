#include "guard/detail/crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>

#include "base/check.h"

namespace millrace::guard::detail {

namespace {

const EVP_MD* algorithm(Digest digest) {
  return digest == Digest::kSha256 ? EVP_sha256() : EVP_sha512();
}
size_t size_of(Digest digest) { return digest == Digest::kSha256 ? 32 : 64; }

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

}  // namespace

std::string hash(Digest digest, std::string_view bytes) {
  std::string out(size_of(digest), '\0');
  MR_CHECK(EVP_Digest(bytes.data(), bytes.size(), bytes_of(out), nullptr, algorithm(digest),
                      nullptr) == 1);
  return out;
}

std::string hmac(Digest digest, std::string_view key, std::string_view bytes) {
  std::string out(size_of(digest), '\0');
  unsigned int size = 0;
  MR_CHECK(HMAC(algorithm(digest), key.data(), static_cast<int>(key.size()), bytes_of(bytes),
                bytes.size(), bytes_of(out), &size) != nullptr);
  MR_CHECK(size == out.size());
  return out;
}

std::string iterated(Digest digest, std::string_view password, std::string_view salt,
                     int iterations) {
  std::string out(size_of(digest), '\0');
  MR_CHECK(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), bytes_of(salt),
                             static_cast<int>(salt.size()), iterations, algorithm(digest),
                             static_cast<int>(out.size()), bytes_of(out)) == 1);
  return out;
}

std::string random_bytes(size_t count) {
  std::string out(count, '\0');
  MR_CHECK(RAND_bytes(bytes_of(out), static_cast<int>(count)) == 1);
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // and a zero behind it
  const int size = EVP_EncodeBlock(bytes_of(out), bytes_of(bytes), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  size_t padding = 0;
  while (padding < 2 && text.substr(0, text.size() - padding).ends_with('=')) ++padding;
  const auto letters = text.substr(0, text.size() - padding);
  if (text.size() % 4 != 0 || !std::ranges::all_of(letters, is_letter)) return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(bytes_of(out), bytes_of(text), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  out.resize(static_cast<size_t>(size) - padding);  // which OpenSSL counts as zeros
  return out;
}

}  // namespace millrace::guard::detail
