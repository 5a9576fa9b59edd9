#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::app {

/// A file of a new module's project; `{{name}}` in its text stands for the module's name.
struct ProjectFile {
  std::string_view language;
  std::string_view path;
  std::string_view text;
};

/// The SDKs with their templates, as they were when this binary was built (tools/embed_sdk.py).
std::span<const ProjectFile> project_files();

/// Writes a project into the new folder `name`. `language`: cpp, rust, assemblyscript.
/// Errors: kInvalidArgument (the name), kIo (the folder exists already, or cannot be written).
Result<> init_project(const std::string& language, const std::string& name);

/// Compiles the project in `folder` to folder/NAME.wasm, whose path it gives; the compiler's own
/// words go to the terminal. Errors: kNotFound (no project; no compiler, with what to install),
/// kInvalidArgument (the compiler refused).
Result<std::filesystem::path> build_project(const std::filesystem::path& folder);

}  // namespace millrace::app
