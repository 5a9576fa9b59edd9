#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "app/cli.h"
#include "base/io/env.h"
#include "wasm/engine.h"

namespace millrace::app {

/// Modules without a node: loaded into this process, with the limits that a node gives them. What
/// they log goes to standard error.
class ModuleRunner {
 public:
  static Result<std::unique_ptr<ModuleRunner>> start();

  /// Errors: kNotFound, and what Engine::load() says.
  Result<std::shared_ptr<wasm::Module>> load(const std::filesystem::path& file);
  wasm::Engine& engine() { return *engine_; }

 private:
  std::unique_ptr<io::Env> env_;
  std::unique_ptr<wasm::Engine> engine_;
};

/// `millrace module test`: one batch of records through one transform, or a file of cases.
Result<int> test_module(const ModuleArguments& arguments);

}  // namespace millrace::app
