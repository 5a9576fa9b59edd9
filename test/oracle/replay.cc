#include "oracle/replay.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "flow/detail/evaluator.h"
#include "oracle/windows.h"

namespace millrace::flow {

namespace {

constexpr size_t kWanderingEpochs = 14;
// So many epochs of one row; the rest of long tables comes in one epoch.
constexpr size_t kOneRowEpochs = 120;

std::string text_of(const duckdb::vector<duckdb::Value>& row) {
  std::string text;
  for (const auto& value : row) text += value.ToSQLString() + "|";
  return text;
}

bool is_create(const std::string& statement) { return statement.starts_with("CREATE TABLE"); }

}  // namespace

Rows::Rows(const std::vector<std::string>& setup)
    : instance_([] {
        duckdb::DBConfig config;
        config.SetOptionByName("threads", duckdb::Value::INTEGER(1));
        return duckdb::DuckDB(nullptr, &config);
      }()),
      connection_(instance_) {
  run("SET TimeZone = 'UTC'");
  // DuckDB 1.5.6 joins few rows ASOF by a loop and many by sorting them; sorted, a left row without
  // a time meets the last of the right, which is not what `>=` says.
  run("SET asof_loop_join_threshold = 1000000000");
  for (const auto& statement : setup) {
    run(statement);
    if (is_create(statement)) schema_.push_back(statement);
  }
  auto names = run("SELECT table_name FROM duckdb_tables() ORDER BY table_oid");
  for (size_t i = 0; i < names->RowCount(); ++i) read_table(names->GetValue(0, i).ToString());
}

std::unique_ptr<duckdb::MaterializedQueryResult> Rows::run(const std::string& sql) {
  auto result = connection_.Query(sql);
  if (result->HasError()) throw std::runtime_error(sql + ": " + result->GetError());
  return std::unique_ptr<duckdb::MaterializedQueryResult>(result.release());
}

/// Reads the rows, and puts a view of those that are present in the table's place.
void Rows::read_table(const std::string& table) {
  tables_.push_back(table);
  auto result = run(fmt::format("SELECT * FROM {} ORDER BY rowid", table));
  types_[table] = result->types;
  auto& rows = values_[table];
  for (size_t r = 0; r < result->RowCount(); ++r) {
    all_.push_back({table, r});
    auto& row = rows.emplace_back();
    for (size_t c = 0; c < result->ColumnCount(); ++c) row.push_back(result->GetValue(c, r));
  }
  present_[table].assign(rows.size(), false);
  run(fmt::format("ALTER TABLE {0} RENAME TO all_{0}", table));
  run(fmt::format("ALTER TABLE all_{} ADD COLUMN is_present BOOLEAN DEFAULT false", table));
  run(fmt::format("ALTER TABLE all_{} ADD COLUMN row_index BIGINT", table));
  run(fmt::format("UPDATE all_{} SET row_index = rowid", table));
  run(
      fmt::format("CREATE VIEW {0} AS SELECT * EXCLUDE (is_present, row_index) FROM all_{0} "
                  "WHERE is_present",
                  table));
}

void Rows::apply(const std::vector<Change>& changes, Oracle& oracle, bool merged) {
  std::map<std::string, std::vector<Change>> by_table;
  std::map<std::string, std::map<std::string, size_t>> firsts;
  std::map<Row, bool> before;
  for (const auto& change : changes) {
    const Row& row = change.row;
    auto is_present = present_.at(row.table)[row.index];
    before.try_emplace(row, is_present);
    is_present = change.weight > 0;
    auto& of_table = by_table[row.table];
    if (merged) {
      const auto text = text_of(values_.at(row.table)[row.index]);
      const auto [found, is_new] = firsts[row.table].try_emplace(text, of_table.size());
      if (!is_new) {
        of_table[found->second].weight += change.weight;
        continue;
      }
    }
    of_table.push_back(change);
  }
  std::map<std::string, std::vector<size_t>> turned;
  for (const auto& [row, was] : before)
    if (was != present(row)) turned[row.table].push_back(row.index);
  for (const auto& [table, indexes] : turned)
    run(fmt::format("UPDATE all_{} SET is_present = NOT is_present WHERE row_index IN ({})", table,
                    fmt::join(indexes, ",")));
  for (const auto& [table, of_table] : by_table) {
    for (size_t begin = 0; begin < of_table.size(); begin += STANDARD_VECTOR_SIZE) {
      const size_t count = std::min<size_t>(STANDARD_VECTOR_SIZE, of_table.size() - begin);
      auto delta = std::make_shared<Delta>();
      make_chunk(delta->rows, types_.at(table), count);
      for (size_t i = 0; i < count; ++i) {
        const auto& [row, weight] = of_table[begin + i];
        const auto& values = values_.at(table)[row.index];
        for (size_t c = 0; c < values.size(); ++c) delta->rows.SetValue(c, i, values[c]);
        delta->weights.push_back(weight);
      }
      delta->rows.SetCardinality(count);
      oracle.give(table, std::move(delta));
    }
  }
}

std::map<std::string, int64_t> Rows::answer(const std::string& query) {
  std::map<std::string, int64_t> rows;
  auto result = run(query);
  while (auto chunk = result->Fetch())
    for (size_t i = 0; i < chunk->size(); ++i) ++rows[row_text(*chunk, i)];
  return rows;
}

namespace {

const char* name_of(Walk walk) {
  switch (walk) {
    case Walk::kWhole:
      return "whole";
    case Walk::kOneByOne:
      return "one by one";
    case Walk::kGrowing:
      return "growing";
    case Walk::kWandering:
      return "wandering";
  }
  return "";
}

using Epochs = std::vector<std::vector<Rows::Change>>;

Epochs growing(std::vector<Rows::Row> order, bool one_by_one, std::mt19937_64& random) {
  Epochs epochs(1);  // the first epoch is empty
  for (size_t at = 0; at < order.size();) {
    size_t count = 1 + random() % std::max<size_t>(1, order.size() / 4);
    if (one_by_one) count = at < kOneRowEpochs ? 1 : order.size();
    auto& epoch = epochs.emplace_back();
    for (; count > 0 && at < order.size(); --count, ++at) epoch.push_back({order[at], 1});
  }
  return epochs;
}

Epochs wandering(std::vector<Rows::Row> order, const std::set<std::string>& topics,
                 std::mt19937_64& random) {
  Epochs epochs(kWanderingEpochs);
  std::set<Rows::Row> present;
  for (size_t i = 1; i + 1 < epochs.size(); ++i) {
    auto& epoch = epochs[i];
    const size_t sizes[] = {1, 2, order.size() / 8, order.size() / 3, order.size()};
    const bool only_fewer = random() % 5 == 0;
    std::shuffle(order.begin(), order.end(), random);
    for (size_t n = 0; n < std::min(order.size(), sizes[random() % 5]); ++n) {
      const auto& row = order[n];
      const bool stays = topics.contains(row.table);
      const bool is_present = present.contains(row);
      if (is_present ? stays : only_fewer) continue;
      const int64_t weight = is_present ? -1 : 1;
      epoch.push_back({row, weight});
      // There and back within the epoch; and sometimes there again.
      if (!stays && random() % 4 == 0) {
        epoch.push_back({row, -weight});
        if (random() % 2) continue;
        epoch.push_back({row, weight});
      }
      is_present ? (void)present.erase(row) : (void)present.insert(row);
    }
  }
  for (const auto& row : order)
    if (!present.contains(row)) epochs.back().push_back({row, 1});
  return epochs;
}

}  // namespace

Replay replay_of(Walk walk, const Rows& rows, uint64_t seed) {
  std::mt19937_64 random(seed);
  Replay replay;
  // Each file is compared both ways, whatever the seed.
  const bool spread = walk == Walk::kOneByOne || (walk != Walk::kWhole && random() % 2);
  replay.shares = spread ? 3 : 1;
  replay.name = fmt::format("walk: {}, seed {}, shares: {}", name_of(walk), seed, replay.shares);
  replay.merged = walk == Walk::kWhole;
  auto order = rows.all();
  std::shuffle(order.begin(), order.end(), random);
  if (walk == Walk::kWandering) {
    auto& topics = replay.ways[0];
    if (seed % 2)
      for (const auto& table : rows.tables())
        if (random() % 2) topics.insert(table);
    replay.epochs = wandering(std::move(order), topics, random);
  } else if (walk == Walk::kWhole) {
    replay.epochs.resize(3);
    for (size_t i = 0; i < replay.epochs.size(); ++i)
      for (const auto& row : order) replay.epochs[i].push_back({row, i % 2 ? -1 : 1});
  } else {  // where no row goes, views over tables and over topics are compared side by side
    replay.epochs = growing(std::move(order), walk == Walk::kOneByOne, random);
    replay.ways.emplace_back(rows.tables().begin(), rows.tables().end());
  }
  return replay;
}

namespace {

/// One query of a comparison: a view for each way in which the tables are taken.
struct Compared {
  std::string plain;  // as DuckDB is asked
  std::vector<std::unique_ptr<Oracle::View>> views;
  std::string wrong;  // not empty: it is left alone from then on
};

void check_answer(Compared& compared, Rows& rows) {
  try {
    const auto answer = rows.answer(compared.plain);
    for (size_t i = 0; i < compared.views.size() && compared.wrong.empty(); ++i) {
      const auto differs = difference(answer, compared.views[i]->rows);
      if (differs.empty()) continue;
      compared.wrong = (i > 0 ? "as topics\n" : "") + differs + compared.views[i]->flow->describe();
    }
  } catch (const std::exception& thrown) {
    compared.wrong = std::string("DuckDB: ") + thrown.what();
  }
}

}  // namespace

std::vector<Wrong> compare(Rows& rows, const std::vector<std::string>& queries,
                           const Replay& replay) {
  Oracle oracle(rows.schema(), {});
  oracle.set_shares(replay.shares);
  std::vector<Compared> all;
  for (const auto& query : queries) {
    auto& compared = all.emplace_back(Compared{expand_windows(query), {}, {}});
    for (const auto& topics : replay.ways) {
      oracle.set_topics(topics);
      auto view = oracle.translate(query);
      if (!view) compared.wrong = "refused: " + view.error().text;
      if (view) compared.views.push_back(std::move(*view));
    }
  }
  const size_t epochs = replay.epochs.size();
  const size_t every = (epochs + replay.compared_max - 1) / replay.compared_max;
  for (size_t i = 0; i < epochs; ++i) {
    rows.apply(replay.epochs[i], oracle, replay.merged);
    for (auto& compared : all) {
      if (!compared.wrong.empty()) continue;
      for (auto& view : compared.views)
        if (auto stepped = oracle.step(*view, i + 1); !stepped)
          compared.wrong = "error: " + stepped.error().text + "\n" + view->flow->describe();
        else if (!view->set_aside.empty())
          compared.wrong = "set aside: " + view->set_aside[0] + "\n" + view->flow->describe();
      if (compared.wrong.empty() && (epochs - 1 - i) % every == 0) check_answer(compared, rows);
      if (!compared.wrong.empty())
        compared.wrong = fmt::format("{}, epoch {} of {}, topics: {}\n{}", replay.name, i + 1,
                                     epochs, replay.ways, compared.wrong);
    }
    oracle.next_epoch();
  }
  std::vector<Wrong> wrong;
  for (size_t i = 0; i < all.size(); ++i)
    if (!all[i].wrong.empty()) wrong.push_back({i, std::move(all[i].wrong)});
  return wrong;
}

std::vector<Wrong> compare(const std::vector<std::string>& setup,
                           const std::vector<std::string>& queries, Walk walk, uint64_t seed) {
  Rows rows(setup);
  return compare(rows, queries, replay_of(walk, rows, seed));
}

uint64_t seed_of_run() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("MR_SEED");
    const uint64_t made = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    fmt::print("MR_SEED={}\n", made);
    return made;
  }();
  return seed;
}

}  // namespace millrace::flow
