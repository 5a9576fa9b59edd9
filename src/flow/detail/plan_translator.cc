#include "flow/detail/plan_translator.h"

#include <fmt/format.h>

#include <duckdb/function/function_binder.hpp>
#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_unnest_expression.hpp>
#include <duckdb/planner/table_filter.hpp>

#include "flow/detail/plan_time.h"
#include "sql/format.h"

namespace millrace::flow {

namespace {

using duckdb::LogicalOperatorType;

/// The plan node in plain words.
std::string name_of(const duckdb::LogicalOperator& op) {
  switch (op.type) {
    case LogicalOperatorType::LOGICAL_SAMPLE:
      return "a sample (USING SAMPLE)";
    case LogicalOperatorType::LOGICAL_PIVOT:
      return "PIVOT";
    case LogicalOperatorType::LOGICAL_RECURSIVE_CTE:
      return "a recursive common table expression (WITH RECURSIVE)";
    case LogicalOperatorType::LOGICAL_POSITIONAL_JOIN:
      return "a POSITIONAL join";
    case LogicalOperatorType::LOGICAL_DEPENDENT_JOIN:
      return "this correlated subquery";
    default:
      return fmt::format("the plan node {}", op.GetName());
  }
}

duckdb::optional_idx location_of(const duckdb::LogicalOperator& op) {
  for (const auto& expression : op.expressions)
    if (expression->query_location.IsValid()) return expression->query_location;
  return {};
}

/// The numbers of the fields, from the outside in, that a scan is to take out of a column.
Result<std::vector<size_t>> extracted_fields(const duckdb::ColumnIndex& column) {
  std::vector<size_t> fields;
  for (const auto* at = &column; at->IsPushdownExtract();) {
    at = &at->GetChildIndex(0);
    if (!at->HasPrimaryIndex()) return not_supported("this extraction from a VARIANT");
    fields.push_back(at->GetPrimaryIndex());
  }
  return fields;
}

std::vector<duckdb::ColumnBinding> bindings_of(size_t table, size_t count) {
  std::vector<duckdb::ColumnBinding> out;
  for (size_t i = 0; i < count; ++i) out.emplace_back(table, i);
  return out;
}

}  // namespace

size_t PlanTranslator::add(std::unique_ptr<Operator> op, std::vector<size_t> children,
                           std::vector<Expressions> keys) {
  // Without any, all rows have the same.
  if (!keys.empty() && keys[0].empty()) keys.clear();
  nodes_.push_back({std::move(op), std::move(children), 0, std::move(keys)});
  return nodes_.size() - 1;
}

size_t PlanTranslator::add_aggregate(AggregateSpec spec, size_t child) {
  std::vector<Expressions> keys;
  keys.push_back(copies_of(spec.groups));
  return add(make_aggregate(context_, std::move(spec)), {child}, std::move(keys));
}

Result<PlanTranslator::Stream> PlanTranslator::translate(duckdb::LogicalOperator& op) {
  auto stream = translate_node(op);
  if (stream && !stream->append_only && !first_retracting_) first_retracting_ = stream->node;
  return stream;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_node(duckdb::LogicalOperator& op) {
  if (row_by_row_ && (op.type == LogicalOperatorType::LOGICAL_PROJECTION ||
                      op.type == LogicalOperatorType::LOGICAL_DELIM_GET))
    return translate_carried(op);
  switch (op.type) {
    case LogicalOperatorType::LOGICAL_GET:
      return translate_get(op.Cast<duckdb::LogicalGet>());
    case LogicalOperatorType::LOGICAL_FILTER:
      return translate_filter(op.Cast<duckdb::LogicalFilter>());
    case LogicalOperatorType::LOGICAL_PROJECTION:
      return translate_projection(op.Cast<duckdb::LogicalProjection>());
    case LogicalOperatorType::LOGICAL_AGGREGATE_AND_GROUP_BY:
      return translate_aggregate(op.Cast<duckdb::LogicalAggregate>());
    case LogicalOperatorType::LOGICAL_DISTINCT:
      return translate_distinct(op.Cast<duckdb::LogicalDistinct>());
    case LogicalOperatorType::LOGICAL_UNNEST:
      return translate_unnest(op.Cast<duckdb::LogicalUnnest>());
    case LogicalOperatorType::LOGICAL_UNION:
      return translate_union(op.Cast<duckdb::LogicalSetOperation>());
    case LogicalOperatorType::LOGICAL_EXCEPT:
    case LogicalOperatorType::LOGICAL_INTERSECT:
      return translate_except(op.Cast<duckdb::LogicalSetOperation>());
    case LogicalOperatorType::LOGICAL_ORDER_BY:  // a view is a set of rows: its order is the
                                                 // reader's
      if (const auto done = limits_done_.find(&op); done != limits_done_.end()) return done->second;
      return translate(*op.children[0]);
    case LogicalOperatorType::LOGICAL_WINDOW:
      return translate_window(op.Cast<duckdb::LogicalWindow>());
    case LogicalOperatorType::LOGICAL_TOP_N:
      return translate_top_n(op.Cast<duckdb::LogicalTopN>());
    case LogicalOperatorType::LOGICAL_LIMIT:
      return translate_limit(op.Cast<duckdb::LogicalLimit>());
    case LogicalOperatorType::LOGICAL_COMPARISON_JOIN:
      return translate_comparison_join(op.Cast<duckdb::LogicalComparisonJoin>());
    case LogicalOperatorType::LOGICAL_ASOF_JOIN:
      return translate_asof_join(op.Cast<duckdb::LogicalComparisonJoin>());
    case LogicalOperatorType::LOGICAL_DELIM_JOIN:
      return translate_delim_join(op.Cast<duckdb::LogicalComparisonJoin>());
    case LogicalOperatorType::LOGICAL_ANY_JOIN:
      return translate_any_join(op.Cast<duckdb::LogicalAnyJoin>());
    case LogicalOperatorType::LOGICAL_CROSS_PRODUCT:
      return translate_cross_product(op.Cast<duckdb::LogicalCrossProduct>());
    case LogicalOperatorType::LOGICAL_MATERIALIZED_CTE:
      return translate_cte(op.Cast<duckdb::LogicalMaterializedCTE>());
    case LogicalOperatorType::LOGICAL_CTE_REF: {
      const auto& ref = op.Cast<duckdb::LogicalCTERef>();
      const auto found = ctes_.find(ref.cte_index);
      if (found == ctes_.end()) break;
      Stream stream = found->second;
      stream.scope.bindings = bindings_of(ref.table_index, stream.scope.types.size());
      return stream;
    }
    case LogicalOperatorType::LOGICAL_DELIM_GET: {
      if (delim_keys_.empty()) break;
      Stream stream = delim_keys_.back();
      const auto& get = op.Cast<duckdb::LogicalDelimGet>();
      if (!std::equal(get.chunk_types.begin(), get.chunk_types.end(), stream.scope.types.begin(),
                      stream.scope.types.end()))
        break;
      stream.scope.bindings = bindings_of(get.table_index, stream.scope.types.size());
      return stream;
    }
    case LogicalOperatorType::LOGICAL_DUMMY_SCAN:
      return one_row(op.Cast<duckdb::LogicalDummyScan>().table_index);
    case LogicalOperatorType::LOGICAL_EMPTY_RESULT: {
      const auto& empty = op.Cast<duckdb::LogicalEmptyResult>();
      return constant({}, {{empty.bindings.begin(), empty.bindings.end()},
                           {empty.return_types.begin(), empty.return_types.end()}});
    }
    case LogicalOperatorType::LOGICAL_EXPRESSION_GET:
      return translate_values(op.Cast<duckdb::LogicalExpressionGet>());
    case LogicalOperatorType::LOGICAL_CHUNK_GET:
      return translate_rows(op.Cast<duckdb::LogicalColumnDataGet>());
    default:
      break;
  }
  return not_supported(name_of(op), location_of(op));
}

Result<PlanTranslator::Stream> PlanTranslator::in_order_of(duckdb::LogicalOperator& op,
                                                           Stream stream) {
  const auto wanted = op.GetColumnBindings();
  if (std::equal(wanted.begin(), wanted.end(), stream.scope.bindings.begin(),
                 stream.scope.bindings.end()))
    return stream;
  Expressions columns;
  Scope scope;
  for (const auto& binding : wanted) {
    const auto at = std::find(stream.scope.bindings.begin(), stream.scope.bindings.end(), binding);
    if (at == stream.scope.bindings.end())
      return not_supported(fmt::format("the plan's column {}", binding.ToString()));
    const size_t i = static_cast<size_t>(at - stream.scope.bindings.begin());
    columns.push_back(reference(stream.scope.types[i], i));
    scope.bindings.push_back(binding);
    scope.types.push_back(stream.scope.types[i]);
  }
  const size_t node = add(make_projection(context_, std::move(columns)), {stream.node});
  return Stream{node, std::move(scope), stream.append_only};
}

Result<PlanTranslator::Stream> PlanTranslator::translate_get(duckdb::LogicalGet& get) {
  const auto& function = get.function.name;
  if (function == "unnest" || function == "range" || function == "generate_series")
    return translate_list_function(get);
  const auto* object = finder_(get);
  if (!object) return not_supported(fmt::format("reading from {}", get.GetName()));
  if (get.extra_info.sample_options) return not_supported("a sample (USING SAMPLE)");
  Dataflow::Input input;
  input.object = *object;
  input.append_only = object->kind == catalog::Kind::kTopic || std::exchange(versions_, false);
  Stream stream;
  stream.append_only = input.append_only;
  auto columns = get.GetColumnIds();
  if (columns.empty()) columns.emplace_back(0);  // only the number of rows counts
  std::vector<bool> decoded;                     // the column's field is what the input gives
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!columns[i].HasPrimaryIndex()) return not_supported("this extraction from a VARIANT");
    size_t column = columns[i].GetPrimaryIndex();
    // Where only the number of rows counts, DuckDB asks for a virtual column; any other will do as
    // long as nothing refers to it.
    const bool is_virtual = duckdb::IsVirtualColumn(column);
    if (is_virtual) column = 0;
    MR_TRY(const auto fields, extracted_fields(columns[i]));
    // A log's decoder takes a field out by itself; a table has its columns whole.
    const auto number =
        object->kind == catalog::Kind::kTable ? std::nullopt : sql::field_column(column, fields);
    decoded.push_back(number.has_value());
    auto type = get.returned_types[column];
    if (number)
      for (const size_t field : fields)
        type = duckdb::LogicalType(duckdb::StructType::GetChildType(type, field));
    input.columns.push_back(number.value_or(column));
    input.types.push_back(std::move(type));
    stream.scope.bindings.emplace_back(
        is_virtual ? duckdb::DConstants::INVALID_INDEX : get.table_index, i);
  }
  stream.scope.types = input.types;
  inputs_.push_back(std::move(input));
  stream.node = nodes_.size();
  nodes_.push_back({nullptr, {}, inputs_.size() - 1});
  MR_TRY(stream, extract_fields(columns, decoded, std::move(stream)));
  return scan_filters(get, std::move(stream));
}

/// [1, 2, …], as many as the list has elements.
Result<duckdb::unique_ptr<duckdb::Expression>> PlanTranslator::numbers_of_elements(
    const duckdb::Expression& list) {
  const auto call = [&](const char* name, Expressions arguments) {
    duckdb::ErrorData error;
    auto bound = duckdb::FunctionBinder(context_).BindScalarFunction(DEFAULT_SCHEMA, name,
                                                                     std::move(arguments), error);
    if (error.HasError()) error.Throw();
    return bound;
  };
  Expressions of_length, of_series;
  of_length.push_back(list.Copy());
  of_series.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::BIGINT(1)));
  of_series.push_back(call("len", std::move(of_length)));
  return call("generate_series", std::move(of_series));
}

/// unnest(list), range(…) and generate_series(…) in FROM, of columns or of constants: an unnest.
Result<PlanTranslator::Stream> PlanTranslator::translate_list_function(duckdb::LogicalGet& get) {
  Stream stream;
  Expressions arguments;
  if (get.children.empty()) {
    stream = one_row(duckdb::DConstants::INVALID_INDEX);
    for (const auto& value : get.parameters)
      arguments.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(value));
  } else {
    auto& child = *get.children[0];
    MR_TRY(stream, translate(child));
    const auto bindings = child.GetColumnBindings();
    for (size_t i = 0; i < get.input_table_types.size(); ++i) {
      duckdb::unique_ptr<duckdb::Expression> column =
          duckdb::make_uniq<duckdb::BoundColumnRefExpression>(get.input_table_types[i],
                                                              bindings[i]);
      MR_TRY(resolve(column, stream.scope));
      arguments.push_back(std::move(column));
    }
  }
  duckdb::unique_ptr<duckdb::Expression> list;
  if (get.function.name == "unnest") {
    if (arguments.size() != 1) return not_supported("this UNNEST");
    list = std::move(arguments[0]);
  } else {
    duckdb::ErrorData error;
    list = duckdb::FunctionBinder(context_).BindScalarFunction(DEFAULT_SCHEMA, get.function.name,
                                                               std::move(arguments), error);
    if (error.HasError()) error.Throw();
  }
  if (list->return_type != duckdb::LogicalType::LIST(get.returned_types[0]))
    return not_supported(fmt::format("{} in FROM over these types", get.function.name));
  const size_t input_columns = stream.scope.types.size();
  stream.scope.bindings.emplace_back(get.table_index, 0);
  stream.scope.types.push_back(get.returned_types[0]);
  Expressions lists;
  if (get.ordinality_idx.IsValid()) {
    stream.scope.bindings.emplace_back(get.table_index, get.ordinality_idx.GetIndex());
    stream.scope.types.push_back(duckdb::LogicalType::BIGINT);
    MR_TRY(auto numbers, numbers_of_elements(*list));
    lists.push_back(std::move(numbers));
  }
  lists.insert(lists.begin(), std::move(list));
  stream.node = add(make_unnest(context_, std::move(lists), input_columns), {stream.node});
  if (!get.children.empty()) return stream;
  return scan_filters(get, std::move(stream));
}

/// Fields that the optimiser takes out of a STRUCT inside the scan are taken out above it, where
/// the input does not give them already.
Result<PlanTranslator::Stream> PlanTranslator::extract_fields(
    const duckdb::vector<duckdb::ColumnIndex>& columns, const std::vector<bool>& decoded,
    Stream stream) {
  Expressions expressions;
  bool any = false;
  for (size_t i = 0; i < columns.size(); ++i) {
    expressions.push_back(reference(stream.scope.types[i], i));
    if (!columns[i].IsPushdownExtract()) continue;
    auto& field = expressions.back();
    MR_TRY(const auto path, extracted_fields(columns[i]));
    for (const size_t at : decoded[i] ? std::vector<size_t>{} : path) {
      Expressions arguments;
      arguments.push_back(std::move(field));
      arguments.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(
          duckdb::Value::BIGINT(static_cast<int64_t>(at) + 1)));
      duckdb::ErrorData error;
      field = duckdb::FunctionBinder(context_).BindScalarFunction(
          DEFAULT_SCHEMA, "struct_extract_at", std::move(arguments), error);
      if (error.HasError()) error.Throw();
    }
    field = duckdb::BoundCastExpression::AddCastToType(context_, std::move(field),
                                                       columns[i].GetScanType());
    any = any || field->GetExpressionClass() != duckdb::ExpressionClass::BOUND_REF;
    stream.scope.types[i] = field->return_type;
  }
  if (any) stream.node = add(make_projection(context_, std::move(expressions)), {stream.node});
  return stream;
}

/// Filters that the optimiser pushed into the scan are evaluated above it.
Result<PlanTranslator::Stream> PlanTranslator::scan_filters(duckdb::LogicalGet& get,
                                                            Stream stream) {
  Expressions conditions;
  for (const auto& [column, filter] : get.table_filters.filters) {
    if (filter->filter_type == duckdb::TableFilterType::OPTIONAL_FILTER ||
        filter->filter_type == duckdb::TableFilterType::DYNAMIC_FILTER)
      continue;
    const auto& ids = get.GetColumnIds();
    size_t i = 0;
    while (i < ids.size() && ids[i].GetPrimaryIndex() != column) ++i;
    if (i == ids.size()) return not_supported("a filter inside the scan");
    conditions.push_back(filter->ToExpression(*reference(stream.scope.types[i], i)));
  }
  duckdb::LogicalFilter::SplitPredicates(conditions);
  auto moving = take_clock_conditions(conditions);
  if (!conditions.empty())
    stream.node = add(make_filter(context_, std::move(conditions)), {stream.node});
  if (!moving.empty()) return filter_by_clock(std::move(moving), std::move(stream));
  return stream;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_filter(duckdb::LogicalFilter& filter) {
  const auto* above = std::exchange(above_filter_, nullptr);
  if (auto moving = take_clock_conditions(filter.expressions); !moving.empty()) {
    above_filter_ = filter.expressions.empty() ? nullptr : above;
    auto rest = filter.expressions.empty() ? translate(*filter.children[0]) : translate(filter);
    if (!rest) return rest;
    return filter_by_clock(std::move(moving), std::move(*rest));
  }
  MR_TRY(auto numbered, translate_numbered(filter, above));
  if (numbered) return std::move(*numbered);
  bound_join_below(filter);
  MR_TRY(Stream stream, translate(*filter.children[0]));
  MR_TRY(auto conditions, resolve_all(filter.expressions, stream.scope));
  stream.node = add(make_filter(context_, std::move(conditions)), {stream.node});
  return stream;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_projection(
    duckdb::LogicalProjection& projection) {
  if (projection.children[0]->type == LogicalOperatorType::LOGICAL_FILTER)
    above_filter_ = &projection;
  MR_TRY(Stream stream, translate(*projection.children[0]));
  MR_TRY(auto columns, resolve_all(projection.expressions, stream.scope));
  Scope scope{bindings_of(projection.table_index, columns.size()), {}};
  for (const auto& column : columns) scope.types.push_back(column->return_type);
  const size_t node = add(make_projection(context_, std::move(columns)), {stream.node});
  return Stream{node, std::move(scope), stream.append_only};
}

Result<PlanTranslator::Stream> PlanTranslator::translate_distinct(
    duckdb::LogicalDistinct& distinct) {
  if (distinct.distinct_type != duckdb::DistinctType::DISTINCT)
    return translate_distinct_on(distinct);
  MR_TRY(Stream stream, translate(*distinct.children[0]));
  MR_TRY(stream, in_order_of(*distinct.children[0], std::move(stream)));
  std::vector<size_t> columns;
  for (auto& target : distinct.distinct_targets) {
    MR_TRY(resolve(target, stream.scope));
    if (target->type != duckdb::ExpressionType::BOUND_REF)
      return not_supported("DISTINCT over an expression", target->query_location);
    columns.push_back(target->Cast<duckdb::BoundReferenceExpression>().index);
  }
  for (size_t i = 0; i < stream.scope.types.size(); ++i)
    if (std::find(columns.begin(), columns.end(), i) == columns.end())
      return not_supported("DISTINCT over some of the columns", location_of(distinct));
  return distinct_of(std::move(stream), columns);
}

Result<PlanTranslator::Stream> PlanTranslator::distinct_of(Stream stream,
                                                           const std::vector<size_t>& columns) {
  AggregateSpec spec;
  spec.append_only = stream.append_only;
  Scope scope;
  for (const size_t column : columns) {
    spec.groups.push_back(reference(stream.scope.types[column], column));
    scope.bindings.push_back(stream.scope.bindings[column]);
    scope.types.push_back(stream.scope.types[column]);
  }
  const size_t node = add_aggregate(std::move(spec), stream.node);
  return Stream{node, std::move(scope), stream.append_only};
}

Result<PlanTranslator::Stream> PlanTranslator::translate_unnest(duckdb::LogicalUnnest& unnest) {
  MR_TRY(Stream stream, translate(*unnest.children[0]));
  Expressions lists;
  for (auto& expression : unnest.expressions) {
    if (expression->type != duckdb::ExpressionType::BOUND_UNNEST &&
        expression->GetExpressionClass() != duckdb::ExpressionClass::BOUND_UNNEST)
      return not_supported("this UNNEST", expression->query_location);
    auto& list = expression->Cast<duckdb::BoundUnnestExpression>().child;
    MR_TRY(resolve(list, stream.scope));
    lists.push_back(std::move(list));
  }
  if (merge_ && merge_->unnest == &unnest) stream = merge_before_unnest(std::move(stream), lists);
  const size_t input_columns = stream.scope.types.size();
  for (size_t i = 0; i < lists.size(); ++i) {
    const auto& type = lists[i]->return_type;
    stream.scope.bindings.emplace_back(unnest.unnest_index, i);
    stream.scope.types.push_back(type.id() == duckdb::LogicalTypeId::LIST
                                     ? duckdb::ListType::GetChildType(type)
                                     : duckdb::LogicalType(duckdb::LogicalTypeId::SQLNULL));
  }
  stream.node = add(make_unnest(context_, std::move(lists), input_columns), {stream.node});
  return stream;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_union(duckdb::LogicalSetOperation& op) {
  std::vector<size_t> children;
  Stream out;
  out.append_only = true;
  for (auto& child : op.children) {
    MR_TRY(Stream stream, translate(*child));
    MR_TRY(stream, in_order_of(*child, std::move(stream)));
    out.append_only &= stream.append_only;
    out.scope.types = stream.scope.types;
    children.push_back(stream.node);
  }
  out.scope.bindings = bindings_of(op.table_index, op.column_count);
  out.node = add(make_union(), std::move(children));
  if (op.setop_all) return out;
  std::vector<size_t> columns;
  for (size_t i = 0; i < op.column_count; ++i) columns.push_back(i);
  return distinct_of(std::move(out), columns);
}

/// EXCEPT and INTERSECT. Without ALL: the distinct rows of the one that the other has not, or has.
Result<PlanTranslator::Stream> PlanTranslator::translate_except(duckdb::LogicalSetOperation& op) {
  if (op.children.size() != 2) return not_supported(name_of(op));
  MR_TRY(Stream left, translate(*op.children[0]));
  MR_TRY(left, in_order_of(*op.children[0], std::move(left)));
  MR_TRY(Stream right, translate(*op.children[1]));
  MR_TRY(right, in_order_of(*op.children[1], std::move(right)));
  std::vector<size_t> columns;
  for (size_t i = 0; i < op.column_count; ++i) columns.push_back(i);
  left.scope.bindings = bindings_of(op.table_index, op.column_count);
  const bool except = op.type == LogicalOperatorType::LOGICAL_EXCEPT;
  if (op.setop_all) {
    left.append_only = left.append_only && right.append_only && !except;
    std::vector<Expressions> keys(2);
    for (const size_t i : columns)
      for (auto& side : keys) side.push_back(reference(left.scope.types[i], i));
    left.node =
        add(make_bag_operation(left.scope.types, except), {left.node, right.node}, std::move(keys));
    return left;
  }
  MR_TRY(left, distinct_of(std::move(left), columns));
  MR_TRY(auto spec,
         join_spec(except ? duckdb::JoinType::ANTI : duckdb::JoinType::SEMI, left, right));
  for (const size_t i : columns) {
    spec.left_keys.push_back(reference(left.scope.types[i], i));
    spec.right_keys.push_back(reference(right.scope.types[i], i));
    spec.null_equals_null.push_back(true);
  }
  return put_join(std::move(spec), left, right, 0);
}

Result<PlanTranslator::Stream> PlanTranslator::translate_cte(duckdb::LogicalMaterializedCTE& cte) {
  MR_TRY(Stream stream, translate(*cte.children[0]));
  MR_TRY(stream, in_order_of(*cte.children[0], std::move(stream)));
  ctes_[cte.table_index] = std::move(stream);
  return translate(*cte.children[1]);
}

PlanTranslator::Stream PlanTranslator::constant(std::vector<std::shared_ptr<const Delta>> rows,
                                                Scope scope) {
  return {add(make_constant(std::move(rows)), {}), std::move(scope), true};
}

PlanTranslator::Stream PlanTranslator::one_row(size_t table_index) {
  auto row = std::make_shared<Delta>();
  make_chunk(row->rows, {duckdb::LogicalType::INTEGER}, 1);
  row->rows.SetValue(0, 0, duckdb::Value::INTEGER(0));
  row->rows.SetCardinality(1);
  row->weights = {1};
  return constant({std::move(row)}, {bindings_of(table_index, 1), {duckdb::LogicalType::INTEGER}});
}

Result<PlanTranslator::Stream> PlanTranslator::translate_values(duckdb::LogicalExpressionGet& get) {
  std::vector<std::shared_ptr<const Delta>> rows;
  auto delta = std::make_shared<Delta>();
  for (auto& row : get.expressions) {
    if (delta->weights.empty()) make_chunk(delta->rows, get.expr_types, STANDARD_VECTOR_SIZE);
    const size_t at = delta->weights.size();
    for (size_t c = 0; c < row.size(); ++c) {
      MR_TRY(resolve(row[c], Scope{}));
      delta->rows.SetValue(c, at, duckdb::ExpressionExecutor::EvaluateScalar(context_, *row[c]));
    }
    delta->weights.push_back(1);
    delta->rows.SetCardinality(at + 1);
    if (at + 1 < STANDARD_VECTOR_SIZE) continue;
    rows.push_back(std::move(delta));
    delta = std::make_shared<Delta>();
  }
  if (!delta->weights.empty()) rows.push_back(std::move(delta));
  return constant(std::move(rows), {bindings_of(get.table_index, get.expr_types.size()),
                                    {get.expr_types.begin(), get.expr_types.end()}});
}

Result<PlanTranslator::Stream> PlanTranslator::translate_rows(duckdb::LogicalColumnDataGet& get) {
  std::vector<std::shared_ptr<const Delta>> rows;
  for (auto& chunk : get.collection->Chunks()) {
    auto delta = std::make_shared<Delta>();
    make_chunk(delta->rows, get.chunk_types, chunk.size());
    chunk.Copy(delta->rows);
    delta->weights.assign(chunk.size(), 1);
    rows.push_back(std::move(delta));
  }
  return constant(std::move(rows), {bindings_of(get.table_index, get.chunk_types.size()),
                                    {get.chunk_types.begin(), get.chunk_types.end()}});
}

}  // namespace millrace::flow
