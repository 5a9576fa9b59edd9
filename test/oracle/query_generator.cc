#include "oracle/query_generator.h"

#include <fmt/format.h>

#include "oracle/query_columns.h"

namespace millrace::flow {

namespace {

constexpr const char* kComparisons[] = {
    "=", "<", "<=", "<>", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"};

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
    const uint32_t kinds = subqueries && depth > 0 ? 12 : 7;
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
      case 11:
        return any_or_all(column, depth);
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

  std::string any_or_all(const Column& column, int depth) {
    const auto inner = relation(depth - 1);
    const auto* own = column_of(inner.columns, column.type);
    return fmt::format("{} {} {} (SELECT {} FROM {}{})", column.text,
                       kComparisons[choices_.below(6)], choices_.below(2) ? "ALL" : "ANY",
                       own ? own->text : literal(column.type, 0), inner.text,
                       inner_where(inner.columns, inner.columns, depth));
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
    const uint32_t kind = choices_.below(depth > 0 ? 8 : 4);
    if (kind > 5) return computed(kind == 7);
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

  /// A table whose rows are put into windows of time, or go with the elements of a list.
  Made computed(bool windows) {
    static const char* const kWindows[] = {
        "TUMBLE({}, ts, INTERVAL '1 hour')",
        "HOP({}, ts, INTERVAL '30 minutes', INTERVAL '1 hour')",
        "SESSION({}, ts, INTERVAL '30 minutes', k)",
        "CUMULATE({}, ts, INTERVAL '6 hours', INTERVAL '1 day')"};
    static const char* const kLists[] = {"unnest([k, i, 1])", "unnest(range(k))",
                                         "unnest(CASE WHEN f THEN [i, NULL] END)",
                                         "unnest(string_split(s, ' '))::VARCHAR"};
    const char* table = kTables[choices_.below(3)];
    const uint32_t which = choices_.below(4);
    const auto as = alias();
    Made out;
    for (const auto& [name, type] : kColumns) out.columns.push_back({as + "." + name, type});
    if (windows) {
      out.text = fmt::format(fmt::runtime(kWindows[which]), table) + " " + as;
      for (const char* bound : {".window_start", ".window_end"})
        out.columns.push_back({as + bound, Type::kTime});
    } else {
      out.text = fmt::format("(SELECT *, {} AS u FROM {}) {}", kLists[which], table, as);
      out.columns.push_back({as + ".u", which == 3 ? Type::kText : Type::kInteger});
    }
    return out;
  }

  /// A right side without ties, each left row with the row that is nearest in time.
  void asof_join(Made& out) {
    const auto* time = column_of(out.columns, Type::kTime);
    const auto* key = column_of(out.columns, Type::kInteger);
    if (!time || !key) return;
    static const char* const kNearest[] = {">=", ">", "<=", "<"};
    const auto as = alias();
    out.text += fmt::format(
        " ASOF {}JOIN (SELECT k, ts, max(i) AS i, min(s) AS s FROM {} GROUP BY k, ts) {} ON {} = "
        "{}.k AND {} {} {}.ts",
        choices_.below(2) ? "LEFT " : "", kTables[choices_.below(3)], as, key->text, as, time->text,
        kNearest[choices_.below(4)], as);
    out.columns.push_back({as + ".i", Type::kInteger});
    out.columns.push_back({as + ".s", Type::kText});
  }

  /// LATERAL: something computed for each row of what stands before it.
  void lateral(Made& out, int depth) {
    const auto inner = relation(depth - 1);
    const auto as = alias();
    const auto& column = any(inner.columns);
    const bool outer = choices_.below(2) == 1;
    out.text += fmt::format("{} (SELECT max({}) AS a, count(*) AS n FROM {}{}) {}{}",
                            outer ? " LEFT JOIN LATERAL" : ", LATERAL", column.text, inner.text,
                            inner_where(inner.columns, out.columns, depth - 1), as,
                            outer ? " ON true" : "");
    out.columns.push_back({as + ".a", column.type});
    out.columns.push_back({as + ".n", Type::kInteger});
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
      const uint32_t kind = choices_.below(9);
      if (kind == 7) {
        asof_join(out);
        continue;
      }
      if (kind == 8) {
        lateral(out, depth);
        continue;
      }
      const std::string join = kJoins[kind];
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
    const uint32_t kind = choices_.below(12);
    if (kind > 8) return ordered_aggregate(scope, column, kind, depth);
    switch (kind) {
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

  /// Of what has an order, or the same value whatever it is.
  Column ordered_aggregate(const Scope& scope, const Column& column, uint32_t kind, int depth) {
    static const char* const kText[] = {"list({0} ORDER BY {0})::VARCHAR",
                                        "list(DISTINCT {0} ORDER BY {0} DESC NULLS LAST)::VARCHAR",
                                        "histogram({0})::VARCHAR", "min({0}, 2)::VARCHAR",
                                        "max({0}, 3)::VARCHAR"};
    static const char* const kSame[] = {"first({0} ORDER BY {0} DESC)", "arg_max({0}, {0})",
                                        "quantile_disc({0}, 0.25)", "arg_min({0}, {0})",
                                        "last({0} ORDER BY {0} NULLS FIRST)"};
    static const char* const kNumber[] = {"sum(DISTINCT {0})", "count_if({0} > 1)", "bit_xor({0})",
                                          "median({0})::INTEGER", "(avg({0}) * 4)::INTEGER"};
    const uint32_t which = choices_.below(5);
    if (kind == 9) return {fmt::format(fmt::runtime(kText[which]), column.text), Type::kText};
    if (kind == 10) {
      if (column.type == Type::kBoolean && which == 2) return {"count(*)", Type::kInteger};
      return {fmt::format(fmt::runtime(kSame[which]), column.text), column.type};
    }
    const auto number = value(scope, Type::kInteger, depth);
    return {fmt::format(fmt::runtime(kNumber[which]), number), Type::kInteger};
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
    const uint32_t kind = choices_.below(13);
    if (kind > 5) return framed(partition, order, of, kind);
    switch (kind) {
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

  Column framed(const Column& partition, const std::string& order, const Column& of,
                uint32_t kind) {
    static const char* const kFrames[] = {
        "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
        "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW",
        "GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING EXCLUDE TIES"};
    const auto over =
        fmt::format(" OVER ({}ORDER BY {}{} {})",
                    choices_.below(3) ? "PARTITION BY " + partition.text + " " : "", order,
                    choices_.below(2) ? " NULLS FIRST" : "", kFrames[choices_.below(6)]);
    switch (kind) {
      case 6:
        return {fmt::format("first_value({})", of.text) + over, of.type};
      case 7:
        return {fmt::format("last_value({} IGNORE NULLS)", of.text) + over, of.type};
      case 8:
        return {fmt::format("nth_value({}, 2)", of.text) + over, of.type};
      case 9:
        return {fmt::format("min({})", of.text) + over, of.type};
      case 10:
        return {fmt::format("lead({}, 2)", of.text) + over, of.type};
      case 11:
        return {"ntile(3)" + over, Type::kInteger};
      default:
        return {fmt::format("count(DISTINCT {})", of.text) + over, Type::kInteger};
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
    const uint32_t kind = choices_.below(9);
    if (kind == 3 || kind == 4) return grouped(source, where, depth, kind == 4);
    if (kind == 8) return grouping_sets(source, where, depth);
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

  Made grouping_sets(const Made& source, const std::string& where, int depth) {
    static const char* const kSets[] = {"ROLLUP ({0}, {1})", "CUBE ({0}, {1})",
                                        "GROUPING SETS (({0}), ({1}), ())",
                                        "GROUPING SETS (({0}, {1}), ({1}))"};
    const auto &first = any(source.columns), &second = any(source.columns);
    Made out;
    Scope columns{first, second};
    columns.push_back({fmt::format("grouping({}, {})", first.text, second.text), Type::kInteger});
    columns.push_back(aggregate(source.columns, depth - 1));
    out.text = fmt::format(
        "SELECT {} FROM {}{} GROUP BY {}", list_of(columns, out.columns), source.text, where,
        fmt::format(fmt::runtime(kSets[choices_.below(4)]), first.text, second.text));
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
    const uint32_t kind = choices_.below(11);
    auto made = kind == 6 ? set_operation(2) : select(2, {});
    if (kind < 7) return made;
    static const char* const kDirections[] = {"", " DESC", " NULLS FIRST", " DESC NULLS LAST"};
    std::string order;
    for (const auto& column : made.columns)
      order += (order.empty() ? "" : ", ") + column.text + kDirections[choices_.below(4)];
    const auto& first = made.columns[0].text;
    const uint32_t limit = 1 + choices_.below(6);
    if (kind == 9)
      made.text = fmt::format(
          "SELECT * FROM ({}) QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {}) <= {}",
          made.text, first, order, limit);
    else if (kind == 10)
      made.text =
          fmt::format("SELECT DISTINCT ON ({}) * FROM ({}) ORDER BY {}", first, made.text, order);
    else
      made.text = fmt::format("SELECT * FROM ({}) ORDER BY {} LIMIT {}{}", made.text, order, limit,
                              kind == 8 ? fmt::format(" OFFSET {}", choices_.below(4)) : "");
    return made;
  }

  Choices& choices_;
  std::vector<Made> ctes_;
  uint32_t aliases_ = 0;
  uint32_t joins_ = 0;  // so many at most, or answers take minutes
};

}  // namespace

std::string generate_query(Choices& choices) { return Generator(choices).query(); }

}  // namespace millrace::flow
