#include "app/detail/module_project.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

namespace millrace::app {

namespace {

namespace fs = std::filesystem;

bool is_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= 64 && !(name[0] >= '0' && name[0] <= '9') &&
         std::ranges::all_of(name, good) && !name.contains("__");
}

std::string replaced(std::string_view text, std::string_view name) {
  std::string out;
  for (size_t at; (at = text.find("{{name}}")) != text.npos; text.remove_prefix(at + 8)) {
    out.append(text.substr(0, at)).append(name);
  }
  return out.append(text);
}

bool on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view left = path ? path : "";
  while (!left.empty()) {
    const auto folder = left.substr(0, left.find(':'));
    if (access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
    left.remove_prefix(std::min(left.size(), folder.size() + 1));
  }
  return false;
}

/// Runs a program in `folder`, with our terminal; fails where it does.
Result<> run(const fs::path& folder, std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (failed != 0 || waitpid(pid, &status, 0) < 0) {
    return Error{ErrorCode::kNotFound, "cannot run " + words[0]};
  }
  if (status == 0) return {};
  return Error{ErrorCode::kInvalidArgument, words[0] + " failed; its reasons are above"};
}

/// What a command prints, without the end of the line.
std::string printed(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string out;
  for (int c; pipe && (c = std::fgetc(pipe.get())) != EOF;) out += static_cast<char>(c);
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

Error missing(const std::string& what, const std::string& hint) {
  return {ErrorCode::kNotFound, what, std::nullopt, hint};
}

Result<> build_cpp(const fs::path& folder, const std::string& name) {
  constexpr const char* kHint =
      "apt-get install clang-19 lld-19 wasi-libc libc++-19-dev-wasm32 libclang-rt-19-dev-wasm32";
  const std::string compiler = on_path("clang++-19") ? "clang++-19" : "clang++";
  if (!on_path(compiler)) return missing("there is no clang++-19", kHint);
  for (const char* need :
       {"/usr/include/wasm32-wasi/stdlib.h", "/usr/include/wasm32-wasi/c++/v1/string_view"}) {
    if (!fs::exists(need)) return missing(fmt::format("{} is not there", need), kHint);
  }
  return run(folder, {compiler, "--target=wasm32-wasi", "-std=c++20", "-Os", "-flto",
                      "-fno-exceptions", "-fno-rtti", "-Wall", "-mexec-model=reactor", "-Isdk",
                      "-Wl,--gc-sections,--strip-all", "module.cc", "-o", name + ".wasm"});
}

Result<> build_rust(const fs::path& folder, const std::string& name) {
  constexpr const char* kHint =
      "apt-get install rustc cargo libstd-rust-dev-wasm32 lld-14 (Debian 12), or with rustup: "
      "rustup target add wasm32-wasip1";
  if (!on_path("cargo") || !on_path("rustc")) return missing("there is no cargo", kHint);
  const fs::path targets = fs::path(printed("rustc --print sysroot")) / "lib" / "rustlib";
  for (const std::string target : {"wasm32-wasip1", "wasm32-wasi", "wasm32-unknown-unknown"}) {
    if (!fs::exists(targets / target)) continue;
    // Debian's rustc has no linker of its own, and its libraries want that of their LLVM.
    if (target == "wasm32-wasi" && on_path("wasm-ld-14")) {
      setenv("CARGO_TARGET_WASM32_WASI_LINKER", "wasm-ld-14", 0);
    }
    setenv("CARGO_TARGET_DIR", "target", 1);
    MR_TRY(run(folder, {"cargo", "build", "--release", "--offline", "--target", target}));
    std::error_code failed;
    fs::copy_file(folder / "target" / target / "release" / (name + ".wasm"),
                  folder / (name + ".wasm"), fs::copy_options::overwrite_existing, failed);
    if (!failed) return {};
    return Error{ErrorCode::kNotFound, "cargo made no " + name + ".wasm: " + failed.message(),
                 std::nullopt,
                 "Cargo.toml has name = \"" + name + "\" and crate-type = [\"cdylib\"]"};
  }
  return missing("rustc has no standard library for WebAssembly in " + targets.string(), kHint);
}

Result<> build_assemblyscript(const fs::path& folder, const std::string& name) {
  if (!on_path("node")) return missing("there is no node", "apt-get install nodejs npm");
  const std::string compiler = "node_modules/assemblyscript/bin/asc.js";
  if (!fs::exists(folder / compiler)) {
    if (!on_path("npm")) return missing("there is no npm", "apt-get install npm");
    MR_TRY(run(folder, {"npm", "install", "--silent", "--ignore-scripts"}));
  }
  return run(folder,
             {"node", compiler, "module.ts", "-O3", "--runtime", "minimal", "-o", name + ".wasm"});
}

}  // namespace

Result<> init_project(const std::string& language, const std::string& name) {
  if (!is_name(name)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no name for a module", name),
                 std::nullopt, "letters a to z, digits and single _, beginning with a letter"};
  }
  if (fs::exists(name)) return Error{ErrorCode::kIo, name + " exists already"};
  for (const auto& file : project_files()) {
    if (file.language != language) continue;
    const fs::path path = fs::path(name) / file.path;
    std::error_code failed;
    fs::create_directories(path.parent_path(), failed);
    std::ofstream out(path, std::ios::binary);
    out << replaced(file.text, name);
    out.close();
    if (failed || !out) return Error{ErrorCode::kIo, "cannot write " + path.string()};
  }
  return {};
}

Result<fs::path> build_project(const fs::path& folder) {
  std::error_code failed;
  const fs::path absolute = fs::canonical(folder, failed);
  const std::string name = absolute.filename();
  Result<> built;
  if (!failed && fs::exists(absolute / "Cargo.toml")) {
    built = build_rust(absolute, name);
  } else if (!failed && fs::exists(absolute / "module.ts")) {
    built = build_assemblyscript(absolute, name);
  } else if (!failed && fs::exists(absolute / "module.cc")) {
    built = build_cpp(absolute, name);
  } else {
    return missing(fmt::format("there is no module's project in {}", folder.string()),
                   "`millrace module init --language cpp NAME` makes one");
  }
  if (!built) return std::move(built).error();
  return folder / (name + ".wasm");
}

}  // namespace millrace::app
