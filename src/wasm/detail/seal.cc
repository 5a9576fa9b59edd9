#include "wasm/detail/seal.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstring>

namespace millrace::wasm {

namespace {

constexpr std::string_view kMagic = "MRWASM01";
constexpr size_t kSealBytes = 32;
constexpr size_t kKeyBytes = 32;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, 32> digest;
  MR_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) ==
           1);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

Result<SealedFiles> SealedFiles::open(io::Env& env, std::string folder, std::string version) {
  MR_TRY(env.files().make_folder(folder));
  const std::string path = folder + "/seal.key";
  std::string key;
  if (env.files().exists(path)) {
    MR_TRY(auto kept, env.files().read_file(path));
    key = std::move(kept);
  }
  if (key.size() != kKeyBytes) {
    key.clear();
    while (key.size() < kKeyBytes) {
      const uint64_t random = env.random();
      key.append(reinterpret_cast<const char*>(&random), sizeof random);
    }
    MR_TRY(env.files().replace_file(path, key));
  }
  return SealedFiles(env, std::move(folder), std::move(version), std::move(key));
}

std::string SealedFiles::path(std::string_view name) const {
  return fmt::format("{}/{}.compiled", folder_, name);
}

std::string SealedFiles::seal(std::string_view name, std::string_view bytes) const {
  std::string text = fmt::format("{}\n{}\n{}\n", kMagic, name, version_);
  std::array<unsigned char, 32> of_bytes;
  MR_CHECK(
      EVP_Digest(bytes.data(), bytes.size(), of_bytes.data(), nullptr, EVP_sha256(), nullptr) == 1);
  text.append(reinterpret_cast<const char*>(of_bytes.data()), of_bytes.size());
  std::string seal(kSealBytes, '\0');
  unsigned int size = 0;
  MR_CHECK(HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), bytes_of(text),
                text.size(), reinterpret_cast<unsigned char*>(seal.data()), &size) != nullptr);
  MR_CHECK(size == kSealBytes);
  return seal;
}

std::optional<std::string> SealedFiles::get(std::string_view name) const {
  const std::string file = path(name);
  if (!env_->files().exists(file)) return std::nullopt;
  auto read = env_->files().read_file(file);
  if (!read || read->size() < kMagic.size() + kSealBytes || !read->starts_with(kMagic)) {
    return std::nullopt;
  }
  const std::string_view all = *read;
  const auto sealed = all.substr(kMagic.size(), kSealBytes);
  const auto bytes = all.substr(kMagic.size() + kSealBytes);
  const std::string expected = seal(name, bytes);
  if (CRYPTO_memcmp(sealed.data(), expected.data(), kSealBytes) != 0) return std::nullopt;
  return std::string(bytes);
}

Result<> SealedFiles::put(std::string_view name, std::string_view bytes) const {
  std::string file(kMagic);
  file += seal(name, bytes);
  file += bytes;
  return env_->files().replace_file(path(name), file);
}

}  // namespace millrace::wasm
