#include "app/table_printer.h"

#include "base/json.h"

namespace millrace::app {

namespace {

/// Columns that a terminal gives to UTF-8 text, counting a code point as one.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

/// Line breaks would break the table.
std::string flat(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c != '\r') {
      out += c;
    }
  }
  return out;
}

void pad(std::string& out, std::string_view text, size_t to, bool right) {
  size_t space = to - std::min(to, width(text));
  if (right) out.append(space, ' ');
  out += text;
  if (!right) out.append(space, ' ');
}

std::string render_table(const TextTable& table) {
  std::vector<std::vector<std::string>> cells;
  std::vector<size_t> widths;
  for (const auto& name : table.names) widths.push_back(width(name));
  for (const auto& row : table.rows) {
    auto& line = cells.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      line.push_back(row[i] ? flat(*row[i]) : "NULL");
      widths[i] = std::max(widths[i], width(line.back()));
    }
  }
  std::string out;
  auto add_line = [&](const std::vector<std::string>& line, bool head) {
    for (size_t i = 0; i < line.size(); ++i) {
      if (i > 0) out += "  ";
      pad(out, line[i], widths[i], table.numeric[i] && !head);
    }
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  };
  add_line(table.names, true);
  for (size_t i = 0; i < widths.size(); ++i) {
    if (i > 0) out += "  ";
    for (size_t k = 0; k < widths[i]; ++k) out += "─";
  }
  out += '\n';
  for (const auto& line : cells) add_line(line, false);
  fmt::format_to(std::back_inserter(out), "({} row{})\n", cells.size(),
                 cells.size() == 1 ? "" : "s");
  return out;
}

std::string render_json(const TextTable& table) {
  std::string out = "[";
  for (size_t r = 0; r < table.rows.size(); ++r) {
    out += r == 0 ? "\n  {" : ",\n  {";
    for (size_t i = 0; i < table.names.size(); ++i) {
      if (i > 0) out += ", ";
      out += json_quote(table.names[i]) + ": ";
      const auto& cell = table.rows[r][i];
      // NaN and infinities are no JSON numbers.
      bool bare = table.raw_json[i] ||
                  (table.numeric[i] && cell && cell->find_first_of("NIy") == std::string::npos);
      out += !cell ? "null" : bare ? *cell : json_quote(*cell);
    }
    out += '}';
  }
  return out + (table.rows.empty() ? "]\n" : "\n]\n");
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos && !text.empty())
    return std::string(text);
  std::string out = "\"";
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string render_csv(const TextTable& table) {
  std::string out;
  for (size_t i = 0; i < table.names.size(); ++i)
    out += (i > 0 ? "," : "") + csv_cell(table.names[i]);
  out += '\n';
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) out += ',';
      if (row[i]) out += csv_cell(*row[i]);
    }
    out += '\n';
  }
  return out;
}

}  // namespace

TextTable::TextTable(std::vector<std::string> column_names)
    : names(std::move(column_names)), numeric(names.size(), false), raw_json(names.size(), false) {}

std::string render(const TextTable& table, Output output) {
  switch (output) {
    case Output::kTable:
      return render_table(table);
    case Output::kJson:
      return render_json(table);
    case Output::kCsv:
      return render_csv(table);
  }
  return {};
}

std::string json_quote(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

}  // namespace millrace::app
