#include "sql/detail/planning.h"

#include <fmt/format.h>

#include <duckdb/main/config.hpp>
#include <duckdb/optimizer/optimizer.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/planner/binder.hpp>
#include <duckdb/planner/operator/logical_get.hpp>
#include <duckdb/planner/planner.hpp>
#include <set>

#include "sql/clock_conditions.h"
#include "sql/detail/errors.h"
#include "sql/detail/parse.h"
#include "sql/detail/scan.h"
#include "sql/detail/storage.h"

namespace millrace::sql {
namespace {

/// What a plan's expressions need, in the order of its end: the plan's binder, then the
/// transaction and its connection, then the instance.
struct PlanSession {
  explicit PlanSession(std::shared_ptr<duckdb::DuckDB> i)
      : instance(std::move(i)), connection(*instance) {
    use_public(*connection.context);
    connection.BeginTransaction();
  }
  std::shared_ptr<duckdb::DuckDB> instance;
  duckdb::Connection connection;
  std::unique_ptr<duckdb::Planner> planner;
};

/// Makes every scan's column ids index Relation::columns(), hidden columns included, and collects
/// what is read.
void settle_scans(duckdb::LogicalOperator& op, std::set<std::string>& inputs) {
  for (auto& child : op.children) settle_scans(*child, inputs);
  const auto* object = scanned_object(op);
  if (!object) return;
  inputs.insert(object->name);
  auto& get = op.Cast<duckdb::LogicalGet>();
  const auto& columns = get.bind_data->Cast<ScanBind>().entry.relation_columns();
  for (size_t i = get.names.size(); i < columns.size(); ++i) {
    get.names.push_back(columns[i].name);
    get.returned_types.push_back(columns[i].type);
  }
  if (get.GetColumnIds().empty()) get.AddColumnId(0);
  for (auto& id : get.GetMutableColumnIds()) {
    const auto column = relation_column_of(id.GetPrimaryIndex());
    if (column != id.GetPrimaryIndex()) id = duckdb::ColumnIndex(column);
  }
}

Error not_supported(const duckdb::ErrorData& data) {
  auto error = to_error(data);
  using Type = duckdb::ExceptionType;
  if (data.Type() == Type::INTERNAL || data.Type() == Type::FATAL) {
    error.code = ErrorCode::kNotSupported;
    error.text = "DuckDB cannot plan this query as a view: " + error.text;
  }
  return error;
}

}  // namespace

std::shared_ptr<duckdb::DuckDB> ViewPlanner::instance() {
  std::lock_guard lock(mutex_);
  if (!instance_) instance_ = open_instance(core_, {.threads = 1, .planning = true});
  return instance_;
}

void ViewPlanner::forget(const std::shared_ptr<duckdb::DuckDB>& instance) {
  std::lock_guard lock(mutex_);
  if (instance_ == instance) instance_.reset();
}

Result<PlannedQuery> ViewPlanner::plan(const std::string& query) {
  std::shared_ptr<duckdb::DuckDB> used;
  try {
    used = instance();
    auto session = std::make_shared<PlanSession>(used);
    auto& context = *session->connection.context;
    auto select = parse_select(query);
    session->planner = std::make_unique<duckdb::Planner>(context);
    auto& planner = *session->planner;
    planner.CreatePlan(std::move(select));
    if (!planner.value_map.empty()) {
      return Error{ErrorCode::kNotSupported, "a view's query cannot have parameters"};
    }
    PlannedQuery result;
    result.names.assign(planner.names.begin(), planner.names.end());
    result.types.assign(planner.types.begin(), planner.types.end());
    MR_TRY(mark_clock_conditions(context, *planner.plan));
    duckdb::Optimizer optimizer(*planner.binder, context);
    result.plan = optimizer.Optimize(std::move(planner.plan));
    std::set<std::string> inputs;
    settle_scans(*result.plan, inputs);
    result.plan->ResolveOperatorTypes();
    result.inputs.assign(inputs.begin(), inputs.end());
    result.context = &context;
    result.keep_alive = std::move(session);
    return result;
  } catch (const std::exception& exception) {
    const duckdb::ErrorData data(exception);
    // An internal error leaves the instance unusable; the next query gets a new one.
    if (data.Type() == duckdb::ExceptionType::INTERNAL ||
        data.Type() == duckdb::ExceptionType::FATAL) {
      forget(used);
    }
    return not_supported(data);
  }
}

Result<> ViewPlanner::check_function_name(const std::string& name) {
  return guarded([&]() -> Result<> {
    PlanSession session(instance());
    auto& context = *session.connection.context;
    const duckdb::EntryLookupInfo lookup(duckdb::CatalogType::SCALAR_FUNCTION_ENTRY, name);
    if (!duckdb::Catalog::GetSystemCatalog(context).GetEntry(
            context, DEFAULT_SCHEMA, lookup, duckdb::OnEntryNotFound::RETURN_NULL)) {
      return {};
    }
    return Error{ErrorCode::kDuplicateObject,
                 fmt::format("{}() is a function of SQL already", name), std::nullopt,
                 "Choose another name."};
  });
}

Result<ViewPlanner::Checked> ViewPlanner::check(const std::string& query) {
  std::shared_ptr<duckdb::DuckDB> used;
  try {
    used = instance();
    PlanSession session(used);
    auto& context = *session.connection.context;
    auto select = parse_select(query);
    refuse_parameters(*select);
    auto named = table_names(*select);
    named.merge(function_names(*select));
    session.planner = std::make_unique<duckdb::Planner>(context);
    auto& planner = *session.planner;
    planner.CreatePlan(std::move(select));
    Checked result;
    result.names.assign(planner.names.begin(), planner.names.end());
    result.types.assign(planner.types.begin(), planner.types.end());
    auto& catalog = duckdb::Catalog::GetCatalog(context, kDatabaseName);
    auto& transaction = CatalogTransaction::get(context, catalog);
    const auto touched = transaction.take_touched();
    std::set<std::string> direct;
    for (const auto& name : named) {
      const auto* object = transaction.entries()->snapshot().find(name);
      if (object && touched.contains(object->name)) direct.insert(object->name);
    }
    result.depends_on.assign(direct.begin(), direct.end());
    return result;
  } catch (const std::exception& exception) {
    const duckdb::ErrorData data(exception);
    if (data.Type() == duckdb::ExceptionType::INTERNAL ||
        data.Type() == duckdb::ExceptionType::FATAL) {
      forget(used);
    }
    return not_supported(data);
  }
}

}  // namespace millrace::sql
