#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>

#include "app/cli.h"
#include "app/detail/module_project.h"
#include "app/detail/module_run.h"
#include "app/detail/read_file.h"
#include "app/pg_client.h"

namespace millrace::app {

namespace {

std::string in_base64(std::string_view bytes) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) {
      three = three << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : kLetters[three >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

std::string in_quotes(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out.append(c == quote ? 2 : 1, c);
  return out + quote;
}

Result<int> init(const ModuleArguments& arguments) {
  MR_TRY(init_project(arguments.language, arguments.name));
  fmt::print(
      "wrote {0}/. Next:\n"
      "  cd {0}\n"
      "  millrace module build\n"
      "  millrace module test {0}.wasm --param text=error --records records.jsonl\n"
      "  millrace module test {0}.wasm --cases cases.jsonl\n"
      "  millrace module deploy {0}.wasm\n",
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

/// Runs a statement on the node, and prints its answer if it has one.
Result<int> ask(const ModuleArguments& arguments, const std::string& statement) {
  MR_TRY(const auto target, resolve(arguments.target));
  MR_TRY(auto client, PgClient::connect(target.pg));
  MR_TRY(client->run(statement, [&](const PgClient::Answer& answer) {
    if (!answer.table.names.empty()) fmt::print("{}", render(answer.table, arguments.output));
  }));
  return kOk;
}

Result<int> deploy(const ModuleArguments& arguments) {
  // Loaded here first: what is wrong with a module is told before it is sent.
  MR_TRY(auto runner, ModuleRunner::start());
  MR_TRY(const auto module, runner->load(arguments.file));
  MR_TRY(const auto bytes, read_file(arguments.file));
  const std::string name = arguments.name.empty()
                               ? std::filesystem::path(arguments.file).stem().string()
                               : arguments.name;
  MR_TRY(ask(arguments, fmt::format("CREATE OR REPLACE FUNCTION {} LANGUAGE wasm FROM "
                                    "'data:application/wasm;base64,{}'",
                                    in_quotes(name, '"'), in_base64(bytes))));
  fmt::print("deployed {}, {}\n", name, module->hash());
  return kOk;
}

Result<int> logs(const ModuleArguments& arguments) {
  std::string where;
  if (!arguments.name.empty()) where = " WHERE function = " + in_quotes(arguments.name, '\'');
  return ask(arguments,
             "SELECT logged_at, function, place, transform, level, text FROM millrace.module_logs" +
                 where + " ORDER BY logged_at");
}

}  // namespace

int module(const ModuleArguments& arguments) {
  Result<int> done = arguments.action == "init"     ? init(arguments)
                     : arguments.action == "build"  ? build(arguments)
                     : arguments.action == "test"   ? test_module(arguments)
                     : arguments.action == "deploy" ? deploy(arguments)
                     : arguments.action == "logs"
                         ? logs(arguments)
                         : ask(arguments,
                               "SELECT name, exports, bytes, version, owner, used_by, "
                               "hash FROM millrace.functions ORDER BY name");
  return done ? *done : fail(done.error());
}

}  // namespace millrace::app
