#include "flow/detail/evaluator.h"

#include <bit>
#include <duckdb/common/vector_operations/vector_operations.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>

namespace millrace::flow {

Evaluator::Evaluator(duckdb::ClientContext& context, Expressions expressions)
    : expressions_(std::move(expressions)), executor_(context, expressions_) {
  only_references_ = true;
  for (const auto& expression : expressions_) {
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
