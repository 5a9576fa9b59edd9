#pragma once

#include <duckdb.hpp>

#include <duckdb/function/create_sort_key.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// One expression of an ORDER BY.
struct OrderKey {
  duckdb::unique_ptr<duckdb::Expression> expression;  // over the input's columns
  duckdb::OrderType type;
  duckdb::OrderByNullType nulls;
};

/// An ORDER BY as bytes: rows stand in its order when their keys are compared as bytes. The keys
/// are DuckDB's own, so NULLs, NaN, collations and nested values stand where DuckDB puts them.
class SortOrder {
 public:
  SortOrder(duckdb::ClientContext& context, std::vector<OrderKey> keys);

  bool empty() const { return expressions_.size() == 0; }
  /// A key a row of `rows`; they live until the next call.
  void encode(const duckdb::DataChunk& rows);
  std::string_view operator[](size_t row) const;
  /// "a, b DESC"
  std::string describe() const;

 private:
  Evaluator expressions_;
  duckdb::vector<duckdb::OrderModifiers> modifiers_;
  std::unique_ptr<duckdb::Vector> keys_;
};

}  // namespace millrace::flow
