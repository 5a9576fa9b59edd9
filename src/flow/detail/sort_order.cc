#include "flow/detail/sort_order.h"

namespace millrace::flow {

namespace {

Expressions expressions_of(std::vector<OrderKey>& keys) {
  Expressions out;
  for (auto& key : keys) out.push_back(std::move(key.expression));
  return out;
}

}  // namespace

SortOrder::SortOrder(duckdb::ClientContext& context, std::vector<OrderKey> keys)
    : expressions_(context, expressions_of(keys)) {
  for (const auto& key : keys) modifiers_.emplace_back(key.type, key.nulls);
}

void SortOrder::encode(const duckdb::DataChunk& rows) {
  if (empty()) return;
  duckdb::DataChunk values;
  expressions_.evaluate(rows, values);
  keys_ = std::make_unique<duckdb::Vector>(duckdb::LogicalType::BLOB);
  duckdb::CreateSortKeyHelpers::CreateSortKey(values, modifiers_, *keys_);
  keys_->Flatten(rows.size());
}

std::string_view SortOrder::operator[](size_t row) const {
  if (empty()) return {};
  const auto& key = duckdb::FlatVector::GetData<duckdb::string_t>(*keys_)[row];
  return {key.GetData(), key.GetSize()};
}

std::string SortOrder::describe() const {
  std::string text;
  for (size_t i = 0; i < expressions_.size(); ++i) {
    text += (i == 0 ? "" : ", ") + expressions_[i].GetName();
    if (modifiers_[i].order_type == duckdb::OrderType::DESCENDING) text += " DESC";
  }
  return text;
}

}  // namespace millrace::flow
