#include "flow/detail/evaluator.h"

#include <bit>
#include <duckdb/common/vector_operations/vector_operations.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>

#include "flow/detail/quick_times.h"

namespace millrace::flow {

Evaluator::Evaluator(duckdb::ClientContext& context, Expressions expressions)
    : expressions_(std::move(expressions)), executor_(context, expressions_) {
  only_references_ = true;
  for (auto& expression : expressions_) {
    quicken_times(*expression);
    types_.push_back(expression->return_type);
    only_references_ &= expression->type == duckdb::ExpressionType::BOUND_REF;
  }
}

void Evaluator::evaluate(const duckdb::DataChunk& in, duckdb::DataChunk& out) {
  auto& chunk = const_cast<duckdb::DataChunk&>(in);  // the executor only reads it
  if (types_.empty()) {
    out.SetCardinality(in.size());
    return;
  }
  if (only_references_) {
    out.InitializeEmpty(types_);
    for (size_t i = 0; i < types_.size(); ++i)
      out.data[i].Reference(
          chunk.data[expressions_[i]->Cast<duckdb::BoundReferenceExpression>().index]);
    out.SetCardinality(in.size());
    return;
  }
  make_chunk(out, types_, in.size());
  std::vector<duckdb::data_ptr_t> own;
  for (auto& vector : out.data) own.push_back(vector.GetData());
  executor_.Execute(chunk, out);
  for (size_t i = 0; i < types_.size(); ++i) detach(i, own[i], out);
}

void Evaluator::detach(size_t i, duckdb::data_ptr_t own, duckdb::DataChunk& out) const {
  const auto type = expressions_[i]->type;
  if (type == duckdb::ExpressionType::BOUND_REF || type == duckdb::ExpressionType::VALUE_CONSTANT)
    return;
  auto& vector = out.data[i];
  const bool flat = vector.GetVectorType() == duckdb::VectorType::FLAT_VECTOR ||
                    vector.GetVectorType() == duckdb::VectorType::CONSTANT_VECTOR;
  if (flat && !types_[i].IsNested() && vector.GetData() == own) return;
  duckdb::Vector copy(types_[i], std::max<size_t>(out.size(), 1));
  duckdb::VectorOperations::Copy(vector, copy, out.size(), 0, 0);
  vector.Reference(copy);
}

size_t Evaluator::select(const duckdb::DataChunk& in, duckdb::SelectionVector& sel) {
  return executor_.SelectExpression(const_cast<duckdb::DataChunk&>(in), sel);
}

std::string Evaluator::describe() const {
  std::string text;
  for (const auto& expression : expressions_)
    text += (text.empty() ? "" : ", ") + expression->GetName();
  return text;
}

std::string reason_of_row(const std::exception& thrown) {
  const duckdb::ErrorData data(thrown);
  switch (data.Type()) {
    case duckdb::ExceptionType::OUT_OF_MEMORY:
    case duckdb::ExceptionType::INTERNAL:
    case duckdb::ExceptionType::FATAL:
    case duckdb::ExceptionType::INTERRUPT:
    case duckdb::ExceptionType::NOT_IMPLEMENTED:
      std::rethrow_exception(std::current_exception());
    default:
      return data.RawMessage();
  }
}

namespace {

void find_failing(const duckdb::DataChunk& in, size_t begin, size_t end,
                  const std::function<void(const duckdb::DataChunk&)>& evaluate,
                  std::vector<RowFailure>& failures) {
  duckdb::SelectionVector sel(end - begin);
  for (size_t i = begin; i < end; ++i) sel.set_index(i - begin, i);
  duckdb::DataChunk part;
  slice_chunk(in, sel, end - begin, part);
  try {
    return evaluate(part);
  } catch (const std::exception& thrown) {
    auto reason = reason_of_row(thrown);
    if (end - begin == 1) return failures.push_back({begin, std::move(reason)});
  }
  const size_t middle = begin + (end - begin) / 2;
  find_failing(in, begin, middle, evaluate, failures);
  find_failing(in, middle, end, evaluate, failures);
}

/// The rows of `in` that are none of `failures`; gives their number.
size_t others_than(const std::vector<RowFailure>& failures, size_t rows,
                   duckdb::SelectionVector& sel) {
  size_t count = 0;
  auto failed = failures.begin();
  for (size_t row = 0; row < rows; ++row) {
    if (failed != failures.end() && failed->row == row)
      ++failed;
    else
      sel.set_index(count++, row);
  }
  return count;
}

}  // namespace

std::vector<RowFailure> failing_rows(
    const duckdb::DataChunk& in, const std::function<void(const duckdb::DataChunk&)>& evaluate) {
  std::vector<RowFailure> failures;
  find_failing(in, 0, in.size(), evaluate, failures);
  return failures;
}

void tell_failures(const Delta& in, std::optional<size_t> child,
                   const std::vector<RowFailure>& failures, DeltaStream& out) {
  for (const auto& [row, reason] : failures) {
    if (in.weights[row] <= 0) continue;
    auto one = std::make_shared<Delta>();
    duckdb::SelectionVector sel(1);
    sel.set_index(0, row);
    slice_chunk(in.rows, sel, 1, one->rows);
    one->weights.push_back(in.weights[row]);
    out.errors.push_back({std::move(one), child, reason});
  }
}

std::shared_ptr<const Delta> evaluate_good(
    std::shared_ptr<const Delta> in, size_t child, DeltaStream& out,
    const std::function<void(const duckdb::DataChunk&)>& evaluate) {
  try {
    evaluate(in->rows);
    return in;
  } catch (const std::exception& thrown) {
    reason_of_row(thrown);
  }
  const auto failures = failing_rows(in->rows, evaluate);
  tell_failures(*in, child, failures, out);
  auto good = std::make_shared<Delta>();
  duckdb::SelectionVector sel(in->weights.size());
  const size_t count = others_than(failures, in->weights.size(), sel);
  slice_chunk(in->rows, sel, count, good->rows);
  for (size_t i = 0; i < count; ++i) good->weights.push_back(in->weights[sel.get_index(i)]);
  if (count > 0) evaluate(good->rows);
  return good;
}

size_t select_good(Evaluator& condition, const duckdb::DataChunk& in, duckdb::SelectionVector& sel,
                   std::vector<RowFailure>& failures) {
  try {
    return condition.select(in, sel);
  } catch (const std::exception& thrown) {
    reason_of_row(thrown);
  }
  failures = failing_rows(in, [&](const duckdb::DataChunk& part) {
    duckdb::SelectionVector ignored(part.size());
    condition.select(part, ignored);
  });
  duckdb::SelectionVector good(in.size());
  const size_t count = others_than(failures, in.size(), good);
  if (count == 0) return 0;
  duckdb::DataChunk rest;
  slice_chunk(in, good, count, rest);
  duckdb::SelectionVector passing(count);
  const size_t selected = condition.select(rest, passing);
  for (size_t i = 0; i < selected; ++i) sel.set_index(i, good.get_index(passing.get_index(i)));
  return selected;
}

void make_chunk(duckdb::DataChunk& chunk, const duckdb::vector<duckdb::LogicalType>& types,
                size_t rows) {
  if (types.empty()) return;
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(), types,
                   std::max<size_t>(std::bit_ceil(rows), 64));
}

void slice_chunk(const duckdb::DataChunk& in, const duckdb::SelectionVector& sel, size_t count,
                 duckdb::DataChunk& out) {
  if (in.ColumnCount() > 0) {
    out.InitializeEmpty(in.GetTypes());
    out.Slice(in, sel, count);
  }
  out.SetCardinality(count);
}

}  // namespace millrace::flow
