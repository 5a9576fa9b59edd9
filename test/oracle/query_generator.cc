#include "oracle/query_generator.h"

#include <fmt/format.h>

namespace millrace::flow {

uint32_t Choices::below(uint32_t n) {
  uint32_t choice = 0;
  if (!replays_) {
    choice = static_cast<uint32_t>(random_() % n);
  } else if (made_.size() < given_.size()) {
    choice = given_[made_.size()] % n;
  }
  made_.push_back(choice);
  return choice;
}

void GeneratedTable::append_to(std::vector<std::string>& setup) const {
  setup.push_back(create);
  std::string values;
  for (const auto& row : rows) values += (values.empty() ? "" : ", ") + row;
  if (!values.empty()) setup.push_back(fmt::format("INSERT INTO {} VALUES {}", name, values));
}

namespace {

enum class Type { kInteger, kText, kDecimal, kTime, kBoolean };

struct Column {
  std::string text;
  Type type;
};
using Scope = std::vector<Column>;

constexpr std::pair<const char*, Type> kColumns[] = {{"k", Type::kInteger}, {"i", Type::kInteger},
                                                     {"s", Type::kText},    {"d", Type::kDecimal},
                                                     {"ts", Type::kTime},   {"f", Type::kBoolean}};
constexpr const char* kTables[] = {"t1", "t2", "t3"};
constexpr const char* kComparisons[] = {
    "=", "<", "<=", "<>", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"};

const char* literal(Type type, uint32_t choice) {
  static const char* const kIntegers[] = {"1", "0", "2", "3", "-1"};
  static const char* const kTexts[] = {"'a'", "''", "'b'", "'a text of more than twelve'", "'c'"};
  static const char* const kDecimals[] = {"1.50", "0.00", "-2.25", "3.00", "10.10"};
  static const char* const kTimes[] = {
      "TIMESTAMP '2024-01-01 00:00:00'", "TIMESTAMP '2024-01-01 01:00:00'",
      "TIMESTAMP '2024-01-01 00:30:00'", "TIMESTAMP '2024-01-02 00:00:00'",
      "TIMESTAMP '2023-12-31 23:00:00'"};
  static const char* const kBooleans[] = {"true", "false", "true", "false", "true"};
  static const char* const* const kOf[] = {kIntegers, kTexts, kDecimals, kTimes, kBooleans};
  return kOf[static_cast<size_t>(type)][choice];
}

class Generator {
 public:
  explicit Generator(Choices& choices) : choices_(choices) {}

  std::string query() {
    std::string with;
    if (choices_.one_in(4)) {
      const uint32_t count = 1 + choices_.below(2);
      for (uint32_t n = 0; n < count; ++n) {
        auto made = select(1, {});
        with += fmt::format("{}{} AS {}({})", n ? ", " : "WITH ", fmt::format("w{}", n),
                            choices_.one_in(2) ? "MATERIALIZED " : "", made.text);
        ctes_.push_back({fmt::format("w{}", n), std::move(made.columns)});
      }
      with += " ";
    }
    return with + top().text;
  }

 private:
  struct Made {
    std::string text;
    Scope columns;  // the names that it gives
  };

  // ---- Expressions ----

  const Column* column_of(const Scope& scope, Type type) {
    std::vector<const Column*> fit;
    for (const auto& column : scope)
      if (column.type == type) fit.push_back(&column);
    return fit.empty() ? nullptr : fit[choices_.below(static_cast<uint32_t>(fit.size()))];
  }
  const Column& any(const Scope& scope) {
    return scope[choices_.below(static_cast<uint32_t>(scope.size()))];
  }

  std::string value(const Scope& scope, Type type, int depth) {
    const auto* column = column_of(scope, type);
    if (!column || choices_.one_in(10)) return literal(type, choices_.below(5));
    if (depth <= 0 || !choices_.one_in(3)) return column->text;
    const auto sub = [&](Type t) { return value(scope, t, depth - 1); };
    switch (choices_.below(4)) {
      case 0:
        return fmt::format("coalesce({}, {})", column->text, sub(type));
      case 1:
        return fmt::format("CASE WHEN {} THEN {} ELSE {} END", predicate(scope, depth - 1, false),
                           column->text, sub(type));
      case 2:
        return fmt::format("nullif({}, {})", column->text, sub(type));
      default:
        return own_function(scope, type, column->text, depth);
    }
  }

  std::string own_function(const Scope& scope, Type type, const std::string& of, int depth) {
    const auto sub = [&](Type t) { return value(scope, t, depth - 1); };
    switch (type) {
      case Type::kInteger:
        return fmt::format("({} {} {})", of, choices_.below(2) ? "%" : "+", sub(type));
      case Type::kText:
        return choices_.below(2) ? fmt::format("upper({})", of)
                                 : fmt::format("left({} || {}, 20)", of, sub(type));
      case Type::kDecimal:
        return fmt::format("({} - {})::DECIMAL(12, 2)", of, sub(type));
      case Type::kTime:
        return choices_.below(2) ? fmt::format("time_bucket(INTERVAL '1 hour', {})", of)
                                 : fmt::format("({} + INTERVAL '30 minutes')", of);
      case Type::kBoolean:
        return fmt::format("(NOT {})", of);
    }
    return of;
  }

  std::string predicate(const Scope& scope, int depth, bool subqueries) {
    const uint32_t kinds = subqueries && depth > 0 ? 11 : 7;
    const auto& column = any(scope);
    switch (choices_.below(kinds)) {
      default:
        return fmt::format("{} {} {}", column.text, kComparisons[choices_.below(8)],
                           value(scope, column.type, depth));
      case 1:
        return fmt::format("{} IS {}NULL", column.text, choices_.below(2) ? "" : "NOT ");
      case 2:
        return fmt::format("{} {}IN ({}, {})", column.text, choices_.below(2) ? "NOT " : "",
                           literal(column.type, choices_.below(5)),
                           literal(column.type, choices_.below(5)));
      case 3:
        return fmt::format("({} OR {})", predicate(scope, depth - 1, subqueries),
                           predicate(scope, depth - 1, subqueries));
      case 4:
        return fmt::format("NOT ({})", predicate(scope, depth - 1, subqueries));
      case 5:
        return fmt::format("{} BETWEEN {} AND {}", column.text,
                           literal(column.type, choices_.below(5)),
                           value(scope, column.type, depth - 1));
      case 7:
        return exists(scope, depth);
      case 8:
        return in(scope, column, depth);
      case 9:
      case 10: {
        const auto type = static_cast<Type>(choices_.below(3));
        return fmt::format("{} {} {}", value(scope, type, 0), kComparisons[choices_.below(8)],
                           scalar(scope, type, depth));
      }
    }
  }

  // ---- Subqueries ----

  /// " WHERE …" of a subquery over `inner`, correlated with `outer` mostly.
  std::string inner_where(const Scope& inner, const Scope& outer, int depth) {
    std::string text;
    const auto& column = any(outer);
    const auto* own = column_of(inner, column.type);
    if (own && !choices_.one_in(4))
      text = fmt::format("{} {} {}", own->text,
                         choices_.one_in(4) ? kComparisons[choices_.below(8)] : "=", column.text);
    if (choices_.one_in(2))
      text += (text.empty() ? "" : " AND ") + predicate(inner, depth - 1, false);
    return text.empty() ? "" : " WHERE " + text;
  }

  std::string exists(const Scope& outer, int depth) {
    const auto inner = relation(depth - 1);
    return fmt::format("{}EXISTS (SELECT 1 FROM {}{})", choices_.below(2) ? "NOT " : "", inner.text,
                       inner_where(inner.columns, outer, depth));
  }

  std::string in(const Scope& outer, const Column& column, int depth) {
    const auto inner = relation(depth - 1);
    const auto* own = column_of(inner.columns, column.type);
    // A correlated NOT IN is refused: correlated ones stand for themselves.
    const bool correlated = choices_.one_in(6);
    return fmt::format("{} {}IN (SELECT {} FROM {}{})", column.text,
                       choices_.below(2) ? "NOT " : "", own ? own->text : literal(column.type, 0),
                       inner.text,
                       inner_where(inner.columns, correlated ? outer : inner.columns, depth));
  }

  std::string scalar(const Scope& outer, Type type, int depth) {
    const auto inner = relation(depth - 1);
    const auto* own = column_of(inner.columns, type);
    static const char* const kFunctions[] = {"max", "min"};
    std::string call = "count(*)";
    if (type != Type::kInteger || choices_.below(2))
      call = fmt::format("{}({})", kFunctions[choices_.below(2)],
                         own ? own->text : std::string(literal(type, 0)));
    return fmt::format("(SELECT {} FROM {}{})", call, inner.text,
                       inner_where(inner.columns, outer, depth));
  }

  // ---- FROM ----

  std::string alias() { return fmt::format("r{}", aliases_++); }

  /// A table, a common table expression or a subquery, with an alias.
  Made relation(int depth) {
    const uint32_t kind = choices_.below(depth > 0 ? 6 : 4);
    Made out;
    Scope names;
    if (kind == 3 && !ctes_.empty()) {
      const auto& cte = ctes_[choices_.below(static_cast<uint32_t>(ctes_.size()))];
      out.text = cte.text;
      names = cte.columns;
    } else if (kind > 3) {
      auto made = kind == 4 ? select(depth - 1, {}) : set_operation(depth - 1);
      out.text = "(" + made.text + ")";
      names = std::move(made.columns);
    } else {
      out.text = kTables[choices_.below(3)];
      for (const auto& [name, type] : kColumns) names.push_back({name, type});
    }
    const auto as = alias();
    out.text += " " + as;
    for (const auto& [name, type] : names) out.columns.push_back({as + "." + name, type});
    return out;
  }

  std::string join_condition(const Scope& left, const Scope& right, int depth) {
    const auto& column = any(right);
    const auto* partner = column_of(left, column.type);
    Scope both = left;
    both.insert(both.end(), right.begin(), right.end());
    if (!partner) return predicate(both, depth, false);
    const uint32_t kind = choices_.below(8);
    std::string text = fmt::format("{} {} {}", partner->text,
                                   kind == 6   ? "IS NOT DISTINCT FROM"
                                   : kind == 7 ? kComparisons[choices_.below(6)]
                                               : "=",
                                   column.text);
    if (kind == 5) return fmt::format("({} OR {})", text, predicate(both, depth, false));
    if (choices_.one_in(3)) text += " AND " + predicate(both, depth, false);
    return text;
  }

  Made from(int depth) {
    Made out = relation(depth);
    static const char* const kJoins[] = {"JOIN",      "LEFT JOIN", "FULL JOIN", "RIGHT JOIN",
                                         "SEMI JOIN", "ANTI JOIN", "CROSS JOIN"};
    for (uint32_t n = choices_.below(3); n > 0 && joins_ < 3; --n) {
      ++joins_;
      const std::string join = kJoins[choices_.below(7)];
      const auto right = relation(depth - 1);
      out.text += " " + join + " " + right.text;
      if (join != "CROSS JOIN")
        out.text += " ON " + join_condition(out.columns, right.columns, depth - 1);
      if (join != "SEMI JOIN" && join != "ANTI JOIN")
        out.columns.insert(out.columns.end(), right.columns.begin(), right.columns.end());
    }
    return out;
  }

  // ---- SELECT ----

  Column aggregate(const Scope& scope, int depth) {
    const auto& column = any(scope);
    std::string text = "count(*)";
    Type type = Type::kInteger;
    switch (choices_.below(9)) {
      case 1:
        text = fmt::format("count({})", column.text);
        break;
      case 2:
        text = fmt::format("sum({})", value(scope, Type::kInteger, depth));
        break;
      case 3:
        text = fmt::format("sum({})::DECIMAL(12, 2)", value(scope, Type::kDecimal, depth));
        type = Type::kDecimal;
        return {text, type};  // the cast stands where a FILTER would
      case 4:
        text = fmt::format("max({})", column.text);
        type = column.type;
        break;
      case 5:
        text = fmt::format("min({})", column.text);
        type = column.type;
        break;
      case 6:
        text = fmt::format("count(DISTINCT {})", column.text);
        break;
      case 7:
        text = fmt::format("string_agg(DISTINCT {0} || '.', ',' ORDER BY {0} || '.')",
                           value(scope, Type::kText, 0));
        type = Type::kText;
        break;
      case 8:
        text = fmt::format("bool_or({})", value(scope, Type::kBoolean, 0));
        type = Type::kBoolean;
        break;
      default:
        break;
    }
    if (choices_.one_in(4))
      text += fmt::format(" FILTER (WHERE {})", predicate(scope, depth, false));
    return {text, type};
  }

  /// Peers are ordered by every column, so that those which are left are equal.
  Column window(const Scope& scope) {
    const auto& partition = any(scope);
    std::string order;
    for (const auto& column : scope) order += (order.empty() ? "" : ", ") + column.text;
    const auto& of = any(scope);
    const auto over = [&](const std::string& by) {
      return fmt::format(" OVER (PARTITION BY {} ORDER BY {})", partition.text, by);
    };
    switch (choices_.below(6)) {
      case 1:
        return {"rank()" + over(of.text), Type::kInteger};
      case 2:
        return {"dense_rank()" + over(of.text), Type::kInteger};
      case 3:
        return {fmt::format("count(*) OVER (PARTITION BY {})", partition.text), Type::kInteger};
      case 4:
        return {fmt::format("max({})", of.text) + over(any(scope).text), of.type};
      case 5:
        return {fmt::format("lag({})", of.text) + over(order), of.type};
      default:
        return {"row_number()" + over(order), Type::kInteger};
    }
  }

  std::string list_of(const Scope& columns, Scope& names) {
    std::string text;
    for (const auto& [column, type] : columns) {
      const auto name = fmt::format("c{}", names.size());
      text += fmt::format("{}{} AS {}", names.empty() ? "" : ", ", column, name);
      names.push_back({name, type});
    }
    return text;
  }

  /// `wanted`: the types of its columns; empty: any.
  Made select(int depth, const std::vector<Type>& wanted) {
    const auto source = from(depth);
    std::string where;
    for (uint32_t n = choices_.below(3); n > 0; --n)
      where += (where.empty() ? " WHERE " : " AND ") + predicate(source.columns, depth, true);
    Made out;
    Scope columns;
    if (!wanted.empty()) {
      for (const auto type : wanted) columns.push_back({value(source.columns, type, depth), type});
      out.text =
          fmt::format("SELECT {} FROM {}{}", list_of(columns, out.columns), source.text, where);
      return out;
    }
    const uint32_t kind = choices_.below(8);
    if (kind == 3 || kind == 4) return grouped(source, where, depth, kind == 4);
    for (uint32_t n = 1 + choices_.below(4); n > 0; --n) {
      const auto type = any(source.columns).type;
      columns.push_back({value(source.columns, type, depth), type});
    }
    if (kind == 6) columns.push_back(window(source.columns));
    if (kind == 7 && depth > 0) {
      const auto type = static_cast<Type>(choices_.below(3));
      columns.push_back({scalar(source.columns, type, depth), type});
    }
    out.text = fmt::format("SELECT {}{} FROM {}{}", kind == 5 ? "DISTINCT " : "",
                           list_of(columns, out.columns), source.text, where);
    return out;
  }

  Made grouped(const Made& source, const std::string& where, int depth, bool global) {
    Made out;
    Scope columns;
    std::string by;
    for (uint32_t n = global ? 0 : 1 + choices_.below(2); n > 0; --n) {
      const auto type = any(source.columns).type;
      columns.push_back({value(source.columns, type, depth - 1), type});
      by += fmt::format("{}{}", by.empty() ? " GROUP BY " : ", ", columns.size());
    }
    for (uint32_t n = 1 + choices_.below(3); n > 0; --n)
      columns.push_back(aggregate(source.columns, depth - 1));
    out.text =
        fmt::format("SELECT {} FROM {}{}{}", list_of(columns, out.columns), source.text, where, by);
    if (choices_.one_in(4))
      out.text +=
          fmt::format(" HAVING count(*) {} {}", kComparisons[choices_.below(6)], choices_.below(4));
    return out;
  }

  Made set_operation(int depth) {
    static const char* const kOperations[] = {"UNION ALL", "UNION",      "EXCEPT",
                                              "INTERSECT", "EXCEPT ALL", "INTERSECT ALL"};
    auto left = select(depth, {});
    std::vector<Type> types;
    for (const auto& column : left.columns) types.push_back(column.type);
    const auto right = select(depth, types);
    left.text += fmt::format(" {} {}", kOperations[choices_.below(6)], right.text);
    return left;
  }

  Made top() {
    const uint32_t kind = choices_.below(8);
    auto made = kind == 6 ? set_operation(2) : select(2, {});
    if (kind != 7) return made;
    std::string order;
    for (const auto& column : made.columns) order += (order.empty() ? "" : ", ") + column.text;
    made.text = fmt::format("SELECT * FROM ({}) ORDER BY {} LIMIT {}", made.text, order,
                            1 + choices_.below(6));
    return made;
  }

  Choices& choices_;
  std::vector<Made> ctes_;
  uint32_t aliases_ = 0;
  uint32_t joins_ = 0;  // so many at most, or answers take minutes
};

}  // namespace

std::vector<GeneratedTable> generate_tables(std::mt19937_64& random) {
  std::vector<GeneratedTable> tables;
  for (const char* name : kTables) {
    GeneratedTable table{name,
                         fmt::format("CREATE TABLE {}(k INTEGER, i INTEGER, s VARCHAR, "
                                     "d DECIMAL(8, 2), ts TIMESTAMP, f BOOLEAN)",
                                     name),
                         {}};
    for (uint64_t n = random() % 12; n > 0; --n) {
      if (!table.rows.empty() && random() % 6 == 0) {
        table.rows.push_back(table.rows[random() % table.rows.size()]);
        continue;
      }
      std::string row;
      for (const auto& [column, type] : kColumns) {
        const bool null = random() % 5 == 0;
        row += fmt::format("{}{}", row.empty() ? "(" : ", ",
                           null ? "NULL" : literal(type, static_cast<uint32_t>(random() % 5)));
      }
      table.rows.push_back(row + ")");
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

std::string generate_query(Choices& choices) { return Generator(choices).query(); }

}  // namespace millrace::flow
