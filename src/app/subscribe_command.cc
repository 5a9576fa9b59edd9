#include <algorithm>
#include <cstdio>

#include "app/cli.h"
#include "app/pg_client.h"
#include "app/table_printer.h"

namespace millrace::app {

namespace {

constexpr int64_t kFetchRows = 1000;

/// Prints rows as they come, in columns that only become wider.
class Printer {
 public:
  explicit Printer(Output output) : output_(output) {}

  void print(const TextTable& rows) {
    switch (output_) {
      case Output::kTable:
        return print_columns(rows);
      case Output::kCsv: {
        const std::string lines = render(rows, Output::kCsv);
        fmt::print("{}", begun_ ? lines.substr(lines.find('\n') + 1) : lines);
        begun_ = true;
        return;
      }
      case Output::kJson:
        print_objects(render(rows, Output::kJson));
    }
  }

 private:
  /// The objects of the array, a line each.
  static void print_objects(std::string_view array) {
    for (size_t at = array.find("\n  {"); at != array.npos; at = array.find("\n  {", at + 1)) {
      const auto line = array.substr(at + 3, array.find('\n', at + 1) - at - 3);
      fmt::print("{}\n", line.substr(0, line.size() - line.ends_with(',')));
    }
  }

  void print_columns(const TextTable& table) {
    widths_.resize(table.names.size());
    for (size_t i = 0; i < widths_.size(); ++i) {
      widths_[i] = std::max(widths_[i], table.names[i].size());
      for (const auto& row : table.rows)
        widths_[i] = std::max(widths_[i], row[i] ? row[i]->size() : kNull.size());
    }
    const auto line = [&](const auto& cell) {
      std::string out;
      for (size_t i = 0; i < widths_.size(); ++i) {
        const std::string text = cell(i);
        out += i == 0 ? "" : "  ";
        out += table.numeric[i] ? fmt::format("{:>{}}", text, widths_[i])
                                : fmt::format("{:<{}}", text, widths_[i]);
      }
      out.erase(out.find_last_not_of(' ') + 1);
      fmt::print("{}\n", out);
    };
    if (!begun_) line([&](size_t i) { return table.names[i]; });
    begun_ = true;
    for (const auto& row : table.rows)
      line([&](size_t i) { return row[i] ? *row[i] : std::string(kNull); });
  }

  static constexpr std::string_view kNull = "NULL";
  const Output output_;
  bool begun_ = false;
  std::vector<size_t> widths_;
};

std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out += c == quote ? std::string(2, c) : std::string(1, c);
  return out + quote;
}

std::string statement(const SubscribeArguments& arguments) {
  const bool is_query = arguments.what.starts_with('(');
  std::string sql = "BEGIN; DECLARE c CURSOR FOR SUBSCRIBE TO " +
                    (is_query ? arguments.what : quoted(arguments.what, '"'));
  if (arguments.snapshot) sql += " WITH SNAPSHOT";
  if (arguments.progress) sql += " WITH PROGRESS";
  if (!arguments.after.empty()) sql += " AFTER " + quoted(arguments.after, '\'');
  return sql;
}

}  // namespace

int subscribe(const SubscribeArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  auto client = PgClient::connect(target->pg);
  if (!client) return fail(client.error());
  Printer printer(arguments.output);
  Result<> done = (*client)->run(statement(arguments), [](const auto&) {});
  if (!done) done.error().position.reset();  // of a statement that nobody typed
  int64_t left = arguments.count.value_or(INT64_MAX);
  while (done && left > 0) {
    const auto print = [&](const PgClient::Answer& answer) {
      printer.print(answer.table);
      left -= static_cast<int64_t>(answer.table.rows.size());
      std::fflush(stdout);
    };
    done = (*client)->run(fmt::format("FETCH {} c", std::min(left, kFetchRows)), print);
  }
  return done ? kOk : fail(done.error());
}

}  // namespace millrace::app
