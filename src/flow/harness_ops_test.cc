#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <duckdb/catalog/catalog_entry/table_catalog_entry.hpp>
#include <duckdb/main/client_context.hpp>
#include <duckdb/optimizer/optimizer.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/planner/operator/logical_get.hpp>
#include <duckdb/planner/planner.hpp>

#include "flow/detail/evaluator.h"
#include "flow/detail/lanes.h"
#include "flow/detail/ops_harness.h"
#include "flow/detail/plan_translator.h"
#include "flow/detail/state_stream.h"
#include "sql/clock_conditions.h"
#include "sql/format.h"
#include "sql/windows.h"

namespace millrace::flow {

namespace {

constexpr const char* kDisabledPasses =
    "statistics_propagation,compressed_materialization,column_lifetime,build_side_probe_side,"
    "join_filter_pushdown,late_materialization,top_n_window_elimination";

/// What a PlannedQuery keeps alive.
struct Planned {
  std::unique_ptr<duckdb::Connection> connection;
  std::unique_ptr<duckdb::Planner> planner;
  ~Planned() { connection->Rollback(); }
};

Result<sql::PlannedQuery> plan(duckdb::DuckDB& instance, const std::string& query) {
  try {
    auto planned = std::make_shared<Planned>();
    planned->connection = std::make_unique<duckdb::Connection>(instance);
    auto& connection = *planned->connection;
    connection.Query(
        fmt::format("SET TimeZone='UTC'; SET disabled_optimizers='{}'", kDisabledPasses));
    connection.BeginTransaction();
    duckdb::Parser parser(connection.context->GetParserOptions());
    parser.ParseQuery(query);
    sql::rewrite_windows(*parser.statements[0], sql::WindowsFor::kView);
    planned->planner = std::make_unique<duckdb::Planner>(*connection.context);
    auto& planner = *planned->planner;
    planner.CreatePlan(std::move(parser.statements[0]));
    MR_TRY(sql::mark_clock_conditions(*connection.context, *planner.plan));
    duckdb::Optimizer optimizer(*planner.binder, *connection.context);
    sql::PlannedQuery out;
    out.context = connection.context.get();
    out.names = {planner.names.begin(), planner.names.end()};
    out.types = {planner.types.begin(), planner.types.end()};
    out.plan = optimizer.Optimize(std::move(planner.plan));
    out.keep_alive = std::move(planned);
    return out;
  } catch (const std::exception& thrown) {
    return library_error(thrown, "plan");
  }
}

std::string value_text(const duckdb::Value& value) {
  if (value.IsNull()) return "NULL";
  switch (value.type().id()) {
    case duckdb::LogicalTypeId::DOUBLE:
    case duckdb::LogicalTypeId::FLOAT: {
      const double number = value.GetValue<double>();
      return number == 0 ? "0" : fmt::format("{:.9g}", number);
    }
    default:
      return value.ToString();
  }
}

/// To the last bit, and in order.
std::string exact_text(const DeltaStream& stream) {
  std::string text;
  for (const auto& chunk : stream.chunks)
    for (size_t row = 0; row < chunk->weights.size(); ++row) {
      text += fmt::format("{:+}", chunk->weights[row]);
      for (size_t c = 0; c < chunk->rows.ColumnCount(); ++c)
        text += " | " + chunk->rows.GetValue(c, row).ToString();
      text += '\n';
    }
  for (const auto& frontier : stream.frontiers)
    text += fmt::format("{} from {}\n", frontier.column, frontier.time_us);
  return text;
}

}  // namespace

std::string row_text(const duckdb::DataChunk& chunk, size_t row) {
  std::string text;
  for (size_t c = 0; c < chunk.ColumnCount(); ++c)
    text += (c == 0 ? "" : " | ") + value_text(chunk.GetValue(c, row));
  return text;
}

std::string difference(const std::map<std::string, int64_t>& expected,
                       const std::map<std::string, int64_t>& got) {
  std::string text;
  size_t shown = 0;
  const auto report = [&](const std::string& row, int64_t wanted, int64_t is) {
    if (wanted == is || shown++ >= 5) return;
    text += fmt::format("{} x{} expected, x{} got\n", row, wanted, is);
  };
  for (const auto& [row, count] : expected) report(row, count, got.contains(row) ? got.at(row) : 0);
  for (const auto& [row, count] : got)
    if (!expected.contains(row)) report(row, 0, count);
  return text;
}

Oracle::Oracle(const std::vector<std::string>& schema, std::set<std::string> topics)
    : topics_(std::move(topics)) {
  duckdb::DBConfig config;
  config.SetOptionByName("threads", duckdb::Value::INTEGER(1));
  instance_ = std::make_unique<duckdb::DuckDB>(nullptr, &config);
  connection_ = std::make_unique<duckdb::Connection>(*instance_);
  planning_ = std::make_unique<duckdb::DuckDB>(nullptr, &config);
  sql::register_window_functions(*planning_);
  duckdb::Connection planning(*planning_);
  for (const auto& statement : schema) {
    run(statement);
    planning.Query(statement);
  }
  auto names = run("SELECT table_name FROM duckdb_tables() ORDER BY 1");
  for (size_t i = 0; i < names->RowCount(); ++i) {
    Table table;
    table.object.name = names->GetValue(0, i).ToString();
    auto columns =
        run(fmt::format("SELECT column_name FROM duckdb_columns() WHERE table_name = "
                        "'{}' ORDER BY column_index",
                        table.object.name));
    for (size_t c = 0; c < columns->RowCount(); ++c)
      table.columns.push_back(columns->GetValue(0, c).ToString());
    tables_[table.object.name] = std::move(table);
  }
}

Oracle::~Oracle() = default;

std::unique_ptr<duckdb::MaterializedQueryResult> Oracle::run(const std::string& sql) {
  auto result = connection_->Query(sql);
  if (result->HasError()) throw std::runtime_error(sql + ": " + result->GetError());
  return std::unique_ptr<duckdb::MaterializedQueryResult>(result.release());
}

Result<std::unique_ptr<Oracle::View>> Oracle::translate(const std::string& query) {
  auto view = std::make_unique<View>();
  view->query = query;
  view->topics = topics_;
  view->shares = shares_;
  MR_TRY(view->flow, make_flow(*view));
  return view;
}

Result<std::unique_ptr<Dataflow>> Oracle::make_flow(const View& view) {
  std::vector<sql::PlannedQuery> plans;
  for (size_t i = 0; i < view.shares; ++i) {
    MR_TRY(auto planned, plan(*planning_, view.query));
    plans.push_back(std::move(planned));
  }
  for (auto& [name, table] : tables_)
    table.object.kind = view.topics.contains(name) ? catalog::Kind::kTopic : catalog::Kind::kTable;
  const ObjectFinder finder = [this](const duckdb::LogicalOperator& op) -> const catalog::Object* {
    const auto table = op.Cast<duckdb::LogicalGet>().GetTable();
    return table ? &tables_.at(table->name).object : nullptr;
  };
  if (view.shares > 1 && !lanes_) lanes_ = std::make_unique<Lanes>(2);
  return flow::translate(std::move(plans), finder, Emit::kChanges, {lanes_.get(), 0});
}

void Oracle::freeze(View& view, uint64_t epoch) {
  view.twin.reset();
  if (!view.flow->can_save()) return;
  view.saving = std::make_unique<Saving>();
  view.flow->freeze();
  for (uint64_t parts = epoch * 7919 % 8 * 5; parts > 0; --parts)
    view.flow->save_some(view.saving->out, 100);
}

Result<> Oracle::reload_twin(View& view) {
  const auto saving = std::exchange(view.saving, nullptr);
  while (!view.flow->save_some(saving->out, 100)) continue;
  saving->out.finish();
  auto& blocks = saving->blocks;
  MR_TRY(view.twin, make_flow(view));
  StateReader in([&]() -> Result<std::string> {
    if (blocks.empty()) return std::string();
    auto block = std::move(blocks.front());
    blocks.pop_front();
    return block;
  });
  MR_TRY(view.twin->load(in));
  EXPECT_TRUE(blocks.empty()) << view.query << ": more was saved than loaded";
  return {};
}

void Oracle::change(Table& table, const std::string& ids, int64_t weight) {
  auto result =
      run(fmt::format("SELECT * FROM {} WHERE id IN ({}) ORDER BY rowid", table.object.name, ids));
  while (auto chunk = result->Fetch()) {
    auto delta = std::make_shared<Delta>();
    make_chunk(delta->rows, chunk->GetTypes(), chunk->size());
    chunk->Copy(delta->rows);
    delta->weights.assign(chunk->size(), weight);
    table.changes.push_back(std::move(delta));
  }
}

void Oracle::give(const std::string& table, std::shared_ptr<const Delta> changes) {
  tables_.at(table).changes.push_back(std::move(changes));
}

void Oracle::insert(const std::string& table, const std::string& values, const std::string& ids) {
  run(fmt::format("INSERT INTO {} VALUES {}", table, values));
  change(tables_.at(table), ids, 1);
}

void Oracle::remove(const std::string& table, const std::string& ids) {
  change(tables_.at(table), ids, -1);
  run(fmt::format("DELETE FROM {} WHERE id IN ({})", table, ids));
}

void Oracle::advance(const std::string& table, const std::string& column,
                     const std::string& timestamp) {
  tables_.at(table).frontiers[column] = duckdb::Timestamp::FromString(timestamp, false).value;
}

namespace {

/// A column of the rows, or a field inside one, as a decoder gives it.
duckdb::Vector field_of(duckdb::Vector column, std::span<const size_t> fields, size_t rows) {
  if (fields.empty()) return column;
  column.Flatten(rows);
  duckdb::Vector field(*duckdb::StructVector::GetEntries(column)[fields[0]]);
  return field_of(std::move(field), fields.subspan(1), rows);
}
duckdb::Vector column_of(const duckdb::DataChunk& rows, size_t number) {
  const auto [column, fields] = sql::read_field_column(number);
  duckdb::Vector whole(const_cast<duckdb::Vector&>(rows.data[column]));
  return field_of(std::move(whole), fields, rows.size());
}

}  // namespace

Result<> Oracle::step(View& view, uint64_t epoch) {
  std::vector<DeltaStream> inputs;
  for (const auto& input : view.flow->inputs()) {
    const auto& table = tables_.at(input.object.name);
    DeltaStream stream;
    for (const auto& change : table.changes) {
      auto delta = std::make_shared<Delta>();
      duckdb::vector<duckdb::LogicalType> types(input.types.begin(), input.types.end());
      delta->rows.InitializeEmpty(types);
      for (size_t i = 0; i < input.columns.size(); ++i)
        delta->rows.data[i].Reference(column_of(change->rows, input.columns[i]));
      delta->rows.SetCardinality(change->rows.size());
      delta->weights = change->weights;
      stream.chunks.push_back(std::move(delta));
    }
    for (size_t i = 0; i < input.columns.size(); ++i) {
      const auto found =
          table.frontiers.find(table.columns.at(sql::read_field_column(input.columns[i]).column));
      if (found != table.frontiers.end()) stream.frontiers.push_back({i, found->second});
    }
    inputs.push_back(std::move(stream));
  }
  DeltaStream out;
  MR_TRY(view.flow->step({epoch, clock_us_}, inputs, out));
  if (view.saving) MR_TRY(reload_twin(view));
  if (view.twin) {
    DeltaStream again;
    MR_TRY(view.twin->step({epoch, clock_us_}, inputs, again));
    EXPECT_EQ(exact_text(out), exact_text(again)) << view.query << ": not the same after a load";
    EXPECT_EQ(view.flow->late_rows(), view.twin->late_rows()) << view.query;
  }
  if (epoch % 3 == 0) freeze(view, epoch);
  view.frontiers = out.frontiers;
  view.changes = out.row_count();
  for (const auto& error : out.errors) view.set_aside.push_back(error.reason);
  for (const auto& chunk : out.chunks) {
    EXPECT_EQ(chunk->rows.size(), chunk->weights.size());
    EXPECT_LE(chunk->weights.size(), STANDARD_VECTOR_SIZE);
    for (size_t i = 0; i < chunk->weights.size(); ++i) {
      const auto text = row_text(chunk->rows, i);
      EXPECT_NE(chunk->weights[i], 0) << text;
      if (view.flow->append_only()) EXPECT_GT(chunk->weights[i], 0) << text;
      auto& total = view.rows[text];
      total += chunk->weights[i];
      if (total == 0) view.rows.erase(text);
    }
  }
  return {};
}

void Oracle::next_epoch() {
  for (auto& [name, table] : tables_) table.changes.clear();
}

std::map<std::string, int64_t> Oracle::answer(const std::string& query) {
  std::map<std::string, int64_t> rows;
  auto result = run(query);
  while (auto chunk = result->Fetch())
    for (size_t i = 0; i < chunk->size(); ++i) ++rows[row_text(*chunk, i)];
  return rows;
}

}  // namespace millrace::flow
