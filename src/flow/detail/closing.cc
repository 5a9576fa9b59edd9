#include "flow/detail/closing.h"

#include <fmt/format.h>

#include <cstdlib>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <set>

#include "flow/detail/evaluator.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

void LateCollector::add(const Delta& in, const duckdb::SelectionVector& sel, size_t count) {
  if (count == 0) return;
  auto late = std::make_shared<Delta>();
  slice_chunk(in.rows, sel, count, late->rows);
  for (size_t i = 0; i < count; ++i) {
    late->weights.push_back(in.weights[sel.get_index(i)]);
    count_ += static_cast<uint64_t>(std::abs(late->weights.back()));
  }
  rows_.push_back(std::move(late));
}

void LateCollector::take(std::vector<LateRows>& out) {
  for (auto& rows : rows_) {
    std::vector<std::string> names = names_;
    // Columns that no expression has named.
    for (size_t i = names.size(); i < rows->rows.ColumnCount(); ++i)
      names.push_back(fmt::format("column{}", i));
    out.push_back({std::move(names), std::move(rows)});
  }
  rows_.clear();
}

void LateCollector::save(StateWriter& out) const { out.number(count_); }

void LateCollector::load(StateReader& in) { count_ = in.number<uint64_t>(); }

void Closing::save(StateWriter& out) const {
  out.number(column_.has_value());
  out.number(static_cast<uint64_t>(column_.value_or(0)));
  out.number(below_us_);
}

void Closing::load(StateReader& in) {
  const bool known = in.number<bool>();
  const auto column = in.number<uint64_t>();
  if (known) column_ = column;
  below_us_ = in.number<int64_t>();
}

namespace {

void name_columns(const duckdb::Expression& expression, std::vector<std::string>& names) {
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::BOUND_REF) {
    const auto& reference = expression.Cast<duckdb::BoundReferenceExpression>();
    if (reference.index >= names.size()) names.resize(reference.index + 1);
    if (names[reference.index].empty()) names[reference.index] = reference.GetName();
  }
  duckdb::ExpressionIterator::EnumerateChildren(
      expression, [&](const duckdb::Expression& child) { name_columns(child, names); });
}

}  // namespace

std::vector<std::string> column_names(const std::vector<const Evaluator*>& expressions) {
  std::vector<std::string> names;
  for (const auto* evaluator : expressions)
    for (size_t i = 0; i < evaluator->size(); ++i) name_columns((*evaluator)[i], names);
  std::set<std::string> seen;
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i].empty() || !seen.insert(names[i]).second) names[i] = fmt::format("column{}", i);
  return names;
}

}  // namespace millrace::flow
