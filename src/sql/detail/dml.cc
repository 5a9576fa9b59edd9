#include <duckdb/common/types/column/column_data_collection.hpp>
#include <duckdb/execution/physical_operator.hpp>
#include <duckdb/execution/physical_plan_generator.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/operator/logical_create_table.hpp>
#include <duckdb/planner/operator/logical_delete.hpp>
#include <duckdb/planner/operator/logical_insert.hpp>
#include <duckdb/planner/operator/logical_update.hpp>
#include <mutex>

#include "sql/detail/errors.h"
#include "sql/detail/notes.h"
#include "sql/detail/storage.h"

namespace millrace::sql {
namespace {

/// What a DML operator does with the chunks it is given.
struct Target {
  Change::Kind kind;
  std::vector<size_t> values;    // positions in the child's chunk of the values to keep
  std::vector<size_t> columns;   // updates: the relation's columns that they are for
  std::optional<size_t> row_id;  // updates and deletes: position of the row id
};

struct SinkState : duckdb::GlobalSinkState {
  std::mutex mutex;
  Change change;
  duckdb::DataChunk values;
  size_t count = 0;
};

/// Collects the rows of an INSERT, UPDATE or DELETE and hands them to the transaction, which
/// applies them at commit; then gives their count.
class DmlOperator : public duckdb::PhysicalOperator {
 public:
  DmlOperator(duckdb::PhysicalPlan& plan, duckdb::vector<duckdb::LogicalType> result_types,
              RelationEntry& entry, std::shared_ptr<EntrySet> entries, Target target,
              duckdb::idx_t cardinality)
      : PhysicalOperator(plan, duckdb::PhysicalOperatorType::EXTENSION, std::move(result_types),
                         cardinality),
        entry_(entry),
        entries_(std::move(entries)),
        target_(std::move(target)) {}

  std::string GetName() const override {
    switch (target_.kind) {
      case Change::Kind::kUpdate:
        return "UPDATE";
      case Change::Kind::kDelete:
        return "DELETE";
      default:
        return "INSERT";
    }
  }
  duckdb::InsertionOrderPreservingMap<std::string> ParamsToString() const override {
    duckdb::InsertionOrderPreservingMap<std::string> result;
    result["Relation"] = entry_.object().name;
    return result;
  }

  bool IsSink() const override { return true; }
  bool SinkOrderDependent() const override { return true; }
  bool IsSource() const override { return true; }

  duckdb::unique_ptr<duckdb::GlobalSinkState> GetGlobalSinkState(
      duckdb::ClientContext&) const override {
    auto state = duckdb::make_uniq<SinkState>();
    state->change.kind = target_.kind;
    state->change.columns = target_.columns;
    if (target_.values.empty()) return state;
    const auto& child_types = children[0].get().types;
    duckdb::vector<duckdb::LogicalType> types;
    for (const auto at : target_.values) types.push_back(child_types[at]);
    state->values.InitializeEmpty(types);
    state->change.rows = std::make_shared<duckdb::ColumnDataCollection>(
        duckdb::Allocator::DefaultAllocator(), types);
    return state;
  }

  duckdb::SinkResultType Sink(duckdb::ExecutionContext&, duckdb::DataChunk& chunk,
                              duckdb::OperatorSinkInput& input) const override {
    auto& state = input.global_state.Cast<SinkState>();
    std::lock_guard guard(state.mutex);
    if (target_.row_id) take_row_ids(chunk, state.change);
    if (!target_.values.empty()) {
      for (size_t i = 0; i < target_.values.size(); ++i) {
        state.values.data[i].Reference(chunk.data[target_.values[i]]);
      }
      state.values.SetCardinality(chunk.size());
      state.change.rows->Append(state.values);
    }
    state.count += chunk.size();
    return duckdb::SinkResultType::NEED_MORE_INPUT;
  }

  duckdb::SinkFinalizeType Finalize(duckdb::Pipeline&, duckdb::Event&,
                                    duckdb::ClientContext& context,
                                    duckdb::OperatorSinkFinalizeInput& input) const override {
    auto& state = input.global_state.Cast<SinkState>();
    if (state.count > 0) {
      CatalogTransaction::get(context, entry_.catalog)
          .add(entry_.object(), std::move(state.change));
    }
    return duckdb::SinkFinalizeType::READY;
  }

 protected:
  duckdb::SourceResultType GetDataInternal(duckdb::ExecutionContext&, duckdb::DataChunk& chunk,
                                           duckdb::OperatorSourceInput&) const override {
    const auto& state = sink_state->Cast<SinkState>();
    chunk.SetCardinality(1);
    chunk.SetValue(0, 0, duckdb::Value::BIGINT(static_cast<int64_t>(state.count)));
    return duckdb::SourceResultType::FINISHED;
  }

 private:
  void take_row_ids(duckdb::DataChunk& chunk, Change& change) const {
    duckdb::UnifiedVectorFormat ids;
    chunk.data[*target_.row_id].ToUnifiedFormat(chunk.size(), ids);
    const auto* data = duckdb::UnifiedVectorFormat::GetData<int64_t>(ids);
    for (size_t i = 0; i < chunk.size(); ++i) change.row_ids.push_back(data[ids.sel->get_index(i)]);
  }

  RelationEntry& entry_;
  std::shared_ptr<EntrySet> entries_;  // keeps entry_ alive
  Target target_;
};

duckdb::PhysicalOperator& make_dml(duckdb::ClientContext& context,
                                   duckdb::PhysicalPlanGenerator& planner,
                                   duckdb::LogicalOperator& op, duckdb::TableCatalogEntry& table,
                                   Target target, duckdb::PhysicalOperator& child) {
  auto& entry = dynamic_cast<RelationEntry&>(table);
  const auto& object = entry.object();
  if (object.kind == catalog::Kind::kMaterializedView) {
    throw CarriedError({ErrorCode::kNotSupported,
                        "\"" + object.name +
                            "\" is a materialized view: it follows its query and "
                            "cannot be written to",
                        std::nullopt, "Write to the topics and tables that it reads."});
  }
  if (object.kind == catalog::Kind::kTopic && target.kind != Change::Kind::kInsert) {
    throw CarriedError({ErrorCode::kNotSupported,
                        "topic \"" + object.name +
                            "\" is a log: rows can be inserted, not changed "
                            "or deleted",
                        std::nullopt, "Use a table for rows that change."});
  }
  auto entries = CatalogTransaction::get(context, entry.catalog).entries();
  auto& dml = planner.Make<DmlOperator>(op.types, entry, std::move(entries), std::move(target),
                                        op.estimated_cardinality);
  dml.children.push_back(child);
  return dml;
}

void refuse_returning(bool asked) {
  if (asked) throw duckdb::NotImplementedException("RETURNING is not supported");
}

}  // namespace

duckdb::PhysicalOperator& DuckCatalog::PlanCreateTableAs(duckdb::ClientContext&,
                                                         duckdb::PhysicalPlanGenerator&,
                                                         duckdb::LogicalCreateTable&,
                                                         duckdb::PhysicalOperator&) {
  throw duckdb::NotImplementedException("CREATE TABLE ... AS is not supported");
}

duckdb::PhysicalOperator& DuckCatalog::PlanInsert(
    duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
    duckdb::LogicalInsert& op, duckdb::optional_ptr<duckdb::PhysicalOperator> plan) {
  refuse_returning(op.return_chunk);
  if (!plan) throw duckdb::NotImplementedException("this form of INSERT is not supported");
  if (!op.column_index_map.empty()) plan = planner.ResolveDefaultsProjection(op, *plan);
  Target target{StatementNotes::of(context).insert_kind, {}, {}, std::nullopt};
  for (size_t i = 0; i < plan->types.size(); ++i) target.values.push_back(i);
  return make_dml(context, planner, op, op.table, std::move(target), *plan);
}

duckdb::PhysicalOperator& DuckCatalog::PlanDelete(duckdb::ClientContext& context,
                                                  duckdb::PhysicalPlanGenerator& planner,
                                                  duckdb::LogicalDelete& op,
                                                  duckdb::PhysicalOperator& plan) {
  refuse_returning(op.return_chunk);
  Target target{Change::Kind::kDelete, {}, {}, std::nullopt};
  target.row_id = op.expressions[0]->Cast<duckdb::BoundReferenceExpression>().index;
  return make_dml(context, planner, op, op.table, std::move(target), plan);
}

duckdb::PhysicalOperator& DuckCatalog::PlanUpdate(duckdb::ClientContext& context,
                                                  duckdb::PhysicalPlanGenerator& planner,
                                                  duckdb::LogicalUpdate& op,
                                                  duckdb::PhysicalOperator& plan) {
  refuse_returning(op.return_chunk);
  Target target{Change::Kind::kUpdate, {}, {}, plan.types.size() - 1};
  for (size_t i = 0; i < op.columns.size(); ++i) {
    if (op.expressions[i]->GetExpressionClass() != duckdb::ExpressionClass::BOUND_REF) {
      throw duckdb::NotImplementedException("SET column = DEFAULT is not supported");
    }
    target.values.push_back(op.expressions[i]->Cast<duckdb::BoundReferenceExpression>().index);
    target.columns.push_back(op.columns[i].index);
  }
  return make_dml(context, planner, op, op.table, std::move(target), plan);
}

}  // namespace millrace::sql
