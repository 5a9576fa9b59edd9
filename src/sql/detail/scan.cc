#include "sql/detail/scan.h"

#include <duckdb/catalog/catalog_entry/table_catalog_entry.hpp>
#include <duckdb/planner/operator/logical_get.hpp>
#include <duckdb/storage/statistics/node_statistics.hpp>

#include "sql/detail/bounds.h"
#include "sql/detail/errors.h"
#include "sql/engine.h"

namespace millrace::sql {
namespace {

struct ScanState : duckdb::GlobalTableFunctionState {
  std::unique_ptr<RelationScan> scan;
  size_t threads = 1;
  std::shared_ptr<Relation> relation;
  duckdb::idx_t MaxThreads() const override { return threads; }
};

/// How many rows are worth another thread.
constexpr size_t kRowsPerThread = 122'880;

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> init(duckdb::ClientContext&,
                                                          duckdb::TableFunctionInitInput& input) {
  const auto& bind = input.bind_data->Cast<ScanBind>();
  auto& catalog = static_cast<DuckCatalog&>(bind.entry.catalog);
  auto relation = catalog.core().relation(bind.entry.object());
  if (!relation) throw CarriedError(relation.error());
  ScanRequest request;
  for (const auto id : input.column_ids) request.columns.push_back(relation_column_of(id));
  request.offsets = bind.offsets;
  request.timestamps = bind.timestamps;
  request.partition = bind.partition;
  auto state = duckdb::make_uniq<ScanState>();
  state->relation = *relation;
  state->threads = (*relation)->row_count_estimate() / kRowsPerThread + 1;
  auto scan = (*relation)->scan(std::move(request));
  if (!scan) throw CarriedError(scan.error());
  state->scan = std::move(*scan);
  return state;
}

void next(duckdb::ClientContext&, duckdb::TableFunctionInput& input, duckdb::DataChunk& out) {
  auto& state = input.global_state->Cast<ScanState>();
  auto filled = state.scan->next(out);
  if (!filled) throw CarriedError(filled.error());
}

duckdb::unique_ptr<duckdb::NodeStatistics> cardinality(duckdb::ClientContext&,
                                                       const duckdb::FunctionData* data) {
  const auto& bind = data->Cast<ScanBind>();
  auto& catalog = static_cast<DuckCatalog&>(bind.entry.catalog);
  if (catalog.planning()) {
    // A standing query's plan must not depend on how much there is today.
    const bool stream = bind.entry.object().kind == catalog::Kind::kTopic;
    return duckdb::make_uniq<duckdb::NodeStatistics>(stream ? 1'000'000 : 10'000);
  }
  auto relation = catalog.core().relation(bind.entry.object());
  if (!relation) return duckdb::make_uniq<duckdb::NodeStatistics>(1000);
  return duckdb::make_uniq<duckdb::NodeStatistics>((*relation)->row_count_estimate());
}

duckdb::BindInfo bind_info(const duckdb::optional_ptr<duckdb::FunctionData> data) {
  // DuckDB wants it mutable for ALTER alone, which we refuse.
  auto& entry = const_cast<RelationEntry&>(data->Cast<ScanBind>().entry);
  return duckdb::BindInfo(static_cast<duckdb::TableCatalogEntry&>(entry));
}

duckdb::virtual_column_map_t virtual_columns(duckdb::ClientContext&,
                                             duckdb::optional_ptr<duckdb::FunctionData> data) {
  return data->Cast<ScanBind>().entry.GetVirtualColumns();
}

duckdb::InsertionOrderPreservingMap<std::string> describe(
    duckdb::TableFunctionToStringInput& input) {
  duckdb::InsertionOrderPreservingMap<std::string> result;
  const auto& bind = input.bind_data->Cast<ScanBind>();
  result["Relation"] = bind.entry.object().name;
  describe_bounds(bind, result);
  return result;
}

/// A view's dataflow reads fields of a STRUCT without the rest of it.
bool can_extract(const duckdb::FunctionData& data, const duckdb::LogicalIndex& column) {
  const auto& types = data.Cast<ScanBind>().entry.GetColumns();
  return column.index < types.LogicalColumnCount() &&
         types.GetColumn(column).Type().id() == duckdb::LogicalTypeId::STRUCT;
}

}  // namespace

duckdb::unique_ptr<duckdb::FunctionData> ScanBind::Copy() const {
  auto copy = duckdb::make_uniq<ScanBind>(entries, entry);
  copy->offsets = offsets;
  copy->timestamps = timestamps;
  copy->partition = partition;
  return copy;
}

bool ScanBind::Equals(const duckdb::FunctionData& other) const {
  const auto* that = dynamic_cast<const ScanBind*>(&other);
  return that && &that->entry == &entry && that->offsets.from == offsets.from &&
         that->offsets.until == offsets.until && that->timestamps.from == timestamps.from &&
         that->timestamps.until == timestamps.until && that->partition == partition;
}

duckdb::TableFunction scan_function(bool planning) {
  duckdb::TableFunction function("millrace_scan", {}, next, nullptr, init);
  function.projection_pushdown = true;
  function.filter_pushdown = false;
  function.get_bind_info = bind_info;
  function.get_virtual_columns = virtual_columns;
  function.to_string = describe;
  function.cardinality = cardinality;
  function.verify_serialization = false;
  if (planning) {
    function.supports_pushdown_extract = can_extract;
  } else {
    function.pushdown_complex_filter = read_bounds;
  }
  return function;
}

size_t relation_column_of(duckdb::column_t id) {
  if (id == duckdb::COLUMN_IDENTIFIER_ROW_ID) return ScanRequest::kRowId;
  return id >= duckdb::VIRTUAL_COLUMN_START ? id - duckdb::VIRTUAL_COLUMN_START : id;
}

const catalog::Object* scanned_object(const duckdb::LogicalOperator& op) {
  if (op.type != duckdb::LogicalOperatorType::LOGICAL_GET) return nullptr;
  const auto* bind = dynamic_cast<const ScanBind*>(op.Cast<duckdb::LogicalGet>().bind_data.get());
  return bind ? &bind->entry.object() : nullptr;
}

}  // namespace millrace::sql
