#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/io/env.h"
#include "base/result.h"

namespace millrace::wasm {

/// SHA-256, as 64 hex digits.
std::string sha256(std::string_view bytes);

/// Compiled modules on the disk, a file each. Running one that somebody else wrote would be running
/// his machine code, so each file is sealed (HMAC-SHA256) with a key that the folder got at its
/// birth, over the module's hash and the engine's version too; what does not fit is not read
/// further. Any thread.
class SealedFiles {
 public:
  /// `version`: whatever must be the same for a file to be of use.
  static Result<SealedFiles> open(io::Env& env, std::string folder, std::string version);

  /// The bytes kept under `name`; none, or not ours, or of another version: nullopt.
  std::optional<std::string> get(std::string_view name) const;
  Result<> put(std::string_view name, std::string_view bytes) const;

 private:
  SealedFiles(io::Env& env, std::string folder, std::string version, std::string key)
      : env_(&env),
        folder_(std::move(folder)),
        version_(std::move(version)),
        key_(std::move(key)) {}
  std::string path(std::string_view name) const;
  std::string seal(std::string_view name, std::string_view bytes) const;

  io::Env* env_;
  std::string folder_;
  std::string version_;
  std::string key_;
};

}  // namespace millrace::wasm
