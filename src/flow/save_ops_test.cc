#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flow/detail/ops_harness.h"

// That a view's state can be saved, aggregate by aggregate; that what was loaded answers to the bit
// as what was saved is part of every test with an Oracle (ops_harness.h).

namespace millrace::flow {
namespace {

const std::vector<std::string> kSchema = {
    "CREATE TABLE a(id BIGINT, k INTEGER, s VARCHAR, x DOUBLE, l INTEGER[])"};

/// Epochs of rows that come and, of a table, go; whether the last state could be saved.
bool saved(const std::string& aggregates, bool append_only) {
  Oracle oracle(kSchema, append_only ? std::set<std::string>{"a"} : std::set<std::string>());
  auto view = oracle.translate(fmt::format("SELECT k, {} FROM a GROUP BY k", aggregates));
  EXPECT_TRUE(view) << aggregates << ": " << view.error().text;
  if (!view) return false;
  int64_t next = 0;
  for (uint64_t epoch = 1; epoch <= 7; ++epoch) {
    std::string values, ids;
    for (int i = 0; i < 40; ++i, ++next) {
      values +=
          fmt::format("{}({}, {}, {}, {}, [{}, NULL])", i == 0 ? "" : ", ", next, next * 7 % 11,
                      next % 5 == 0 ? "NULL" : fmt::format("'{}'", std::string(next % 23, 'x')),
                      next % 9 == 0 ? "NULL" : fmt::format("{} / 7.0", next % 90), next % 3);
      ids += fmt::format("{}{}", i == 0 ? "" : ", ", next);
    }
    oracle.insert("a", values, ids);
    if (!append_only && epoch % 2 == 0)
      oracle.remove("a", fmt::format("{}, {}, {}", next - 70, next - 60, next - 1));
    const auto stepped = oracle.step(**view, epoch);
    EXPECT_TRUE(stepped) << aggregates << ": " << stepped.error().text;
    EXPECT_EQ(difference(oracle.answer((*view)->query), (*view)->rows), "") << aggregates;
    oracle.next_epoch();
  }
  EXPECT_EQ((*view)->twin != nullptr, (*view)->flow->can_save());
  return (*view)->flow->can_save();
}

TEST(SavedState, OfTheseAggregatesComesBackWhetherRowsAreRetractedOrNot) {
  for (const char* one : {"count(*)",
                          "count(s)",
                          "sum(id)",
                          "sum(x)",
                          "avg(x)",
                          "avg(id)",
                          "min(s)",
                          "max(s)",
                          "min(x)",
                          "max(l)",
                          "any_value(s)",
                          "bool_and(x > 3)",
                          "stddev(x)",
                          "corr(x, id)",
                          "skewness(x)",
                          "fsum(x)",
                          "product(id % 3)",
                          "approx_count_distinct(s)",
                          "count(DISTINCT s)",
                          "sum(DISTINCT x)",
                          "string_agg(s, ';' ORDER BY id)",
                          "list(l ORDER BY id)",
                          "arg_max(x, id)",
                          "arg_min(id, x)",
                          "count(*) FILTER (WHERE x > 3)",
                          "min(s) FILTER (WHERE x > 90)"}) {
    EXPECT_TRUE(saved(one, true)) << one << " of a topic";
    EXPECT_TRUE(saved(one, false)) << one << " of a table";
  }
  // Without an ORDER BY the answer is DuckDB's only while rows come in its order.
  for (const char* one : {"list(s)", "string_agg(s, ';')", "list(DISTINCT k)"})
    EXPECT_TRUE(saved(one, true)) << one;
}

TEST(SavedState, OfTheseComesFromRowsThatAreKept) {
  for (const char* one : {"median(x)", "median(id % 20)", "median(s)", "quantile_disc(s, 0.5)",
                          "quantile_cont(x, [0.1, 0.9])", "mad(x)", "mode(k)", "histogram(id % 5)",
                          "arg_max(s, id)", "min_by(s, x)", "arg_min_null(s, x)", "entropy(s)",
                          "entropy(repeat(((id // 11) % 17)::VARCHAR, 9000))",
                          "first(x ORDER BY id)", "arg_max(DISTINCT s, id) FILTER (WHERE x > 3)"}) {
    EXPECT_TRUE(saved(one, false)) << one << " of a table";
    EXPECT_TRUE(saved(one, true)) << one << " of a topic";
  }
  for (const char* one : {"first(s)", "last(s)", "first(s) FILTER (WHERE x > 3)"})
    EXPECT_TRUE(saved(one, true)) << one;
}

/// Where rows are taken back, a change costs the logarithm of its group and not the group, however
/// large it is; what that is for one, ranked_rows_test counts.
TEST(SkewedGroup, KeepsItsRowsInOrderWhereSomeOfThemDecide) {
  for (const char* one : {"min(x)", "max(s)", "arg_min(s, x)", "arg_max(id, x)", "first(s)",
                          "median(x)", "max(DISTINCT x) FILTER (WHERE id > 3)", "mode(s)",
                          "quantile_cont(x, [0.1, 0.9])", "quantile_disc(s, 0.25)"}) {
    Oracle oracle(kSchema, {});
    const auto view = oracle.translate(fmt::format("SELECT k, {} FROM a GROUP BY k", one));
    ASSERT_TRUE(view) << one;
    EXPECT_NE((*view)->flow->describe().find("[rows kept in order]"), std::string::npos) << one;
  }
}

/// Of values that are there 3, 6, 9... times some of the most frequent go, and come again.
TEST(SkewedGroup, KnowsItsMostFrequentRow) {
  Oracle oracle(kSchema, {});
  const auto view = oracle.translate("SELECT mode(k), mode(s), mode(DISTINCT s) IS NULL FROM a");
  ASSERT_TRUE(view);
  std::string values, ids;
  int64_t next = 0;
  for (int value = 1; value <= 12; ++value) {
    for (int copy = 0; copy < 3 * value; ++copy, ++next) {
      values +=
          fmt::format("{}({}, {}, 'v{}', 0, NULL)", next == 0 ? "" : ", ", next, value, value);
      ids += fmt::format("{}{}", next == 0 ? "" : ", ", next);
    }
  }
  oracle.insert("a", values, ids);
  const auto step = [&](uint64_t epoch, const std::string& most) {
    ASSERT_TRUE(oracle.step(**view, epoch));
    EXPECT_EQ(difference(oracle.answer((*view)->query), (*view)->rows), "");
    EXPECT_TRUE((*view)->rows.contains(most)) << (*view)->rows.begin()->first;
    oracle.next_epoch();
  };
  step(1, "12 | v12 | false");
  oracle.remove("a", fmt::format("{}, {}, {}, {}", next - 1, next - 2, next - 3, next - 4));
  step(2, "11 | v11 | false");
  for (int64_t gone = next - 36 - 33; gone < next - 36; ++gone)
    oracle.remove("a", fmt::format("{}", gone));
  step(3, "12 | v12 | false");
  oracle.insert("a",
                "(900, 10, 'v10', 0, NULL), (901, 10, 'v10', 0, NULL), (902, 10, 'v10', 0, NULL)",
                "900, 901, 902");
  step(4, "10 | v10 | false");
  step(5, "10 | v10 | false");
}

/// What DuckDB's sketches hold, when they hold less than has come.
TEST(SavedState, OfSketchesComesBack) {
  for (const char* one :
       {"approx_quantile(x, 0.5)", "approx_quantile(id, [0.01, 0.5, 0.99])",
        "approx_quantile(make_date(2020, 1, 1) + id::INTEGER % 400, 0.25)", "approx_top_k(s, 3)",
        "approx_top_k(repeat(s, 5), 2)", "approx_top_k(id % 40, 2)", "reservoir_quantile(id, 0.5)",
        "reservoir_quantile(x, [0.1, 0.9], 7)", "arg_min(s, id, 3)", "arg_max(x, id, 40)",
        "arg_max(id % 5, id % 5, 3)", "max_by(l, id, 2)", "min_by(id, [id, 3], 4)",
        "arg_min(id::SMALLINT, make_date(2020, 1, 1) + id::INTEGER, 2)",
        "arg_max(id, repeat('y', 20) || lpad(id::VARCHAR, 6, '0'), 3)", "argmin(k, x / 3, 1)"}) {
    EXPECT_TRUE(saved(one, true)) << one << " of a topic";
    EXPECT_TRUE(saved(one, false)) << one << " of a table";
  }
  EXPECT_TRUE(saved("approx_top_k(l, 2)", true));  // of values that tie, those that came first
}

TEST(SavedState, OfSketchesComesBackWhenTheyAreFull) {
  Oracle oracle(kSchema, {"a"});
  const auto view = oracle.translate(
      "SELECT k, approx_quantile(x, [0.1, 0.5, 0.999]), approx_top_k(s, 3), approx_top_k(id % 97, "
      "2), reservoir_quantile(id, 0.5, 100) FROM a GROUP BY k");
  ASSERT_TRUE(view);
  for (int64_t epoch = 1, next = 0; epoch <= 7; ++epoch) {
    std::string values, ids;
    for (int i = 0; i < 800; ++i, ++next) {
      const auto place = next * 7919 % 10'007;
      values += fmt::format("{}({}, {}, '{} {}', {} / 7.0, NULL)", i == 0 ? "" : ", ", next,
                            next % 3, "a text that is not short", place * place % 83, place);
      ids += fmt::format("{}{}", i == 0 ? "" : ", ", next);
    }
    oracle.insert("a", values, ids);
    ASSERT_TRUE(oracle.step(**view, static_cast<uint64_t>(epoch)));
    EXPECT_EQ(difference(oracle.answer((*view)->query), (*view)->rows), "");
    oracle.next_epoch();
  }
  EXPECT_NE((*view)->twin, nullptr);
}

TEST(SavedState, OfTheseIsRefused) {
  for (const bool append_only : {true, false}) EXPECT_FALSE(saved("entropy(x)", append_only));
}

}  // namespace
}  // namespace millrace::flow
