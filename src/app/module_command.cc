#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/cli.h"
#include "app/detail/module_project.h"
#include "app/detail/module_run.h"

namespace millrace::app {

namespace {

Result<int> init(const ModuleArguments& arguments) {
  MR_TRY(init_project(arguments.language, arguments.name));
  fmt::print(
      "wrote {0}/. Next:\n"
      "  cd {0}\n"
      "  millrace module build\n"
      "  millrace module test {0}.wasm --param text=error --records records.jsonl\n"
      "  millrace module test {0}.wasm --cases cases.jsonl\n",
      arguments.name);
  return kOk;
}

Result<int> build(const ModuleArguments& arguments) {
  MR_TRY(const auto file, build_project(arguments.file));
  MR_TRY(auto runner, ModuleRunner::start());
  MR_TRY(const auto module, runner->load(file));
  std::vector<std::string> transforms;
  for (const auto& one : module->transforms()) {
    transforms.push_back(fmt::format("{} {}", wasm::to_string(one.kind), one.name));
  }
  fmt::print("{}: {} bytes; {}\n", file.lexically_normal().string(), module->bytes(),
             fmt::join(transforms, ", "));
  return kOk;
}

}  // namespace

int module(const ModuleArguments& arguments) {
  Result<int> done = arguments.action == "init"    ? init(arguments)
                     : arguments.action == "build" ? build(arguments)
                                                   : test_module(arguments);
  return done ? *done : fail(done.error());
}

}  // namespace millrace::app
