#include <filesystem>
#include <iterator>

#include "app/cli.h"
#include "app/detail/read_file.h"
#include "app/pg_client.h"
#include "app/table_printer.h"
#include "sql/script.h"

namespace millrace::app {

namespace {

/// The files that `path` means: itself, or a folder's *.sql in the order of their names.
Result<std::vector<std::string>> files_of(const std::string& path) {
  std::error_code failure;
  if (std::filesystem::is_regular_file(path, failure)) return std::vector{path};
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, failure)) {
    if (entry.path().extension() == ".sql") files.push_back(entry.path().string());
  }
  if (failure) {
    return Error{ErrorCode::kNotFound, fmt::format("cannot read {}: {}", path, failure.message()),
                 std::nullopt, "apply takes .sql files, or folders that hold some"};
  }
  if (files.empty()) {
    return Error{ErrorCode::kNotFound, fmt::format("there is no .sql file in {}", path)};
  }
  std::ranges::sort(files);
  return files;
}

/// Applies one file's statements in order; adds a row for each to `done`.
Result<> apply_file(PgClient& client, const std::string& file, bool dry_run, TextTable& done) {
  MR_TRY(const auto script, read_file(file));
  auto statements = sql::split_statements(script);
  if (!statements) {
    Error error = std::move(statements).error();
    error.text = fmt::format("{}: {}", file, error.text);
    return error;
  }
  for (const auto& statement : *statements) {
    auto ran = client.run((dry_run ? "APPLY DRY RUN " : "APPLY ") + statement,
                          [&](PgClient::Answer answer) {
                            for (auto& row : answer.table.rows) done.add(std::move(row));
                          });
    if (ran) continue;
    Error error = std::move(ran).error();
    auto line =
        1 + std::count(script.begin(),
                       script.begin() + static_cast<ptrdiff_t>(script.find(statement)), '\n');
    error.text = fmt::format("{}, the statement at line {}: {}", file, line, error.text);
    return error;
  }
  return {};
}

}  // namespace

int apply(const ApplyArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  auto client = PgClient::connect(target->pg);
  if (!client) return fail(client.error());
  TextTable done({"action", "kind", "name"});
  Result<> outcome;
  for (const auto& path : arguments.paths) {
    auto files = files_of(path);
    if (!files) return fail(files.error());
    for (const auto& file : *files) {
      if (outcome) outcome = apply_file(**client, file, arguments.dry_run, done);
    }
  }
  // What was done before a failure was done: it is told.
  if (outcome || !done.rows.empty()) fmt::print("{}", render(done, arguments.output));
  std::fflush(stdout);
  return outcome ? kOk : fail(outcome.error());
}

}  // namespace millrace::app
