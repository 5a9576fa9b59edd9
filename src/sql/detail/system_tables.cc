#include "sql/detail/system_tables.h"

#include <duckdb/main/extension/extension_loader.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <duckdb/parser/tableref/table_function_ref.hpp>

#include <fmt/format.h>

#include "sql/detail/errors.h"
#include "sql/detail/storage.h"
#include "sql/detail/tree.h"

namespace millrace::sql {
namespace {

constexpr const char* kFunction = "millrace_system_table";

// Reserved here so that every other name after `millrace.` stays an object's.
constexpr std::string_view kNames[] = {
    "connections", "functions",    "groups",     "late",   "members", "module_logs",
    "offsets",     "operators",    "partitions", "quotas", "sinks",   "sources",
    "topics",      "transactions", "transforms", "users",  "views"};

class SystemTableRewriter : public TreeRewriter {
 protected:
  void on_ref(RefPtr& ref) override {
    if (ref->type != duckdb::TableReferenceType::BASE_TABLE) return;
    auto& table = ref->Cast<duckdb::BaseTableRef>();
    const bool ours = duckdb::StringUtil::CIEquals(table.schema_name, kDatabaseName) &&
                      (table.catalog_name.empty() ||
                       duckdb::StringUtil::CIEquals(table.catalog_name, kDatabaseName));
    const auto name = duckdb::StringUtil::Lower(table.table_name);
    if (!ours || std::ranges::find(kNames, name) == std::end(kNames)) return;
    auto call = duckdb::make_uniq<duckdb::TableFunctionRef>();
    duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> arguments;
    arguments.push_back(duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value(name)));
    call->function = duckdb::make_uniq<duckdb::FunctionExpression>(kFunction, std::move(arguments));
    call->function->SetQueryLocation(table.query_location);
    call->alias = table.alias.empty() ? table.table_name : table.alias;
    call->column_name_alias = table.column_name_alias;
    call->query_location = table.query_location;
    call->sample = std::move(table.sample);
    ref = std::move(call);
  }
};

struct Info : duckdb::TableFunctionInfo {
  Info(Core& c, bool p) : core(c), planning(p) {}
  Core& core;
  bool planning;
};

struct Bind : duckdb::TableFunctionData {
  SystemTable table;
};

struct State : duckdb::GlobalTableFunctionState {
  std::vector<std::vector<duckdb::Value>> rows;
  size_t next = 0;
};

std::vector<SystemTable> tables_of(Core& core) {
  auto* host = core.host.load();
  return host ? host->system_tables() : std::vector<SystemTable>();
}

duckdb::unique_ptr<duckdb::FunctionData> bind(duckdb::ClientContext&,
                                              duckdb::TableFunctionBindInput& input,
                                              duckdb::vector<duckdb::LogicalType>& types,
                                              duckdb::vector<std::string>& names) {
  auto& info = input.info->Cast<Info>();
  const auto wanted = input.inputs.at(0).ToString();
  if (info.planning) {
    throw CarriedError(
        Error{ErrorCode::kNotSupported,
              fmt::format("millrace.{} shows the node at the moment it is asked: a materialized "
                          "view cannot be kept over it",
                          wanted)});
  }
  for (auto& table : tables_of(info.core)) {
    if (table.name != wanted) continue;
    for (const auto& column : table.columns) {
      names.push_back(column.name);
      types.push_back(column.type);
    }
    auto data = duckdb::make_uniq<Bind>();
    data->table = std::move(table);
    return data;
  }
  throw CarriedError(
      Error{ErrorCode::kUndefinedObject, fmt::format("there is no millrace.{} here", wanted)});
}

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> begin(duckdb::ClientContext&,
                                                           duckdb::TableFunctionInitInput& input) {
  auto rows = input.bind_data->Cast<Bind>().table.rows();
  if (!rows) throw CarriedError(rows.error());
  auto state = duckdb::make_uniq<State>();
  state->rows = std::move(*rows);
  return state;
}

void next(duckdb::ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& out) {
  auto& state = input.global_state->Cast<State>();
  const size_t count = std::min<size_t>(STANDARD_VECTOR_SIZE, state.rows.size() - state.next);
  for (size_t i = 0; i < count; ++i, ++state.next) {
    const auto& row = state.rows[state.next];
    for (size_t c = 0; c < row.size(); ++c) out.SetValue(c, i, row[c]);
  }
  out.SetCardinality(count);
}

}  // namespace

void rewrite_system_tables(duckdb::SQLStatement& statement) {
  SystemTableRewriter().statement(statement);
}

void register_system_tables(duckdb::DuckDB& instance, Core& core, bool planning) {
  duckdb::TableFunction function(kFunction, {duckdb::LogicalType::VARCHAR}, next, bind, begin);
  function.function_info = duckdb::make_shared_ptr<Info>(core, planning);
  duckdb::ExtensionLoader loader(*instance.instance, "millrace_system_tables");
  loader.RegisterFunction(function);
}

}  // namespace millrace::sql
