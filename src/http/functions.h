#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::http {

/// A function in WebAssembly, as HTTP tells of it.
struct FunctionInfo {
  struct Export {
    std::string name, kind;  // "mask", "map"
  };
  std::string name;
  std::string hash;  // SHA-256 of its module, in hex
  uint64_t bytes = 0;
  uint64_t version = 1;  // counts its replacements
  std::string owner;
  std::vector<Export> exports;
};

/// Whose functions /v1/functions gives and takes. Any thread; calls may block.
class Functions {
 public:
  virtual ~Functions() = default;
  /// By name.
  virtual std::vector<FunctionInfo> list() = 0;
  /// Errors: kUndefinedObject.
  virtual Result<FunctionInfo> find(const std::string& name) = 0;
  /// The bytes of a module that the node keeps. Errors: kNotFound.
  virtual Result<std::string> module(const std::string& hash) = 0;
  /// CREATE OR REPLACE FUNCTION by `user`, of a module's bytes, with its errors; kNotAllowed when
  /// `password` is not that of a user that has one. Durable when it succeeds.
  virtual Result<FunctionInfo> put(const std::string& name, std::string_view module,
                                   const std::string& user, const std::string& password) = 0;
};

}  // namespace millrace::http
