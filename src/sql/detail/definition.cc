#include "sql/detail/definition.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <duckdb.hpp>
#include <duckdb/common/types/interval.hpp>
#include <duckdb/parser/constraints/list.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/statement/create_statement.hpp>

#include "catalog/connector.h"
#include "catalog/function.h"
#include "catalog/sink.h"
#include "sql/detail/connector_statements.h"
#include "sql/detail/errors.h"
#include "sql/detail/function_statements.h"
#include "sql/detail/pipeline_statements.h"
#include "sql/format.h"
#include "sql/view_options.h"

namespace millrace::sql {
namespace {

using catalog::Kind;

/// The columns' text with everything else blanked, so that DuckDB's positions are ours.
struct ColumnText {
  std::string text;
  bool any = false;
};

constexpr std::string_view kTablePrefix = "CREATE TABLE t ";

/// Moves past one element of the list: to its comma or closing parenthesis.
Result<size_t> skip_element(TokenReader& reader) {
  int depth = 0;
  size_t end = reader.peek().begin;
  while (depth > 0 || !(reader.peek().is_symbol(',') || reader.peek().is_symbol(')'))) {
    if (reader.peek().kind == Token::Kind::kEnd) return reader.unexpected("expected \")\"");
    const auto& token = reader.take();
    if (token.is_symbol('(') || token.is_symbol('[')) ++depth;
    if (token.is_symbol(')') || token.is_symbol(']')) --depth;
    end = token.end;
  }
  return end;
}

Result<> parse_watermark(std::string_view sql, TokenReader& reader, CreateObject& create) {
  if (create.object.kind != Kind::kTopic) {
    return Error{ErrorCode::kSyntax, "only a topic has a watermark", reader.peek().begin};
  }
  if (create.object.watermark) {
    return Error{ErrorCode::kSyntax, "a topic has one watermark", reader.peek().begin};
  }
  reader.take_words({"watermark", "for"});
  MR_TRY(auto column, reader.name());
  if (!reader.take_word("as")) return reader.unexpected("expected AS and an expression");
  create.watermark_begin = reader.peek().begin;
  MR_TRY(auto end, skip_element(reader));
  if (end == create.watermark_begin) return reader.unexpected("expected an expression");
  create.object.watermark = catalog::Watermark{
      column.text, std::string(sql.substr(create.watermark_begin, end - create.watermark_begin))};
  return {};
}

/// Reads `( element, ... )`: watermarks are taken out, the rest is DuckDB's.
Result<ColumnText> split_elements(std::string_view sql, TokenReader& reader, CreateObject& create) {
  ColumnText result;
  const auto open = reader.peek().begin;
  MR_TRY(reader.expect_symbol('('));
  result.text.assign(sql.substr(0, open + 1));
  std::ranges::fill(result.text, ' ');
  result.text.back() = '(';
  do {
    const auto begin = reader.peek().begin;
    const bool watermark = reader.peek().is("watermark") && reader.peek(1).is("for");
    if (watermark) {
      MR_TRY(parse_watermark(sql, reader, create));
      continue;
    }
    MR_TRY(auto end, skip_element(reader));
    if (end == begin) return reader.unexpected("expected a column");
    // The comma that stands before it in the text, or the one that a watermark left behind.
    if (result.any) result.text += ',';
    const auto written = result.text.size();
    if (written < begin) result.text.append(begin - written, ' ');
    result.text += sql.substr(begin, end - begin);
    result.any = true;
  } while (reader.take_symbol(','));
  result.text += ')';
  MR_TRY(reader.expect_symbol(')'));
  return result;
}

Error at_offset(Error error, size_t prefix) {
  if (error.position) error.position = *error.position >= prefix ? *error.position - prefix : 0;
  return error;
}

Result<> add_constraint(const duckdb::Constraint& constraint, const duckdb::ColumnList& columns,
                        catalog::Object& object) {
  switch (constraint.type) {
    case duckdb::ConstraintType::NOT_NULL:
      object.columns.at(constraint.Cast<duckdb::NotNullConstraint>().index.index).not_null = true;
      return {};
    case duckdb::ConstraintType::UNIQUE: {
      const auto& unique = constraint.Cast<duckdb::UniqueConstraint>();
      if (!unique.IsPrimaryKey()) break;
      if (object.kind == Kind::kTopic) {
        return Error{ErrorCode::kNotSupported, "a topic has no primary key", std::nullopt,
                     "A topic is a log of events. Use CREATE TABLE for rows by key."};
      }
      if (!object.primary_key.empty()) {
        return Error{ErrorCode::kSyntax, "a table has one primary key"};
      }
      if (unique.HasIndex()) {
        object.primary_key.push_back(columns.GetColumn(unique.GetIndex()).Name());
      } else {
        for (const auto& name : unique.GetColumnNames()) {
          if (!columns.ColumnExists(name)) {
            return Error{ErrorCode::kUndefinedColumn,
                         fmt::format("the primary key's column \"{}\" is not a column", name)};
          }
          object.primary_key.push_back(columns.GetColumn(name).Name());
        }
      }
      return {};
    }
    default:
      break;
  }
  return Error{ErrorCode::kNotSupported,
               fmt::format("the constraint {} is not supported", constraint.ToString()),
               std::nullopt, "NOT NULL, DEFAULT and PRIMARY KEY are."};
}

Result<> read_columns(const ColumnText& text, catalog::Object& object) {
  return guarded([&]() -> Result<> {
    duckdb::Parser parser;
    parser.ParseQuery(std::string(kTablePrefix) + text.text);
    auto& create = parser.statements.at(0)->Cast<duckdb::CreateStatement>();
    auto& info = create.info->Cast<duckdb::CreateTableInfo>();
    for (const auto& column : info.columns.Logical()) {
      if (column.Generated()) {
        return Error{
            ErrorCode::kNotSupported,
            fmt::format("column \"{}\": generated columns are not supported", column.Name()),
            std::nullopt, "Compute it in a view."};
      }
      if (column.Name().starts_with('_') && object.kind == Kind::kTopic) {
        return Error{ErrorCode::kInvalidName,
                     fmt::format("column \"{}\": names with a leading underscore are kept for what "
                                 "every record has (_key, _timestamp, _partition, _offset, "
                                 "_headers)",
                                 column.Name())};
      }
      MR_TRY(auto type, parse_type(column.Type().ToString()));
      catalog::Column made{column.Name(), type.ToString(), false, {}};
      if (column.HasDefaultValue()) made.default_sql = column.DefaultValue().ToString();
      object.columns.push_back(std::move(made));
    }
    for (const auto& constraint : info.constraints) {
      MR_TRY(add_constraint(*constraint, info.columns, object));
    }
    return {};
  });
}

/// An option's value: a literal, a word, a signed number, or INTERVAL and what follows.
Result<std::string> option_value(TokenReader& reader) {
  const bool interval = reader.take_word("interval");
  std::string value;
  while (reader.peek().kind != Token::Kind::kEnd && !reader.peek().is_symbol(',') &&
         !reader.peek().is_symbol(')')) {
    const auto& token = reader.take();
    const bool glue = value.empty() || value == "-" || token.is_symbol('.');
    if (!glue && interval) value += ' ';
    if (!interval && !glue) {
      return Error{ErrorCode::kSyntax, fmt::format("syntax error at or near \"{}\"", token.text),
                   token.begin, "Quote a value of several words."};
    }
    value += token.text;
  }
  if (value.empty()) return reader.unexpected("expected a value");
  return value;
}

/// `endless`: the word for -1; may be empty.
Result<int64_t> interval_ms(const std::string& option, const std::string& text, size_t position,
                            std::string_view endless) {
  if (!endless.empty() && duckdb::StringUtil::CIEquals(text, std::string(endless))) return -1;
  int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed == std::errc() && end == text.data() + text.size()) return number;
  duckdb::interval_t interval;
  std::string message;
  if (!duckdb::Interval::FromCString(text.data(), text.size(), interval, &message, true)) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("{} = {} is no interval", option, literal(text)), position,
                 endless.empty() ? "For example INTERVAL '10 seconds', or '1 hour'."
                                 : fmt::format("For example INTERVAL '7 days', '36 hours', or "
                                               "'{}'.",
                                               endless)};
  }
  return duckdb::Interval::GetMicro(interval) / 1000;
}

/// `name =`
Result<std::string> option_name(TokenReader& reader) {
  std::string name;
  do {
    const auto& token = reader.peek();
    if (!token.is_name() && token.kind != Token::Kind::kString) {
      return reader.unexpected("expected an option's name");
    }
    if (!name.empty()) name += '.';
    name += duckdb::StringUtil::Lower(reader.take().text);
  } while (reader.take_symbol('.'));
  MR_TRY(reader.expect_symbol('='));
  return name;
}

Result<> take_option(TokenReader& reader, catalog::Object& object) {
  const auto begin = reader.peek().begin;
  MR_TRY(auto name, option_name(reader));
  const auto value_begin = reader.peek().begin;
  MR_TRY(auto value, option_value(reader));
  if (name == "partitions") {
    const auto [end, failed] =
        std::from_chars(value.data(), value.data() + value.size(), object.partitions);
    if (failed != std::errc() || end != value.data() + value.size() || object.partitions < 1) {
      return Error{ErrorCode::kInvalidPartitions,
                   fmt::format("partitions = {} is not a positive number", value), value_begin};
    }
    return {};
  }
  struct Interval {
    std::string_view name, stored, endless;
  };
  for (const auto& [said, stored, endless] :
       {Interval{"retention", "retention.ms", "forever"},
        Interval{"watermark_idle_timeout", "watermark.idle.timeout.ms", "never"}}) {
    if (name != said) continue;
    MR_TRY(auto ms, interval_ms(name, value, value_begin, endless));
    name = stored;
    value = std::to_string(ms);
    break;
  }
  if (!object.options.emplace(name, value).second) {
    return Error{ErrorCode::kSyntax, fmt::format("option \"{}\" is given twice", name), begin};
  }
  return {};
}

using TakeOption = Result<> (*)(TokenReader&, catalog::Object&);

Result<> parse_options(TokenReader& reader, catalog::Object& object, TakeOption take) {
  if (!reader.take_word("with")) return {};
  MR_TRY(reader.expect_symbol('('));
  if (reader.take_symbol(')')) return {};
  do {
    MR_TRY(take(reader, object));
  } while (reader.take_symbol(','));
  return reader.expect_symbol(')');
}

/// `name = value`, where the value is one of `words`.
Result<std::string> one_of(const std::string& name, const std::string& value, size_t position,
                           std::initializer_list<std::string_view> words) {
  auto word = duckdb::StringUtil::Lower(value);
  if (std::ranges::find(words, word) != words.end()) return word;
  return Error{ErrorCode::kInvalidConfig, fmt::format("{} = {} is not known", name, literal(value)),
               position, fmt::format("It is one of {}.", fmt::join(words, ", "))};
}

Result<> take_view_option(TokenReader& reader, catalog::Object& object) {
  const auto begin = reader.peek().begin;
  const bool of_view = reader.peek().is("late") || reader.peek().is("allowed_lateness") ||
                       reader.peek().is("on_error");
  if (!of_view && catalog::is_sink(object)) return take_option(reader, object);
  MR_TRY(auto name, option_name(reader));
  const auto value_begin = reader.peek().begin;
  MR_TRY(auto value, option_value(reader));
  if (name == "on_error") {
    MR_TRY(value, one_of(name, value, value_begin, {"dead_letter", "skip", "stop"}));
  } else if (name == "late") {
    MR_TRY(value, one_of(name, value, value_begin, {"keep", ViewOptions::kDrop}));
    name = ViewOptions::kLate;
  } else if (name == "allowed_lateness") {
    MR_TRY(auto ms, interval_ms(name, value, value_begin, {}));
    if (ms < 0) {
      return Error{ErrorCode::kInvalidConfig, "allowed_lateness is not negative", value_begin};
    }
    name = ViewOptions::kAllowedLatenessMs;
    value = std::to_string(ms);
  } else {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("there is no option \"{}\" of a materialized view", name), begin,
                 "It has allowed_lateness, late and on_error."};
  }
  if (!object.options.emplace(name, value).second) {
    return Error{ErrorCode::kSyntax, "an option is given twice", begin};
  }
  return {};
}

Result<> take_connector_option(TokenReader& reader, catalog::Object& connector) {
  const auto begin = reader.peek().begin;
  MR_TRY(auto name, option_name(reader));
  MR_TRY(auto value, option_value(reader));
  if (!connector.options.emplace(std::string(catalog::kWithOption) + name, value).second) {
    return Error{ErrorCode::kSyntax, fmt::format("option \"{}\" is given twice", name), begin};
  }
  return {};
}

/// `[WITH ( options )]` of a materialized view or a sink.
Result<> parse_view_options(TokenReader& reader, catalog::Object& view) {
  const auto begin = reader.peek().begin;
  MR_TRY(parse_options(reader, view, take_view_option));
  if (!catalog::is_sink(view)) return {};
  if (view.partitions != 1) {
    return Error{ErrorCode::kInvalidPartitions, "a sink writes a topic of one partition", begin};
  }
  const auto given = std::exchange(view.options, {});
  for (const auto& [name, value] : given) {
    const bool of_view = name.starts_with(ViewOptions::kPrefix) || name == "on_error";
    view.options[of_view ? name : std::string(catalog::kSinkOption) + name] = value;
  }
  view.options.try_emplace(std::string(catalog::kSinkOption) + "format", "plain");
  return {};
}

/// The clause behind the query, if it stands here: EMIT CHANGES or EMIT ON WINDOW CLOSE.
bool at_emit(const TokenReader& reader) {
  const auto ends = [&](size_t n) {
    return reader.peek(n).kind == Token::Kind::kEnd || reader.peek(n).is_symbol(';');
  };
  if (!reader.peek().is("emit")) return false;
  if (reader.peek(1).is("changes")) return ends(2);
  return reader.peek(1).is("on") && reader.peek(2).is("window") && reader.peek(3).is("close") &&
         ends(4);
}

void take_emit(TokenReader& reader, catalog::Object& object) {
  if (reader.take_words({"emit", "on", "window", "close"})) {
    object.options[std::string(ViewOptions::kEmit)] = ViewOptions::kOnWindowClose;
  } else {
    reader.take_words({"emit", "changes"});
  }
}

Result<> settle_topic(CreateObject& create) {
  auto& object = create.object;
  auto& format = object.options["format"];
  if (format.empty()) format = object.columns.empty() ? "raw" : "json";
  if (object.watermark) {
    auto& name = object.watermark->column;
    const auto column = std::ranges::find_if(object.columns, [&](const catalog::Column& c) {
      return duckdb::StringUtil::CIEquals(c.name, name);
    });
    if (column == object.columns.end()) {
      return Error{ErrorCode::kUndefinedColumn,
                   fmt::format("the watermark's column \"{}\" is not a column", name)};
    }
    name = column->name;
    if (column->type != "TIMESTAMP" && column->type != "TIMESTAMP WITH TIME ZONE") {
      return Error{ErrorCode::kTypeMismatch,
                   fmt::format("the watermark's column \"{}\" is {}; it must be TIMESTAMP or "
                               "TIMESTAMPTZ",
                               name, column->type)};
    }
  }
  return {};
}

Result<> settle_table(CreateObject& create) {
  auto& object = create.object;
  if (object.primary_key.empty()) {
    return Error{ErrorCode::kSyntax, fmt::format("table \"{}\" needs a primary key", object.name),
                 std::nullopt,
                 "Rows live by key: write PRIMARY KEY after a column's type, or PRIMARY KEY (a, b) "
                 "at the end. For events without a key use CREATE TOPIC."};
  }
  for (auto& column : object.columns) {
    if (std::ranges::find(object.primary_key, column.name) != object.primary_key.end()) {
      column.not_null = true;
    }
  }
  return {};
}

std::string columns_sql(const catalog::Object& object) {
  std::string result;
  const auto add = [&](const std::string& line) {
    result += result.empty() ? " (\n  " : ",\n  ";
    result += line;
  };
  for (const auto& column : object.columns) {
    auto line = quoted(column.name) + " " + column.type;
    if (column.not_null) line += " NOT NULL";
    if (!column.default_sql.empty()) line += " DEFAULT " + column.default_sql;
    add(line);
  }
  if (object.watermark) {
    add(fmt::format("WATERMARK FOR {} AS {}", quoted(object.watermark->column),
                    object.watermark->expression));
  }
  if (!object.primary_key.empty()) {
    std::string key;
    for (const auto& name : object.primary_key) key += (key.empty() ? "" : ", ") + quoted(name);
    add(fmt::format("PRIMARY KEY ({})", key));
  }
  return result.empty() ? result : result + "\n)";
}

std::string options_sql(const catalog::Object& object) {
  std::string result;
  const auto add = [&](const std::string& option) {
    result += (result.empty() ? " WITH (" : ", ") + option;
  };
  if (object.kind == Kind::kTopic) add(fmt::format("partitions = {}", object.partitions));
  const auto of_view = ViewOptions::of(object);
  if (const auto ms = of_view.allowed_lateness.count(); ms > 0) {
    const bool whole = ms % 1000 == 0;
    add(fmt::format("allowed_lateness = '{} {}'", whole ? ms / 1000 : ms,
                    whole ? "seconds" : "milliseconds"));
  }
  if (!of_view.keep_late) add("late = 'drop'");
  for (const auto& [stored, value] : object.options) {
    if (stored.starts_with(ViewOptions::kPrefix)) continue;
    const auto name = stored.starts_with(catalog::kSinkOption)
                          ? stored.substr(catalog::kSinkOption.size())
                          : stored;
    const bool plain =
        std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
    add(fmt::format("{} = {}", plain ? name : literal(name), literal(value)));
  }
  return result.empty() ? result : result + ")";
}

}  // namespace

Result<> parse_definition(std::string_view sql, TokenReader& reader, CreateObject& create) {
  auto& object = create.object;
  if (reader.peek().is("as")) {
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("CREATE {} ... AS is not supported",
                    object.kind == Kind::kTopic ? "TOPIC" : "TABLE"),
        reader.peek().begin,
        "Declare the columns, then INSERT INTO ... SELECT; or CREATE MATERIALIZED VIEW for "
        "rows that follow a query."};
  }
  if (reader.peek().is_symbol('(')) {
    MR_TRY(auto text, split_elements(sql, reader, create));
    if (text.any) {
      auto read = read_columns(text, object);
      if (!read) return at_offset(std::move(read).error(), kTablePrefix.size());
    }
  } else if (object.kind == Kind::kTable) {
    return reader.unexpected("expected the table's columns");
  }
  MR_TRY(parse_options(reader, object, take_option));
  return object.kind == Kind::kTopic ? settle_topic(create) : settle_table(create);
}

Result<> parse_view(std::string_view sql, TokenReader& reader, CreateObject& create) {
  auto& object = create.object;
  const bool kept = object.kind == Kind::kMaterializedView;
  if (reader.peek().is_symbol('(')) {
    return Error{ErrorCode::kNotSupported, "a list of column names before AS is not supported",
                 reader.peek().begin, "Name the columns in the query: SELECT expression AS name."};
  }
  if (kept) MR_TRY(parse_view_options(reader, object));
  if (!reader.take_word("as")) return reader.unexpected("expected AS and a query");
  if (reader.at_end()) return reader.unexpected("expected a query");
  create.query_begin = reader.peek().begin;
  size_t end = create.query_begin;
  while (!reader.at_end() && !at_emit(reader)) end = reader.take().end;
  object.query = sql.substr(create.query_begin, end - create.query_begin);
  create.query_end = end;
  if (at_emit(reader) && !kept) {
    return Error{ErrorCode::kSyntax, "EMIT stands behind the query of a materialized view only",
                 reader.peek().begin};
  }
  take_emit(reader, object);
  return {};
}

Result<> parse_connector_options(TokenReader& reader, catalog::Object& connector) {
  return parse_options(reader, connector, take_connector_option);
}

std::string canonical_sql(const catalog::Object& object) {
  switch (object.kind) {
    case Kind::kTopic:
      return fmt::format("CREATE TOPIC {}{}{}", quoted(object.name), columns_sql(object),
                         options_sql(object));
    case Kind::kTable:
      return fmt::format("CREATE TABLE {}{}{}", quoted(object.name), columns_sql(object),
                         options_sql(object));
    case Kind::kView:
      return fmt::format("CREATE VIEW {} AS\n{}", quoted(object.name), object.query);
    case Kind::kMaterializedView:
      return fmt::format(
          "CREATE {} {}{} AS\n{}{}",
          duckdb::StringUtil::Upper(std::string(catalog::shown_kind(object))),
          quoted(catalog::shown_name(object)), options_sql(object), object.query,
          ViewOptions::of(object).emit_on_window_close ? "\nEMIT ON WINDOW CLOSE" : "");
    case Kind::kFunction:
      return function_sql(object);
    case Kind::kPipeline:
      return pipeline_sql(object);
    case Kind::kSource:
    case Kind::kSink:
      return connector_sql(object);
    case Kind::kUser:  // no statement makes it again: the password is not kept
      return {};
  }
  return {};
}

}  // namespace millrace::sql
