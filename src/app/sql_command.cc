#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include "app/cli.h"
#include "app/detail/read_file.h"
#include "app/pg_client.h"
#include "app/table_printer.h"

namespace millrace::app {

namespace {

void print(const PgClient::Answer& answer, Output output) {
  if (!answer.table.names.empty()) {
    fmt::print("{}", render(answer.table, output));
  } else if (output == Output::kTable) {
    fmt::print("{}\n", answer.tag);
  }
  std::fflush(stdout);
}

/// The line of `script` at the error, and a caret under it.
std::string excerpt(std::string_view script, size_t position) {
  position = std::min(position, script.size());
  size_t begin = position == 0 ? 0 : script.rfind('\n', position - 1) + 1;
  size_t end = std::min(script.find('\n', position), script.size());
  size_t line = 1 + static_cast<size_t>(std::count(
                        script.begin(), script.begin() + static_cast<ptrdiff_t>(begin), '\n'));
  return fmt::format("  line {}: {}\n  {:{}}^", line, script.substr(begin, end - begin), "",
                     fmt::formatted_size("line {}: ", line) + position - begin);
}

int run(PgClient& client, const std::string& script, Output output) {
  auto done = client.run(script, [&](const PgClient::Answer& answer) { print(answer, output); });
  if (done) return kOk;
  int code = fail(done.error());
  if (done.error().position) fmt::print(stderr, "{}\n", excerpt(script, *done.error().position));
  return code;
}

/// Statements typed or piped in; each is sent when its line ends in a semicolon. A failure ends a
/// pipe, not a person's session.
int interact(PgClient& client, Output output) {
  bool person = isatty(STDIN_FILENO);
  std::string statement, line;
  auto prompt = [&] {
    if (person)
      fmt::print("{}", statement.empty() ? "millrace> " : "      ... "), std::fflush(stdout);
  };
  for (prompt(); std::getline(std::cin, line); prompt()) {
    if (statement.empty() && (line == "\\q" || line == "exit" || line == "quit")) break;
    statement += line + "\n";
    if (!person || line.find_last_not_of(" \t") == std::string::npos ||
        line[line.find_last_not_of(" \t")] != ';')
      continue;
    run(client, statement, output);
    statement.clear();
  }
  return statement.find_first_not_of(" \t\n") == std::string::npos ? kOk
                                                                   : run(client, statement, output);
}

}  // namespace

int sql(const SqlArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  auto client = PgClient::connect(target->pg);
  if (!client) return fail(client.error());
  std::ios::sync_with_stdio(false);
  if (arguments.statements.empty() && arguments.files.empty())
    return interact(**client, arguments.output);
  for (const auto& statement : arguments.statements) {
    if (int code = run(**client, statement, arguments.output)) return code;
  }
  for (const auto& path : arguments.files) {
    const auto script = read_file(path);
    if (!script) {
      Error error = script.error();
      error.hint = "-f takes a file of SQL statements";
      return fail(error);
    }
    if (int code = run(**client, *script, arguments.output)) {
      fmt::print(stderr, "  in {}\n", path);
      return code;
    }
  }
  return kOk;
}

}  // namespace millrace::app
