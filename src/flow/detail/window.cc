#include <duckdb/common/types/column/column_data_collection.hpp>
#include <duckdb/parser/statement/logical_plan_statement.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression/bound_window_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <duckdb/planner/operator/logical_column_data_get.hpp>
#include <duckdb/planner/operator/logical_projection.hpp>
#include <duckdb/planner/operator/logical_window.hpp>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include "base/check.h"
#include "flow/detail/arrangement.h"
#include "flow/detail/closing_partitions.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/operators.h"
#include "flow/detail/row_errors.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

std::vector<duckdb::LogicalType> plain(const duckdb::vector<duckdb::LogicalType>& types) {
  return {types.begin(), types.end()};
}

Expressions copies(const Expressions& expressions) {
  Expressions out;
  for (const auto& expression : expressions) out.push_back(expression->Copy());
  return out;
}

/// What the functions compute of a row by itself: arguments, FILTER, ORDER BY, frame bounds.
Expressions computed_of_a_row(const Expressions& windows) {
  Expressions out;
  for (const auto& window : windows)
    duckdb::ExpressionIterator::EnumerateChildren(*window, [&](const duckdb::Expression& child) {
      const auto kind = child.GetExpressionClass();
      if (kind != duckdb::ExpressionClass::BOUND_REF &&
          kind != duckdb::ExpressionClass::BOUND_CONSTANT)
        out.push_back(child.Copy());
    });
  return out;
}

/// DuckDB's window operator over rows that are handed to it. It sorts by PARTITION BY, ORDER BY and
/// then by a column that numbers the rows as they were given: so that rows that tie stand in that
/// order. The number is the last key of a row_number() that shares the sort of the others (DuckDB
/// puts functions whose ORDER BYs are prefixes of each other into one sort), since another key in
/// their own ORDER BY would change which rows are peers.
class WindowRun {
 public:
  WindowRun(duckdb::ClientContext& context, const duckdb::vector<duckdb::LogicalType>& input_types,
            Expressions windows)
      : context_(context), types_(input_types), windows_(std::move(windows)) {
    types_.push_back(duckdb::LogicalType::BIGINT);
    for (auto& window : windows_) {
      refer_by_binding(window);
      add_sort(window->Cast<duckdb::BoundWindowExpression>());
      result_types_.push_back(window->return_type);
    }
  }

  /// The input's columns, and the row's number.
  const duckdb::vector<duckdb::LogicalType>& types() const { return types_; }
  const duckdb::vector<duckdb::LogicalType>& result_types() const { return result_types_; }

  /// A row for each row given, in any order: its number, then the functions' values.
  duckdb::unique_ptr<duckdb::QueryResult> run(duckdb::ColumnDataCollection& rows) const {
    auto window = duckdb::make_uniq<duckdb::LogicalWindow>(kWindows);
    for (const auto& sort : sorts_) window->expressions.push_back(sort->Copy());
    for (const auto& function : windows_) window->expressions.push_back(function->Copy());
    window->children.push_back(
        duckdb::make_uniq<duckdb::LogicalColumnDataGet>(kRows, types_, rows));
    Expressions columns;
    columns.push_back(number());
    for (size_t i = 0; i < windows_.size(); ++i)
      columns.push_back(duckdb::make_uniq<duckdb::BoundColumnRefExpression>(
          result_types_[i], duckdb::ColumnBinding(kWindows, sorts_.size() + i)));
    auto plan = duckdb::make_uniq<AsItIs>(kResult, std::move(columns));
    plan->children.push_back(std::move(window));
    plan->ResolveOperatorTypes();
    auto result = context_.Query(duckdb::make_uniq<duckdb::LogicalPlanStatement>(std::move(plan)),
                                 duckdb::QueryParameters(false));
    if (result->HasError()) {
      // The plan's transaction takes no more queries then.
      context_.Query("ROLLBACK", duckdb::QueryParameters(false));
      context_.Query("BEGIN", duckdb::QueryParameters(false));
      result->ThrowError();
    }
    return result;
  }

 private:
  /// The root of a plan that is not optimised: that would take out the sorts, whose numbers nobody
  /// reads. (With the optimizer off, DuckDB aggregates every frame from its first row.)
  class AsItIs : public duckdb::LogicalProjection {
   public:
    using LogicalProjection::LogicalProjection;
    bool RequireOptimizer() const override { return false; }
  };
  static constexpr size_t kRows = 0, kWindows = 1, kResult = 2;  // table indexes of the plan

  static void refer_by_binding(duckdb::unique_ptr<duckdb::Expression>& expression) {
    if (expression->GetExpressionClass() == duckdb::ExpressionClass::BOUND_REF) {
      const size_t column = expression->Cast<duckdb::BoundReferenceExpression>().index;
      expression = duckdb::make_uniq<duckdb::BoundColumnRefExpression>(
          expression->return_type, duckdb::ColumnBinding(kRows, column));
      return;
    }
    duckdb::ExpressionIterator::EnumerateChildren(
        *expression,
        [](duckdb::unique_ptr<duckdb::Expression>& child) { refer_by_binding(child); });
  }

  duckdb::unique_ptr<duckdb::Expression> number() const {
    return duckdb::make_uniq<duckdb::BoundColumnRefExpression>(
        types_.back(), duckdb::ColumnBinding(kRows, types_.size() - 1));
  }
  duckdb::BoundOrderByNode by_number() const {
    return {duckdb::OrderType::ASCENDING, duckdb::OrderByNullType::NULLS_LAST, number()};
  }

  void add_sort(duckdb::BoundWindowExpression& window) {
    auto sort = duckdb::make_uniq<duckdb::BoundWindowExpression>(
        duckdb::ExpressionType::WINDOW_ROW_NUMBER, duckdb::LogicalType::BIGINT, nullptr, nullptr);
    sort->start = duckdb::WindowBoundary::UNBOUNDED_PRECEDING;
    sort->end = duckdb::WindowBoundary::CURRENT_ROW_ROWS;
    for (const auto& partition : window.partitions) sort->partitions.push_back(partition->Copy());
    for (const auto& order : window.orders) sort->orders.push_back(order.Copy());
    sort->orders.push_back(by_number());
    sorts_.push_back(std::move(sort));
    using Type = duckdb::ExpressionType;
    const bool by_peers = window.type == Type::WINDOW_RANK ||
                          window.type == Type::WINDOW_RANK_DENSE ||
                          window.type == Type::WINDOW_PERCENT_RANK ||
                          window.type == Type::WINDOW_CUME_DIST || window.type == Type::WINDOW_FILL;
    // Over a whole partition DuckDB sorts an aggregate's arguments by themselves.
    if (window.aggregate && window.start == duckdb::WindowBoundary::UNBOUNDED_PRECEDING &&
        window.end == duckdb::WindowBoundary::UNBOUNDED_FOLLOWING && window.arg_orders.empty() &&
        !window.distinct)
      for (const auto& order : window.orders) window.arg_orders.push_back(order.Copy());
    if (!window.arg_orders.empty() && !by_peers && !window.distinct)
      window.arg_orders.push_back(by_number());
  }

  duckdb::ClientContext& context_;
  duckdb::vector<duckdb::LogicalType> types_, result_types_;
  Expressions windows_;
  Expressions sorts_;  // stand before the functions: DuckDB takes the sort of the first that fits
};

/// Window functions with one PARTITION BY. Rows are kept by partition, with the functions' values
/// beside them as they stand in the output. At the end of an epoch each partition that changed is
/// computed again by DuckDB's own operator, all of them in one run, and the difference is put out:
/// so an epoch costs the size of the partitions that it touches, and a query without PARTITION BY
/// all rows. What ties in ORDER BY is ordered by the bytes of the row. A partition that a frontier
/// has passed is forgotten. One that DuckDB fails over is kept without the functions' values, and
/// stands not in the output.
class Window : public Operator {
 public:
  Window(duckdb::ClientContext& context, WindowSpec spec)
      : context_(context),
        partitions_(context,
                    copies(spec.windows[0]->Cast<duckdb::BoundWindowExpression>().partitions)),
        of_a_row_(context, computed_of_a_row(spec.windows)),
        run_(context, spec.types, std::move(spec.windows)),
        key_codec_(plain(partitions_.types()), RowCodec::Use::kKey),
        closing_(context, partitions_, key_codec_),
        row_codec_(plain(spec.types), RowCodec::Use::kRow),
        result_codec_(plain(run_.result_types()), RowCodec::Use::kRow),
        builder_({&row_codec_, &result_codec_}),
        rows_(false, true) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) take(chunk, out);
    duckdb::ColumnDataCollection given(context_, run_.types());
    for (auto& [key, changes] : changes_) MR_TRY(give(*key, changes, given));
    put_given(given);
    if (!fed_.empty()) compute(given, out);
    for (auto* row : touched_)
      if (row->weight != row->counts().emitted && has_result(*row))
        builder_.add({input_of(*row), result_of(*row)}, row->weight - row->counts().emitted, out);
    builder_.flush(out);
    clean();
    if (closing_.advance(inputs[0]->frontiers)) index_all();
    closing_.close([&](Arrangement::Key& key) { forget(key); });
    closing_.carry(out);
    return {};
  }

  size_t state_rows() const override { return rows_.rows(); }
  size_t state_bytes() const override { return rows_.memory_bytes(); }
  uint64_t late_rows() const override { return closing_.late_rows(); }
  void take_late(std::vector<LateRows>& out) override { closing_.take_late(out); }
  bool waits_for_frontier() const override { return closing_.waits(); }

  bool can_save() const override { return true; }
  void save(StateWriter& out) const override {
    out.begin("window", 2);
    closing_.save(out);
  }
  void freeze() override {
    Operator::freeze();
    rows_.freeze();
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    return Operator::save_some(out, bytes) && rows_.save_some(out, bytes);
  }
  Result<> load(StateReader& in) override {
    in.begin("window", 2);
    closing_.load(in);
    rows_.load(in);
    index_all();
    return in.result();
  }

  std::string describe() const override {
    std::string text = "window functions";
    return partitions_.size() == 0 ? text : text + " over each " + partitions_.describe();
  }

 private:
  struct Change {
    std::string row;
    int64_t weight;
  };
  /// A copy of a row as it was given to DuckDB; its number is its place.
  struct Fed {
    Arrangement::Key* key;
    std::string_view row;
  };

  /// A row of the state: how long the input's bytes are; they; the results' bytes.
  static uint32_t input_bytes(Arrangement::Row& row) {
    uint32_t bytes;
    std::memcpy(&bytes, row.bytes(), sizeof(bytes));
    return bytes;
  }
  static const char* input_of(Arrangement::Row& row) { return row.bytes() + sizeof(uint32_t); }
  static const char* result_of(Arrangement::Row& row) { return input_of(row) + input_bytes(row); }
  /// Not in a partition that DuckDB fails over.
  static bool has_result(Arrangement::Row& row) {
    return row.size > sizeof(uint32_t) + input_bytes(row);
  }

  void take(const std::shared_ptr<const Delta>& chunk, DeltaStream& out) {
    duckdb::DataChunk keys;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk values;
      partitions_.evaluate(rows, values);
      duckdb::DataChunk ignored;  // DuckDB computes it again: a row that fails must not get there
      of_a_row_.evaluate(rows, ignored);
      keys.Move(values);
    });
    const Delta& delta = *good;
    if (delta.weights.empty()) return;
    key_codec_.encode(keys, keys_);
    row_codec_.encode(delta.rows, encoded_);
    closing_.begin(keys, delta);
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      if (closing_.is_late(i)) continue;
      auto& key = rows_.find_or_add(keys_[i], hash_bytes(keys_[i]));
      const auto [at, fresh] = places_.try_emplace(&key, changes_.size());
      if (fresh) changes_.push_back({&key, {}});
      if (fresh && key.first == 0) closing_.add(key, i);
      changes_[at->second].second.push_back({std::string(encoded_[i]), delta.weights[i]});
    }
  }

  /// Takes a partition's rows out of the output and gives what they are now to DuckDB.
  Result<> give(Arrangement::Key& key, const std::vector<Change>& changes,
                duckdb::ColumnDataCollection& given) {
    std::vector<std::pair<std::string_view, int64_t>> rows;
    if (auto* first = rows_.first(key); first && !has_result(*first)) failed_before_.insert(&key);
    for (auto* row = rows_.first(key); row; row = rows_.next(*row)) {
      rows.emplace_back(std::string_view{input_of(*row), input_bytes(*row)}, row->weight);
      rows_.before_change(*row);
      row->counts().emitted = has_result(*row) ? row->weight : 0;
      row->weight = 0;
      row->touched = true;
      touched_.push_back(row);
    }
    for (const auto& change : changes) rows.emplace_back(change.row, change.weight);
    std::sort(rows.begin(), rows.end());
    for (size_t i = 0; i < rows.size();) {
      const auto row = rows[i].first;
      int64_t weight = 0;
      for (; i < rows.size() && rows[i].first == row; ++i) weight += rows[i].second;
      if (weight < 0)
        return Error{ErrorCode::kInternal, "more copies of a row are retracted than there were"};
      for (; weight > 0; --weight) {
        fed_.push_back({&key, row});
        if (fed_.size() % STANDARD_VECTOR_SIZE == 0) put_given(given);
      }
    }
    return {};
  }

  /// Appends the rows of `fed_` that `given` has not yet.
  void put_given(duckdb::ColumnDataCollection& given) {
    const size_t from = given.Count();
    if (from < fed_.size()) put(from, fed_.size() - from, given);
  }
  void put(size_t from, size_t count, duckdb::ColumnDataCollection& given) {
    duckdb::DataChunk chunk;
    make_chunk(chunk, run_.types(), count);
    std::vector<const char*> bytes(count);
    auto* numbers = duckdb::FlatVector::GetData<int64_t>(chunk.data.back());
    for (size_t i = 0; i < count; ++i) {
      bytes[i] = fed_[from + i].row.data();
      numbers[i] = static_cast<int64_t>(from + i);
    }
    row_codec_.decode(bytes, chunk);
    chunk.SetCardinality(count);
    given.Append(chunk);
  }

  /// All partitions at once; where that fails, one by one.
  void compute(duckdb::ColumnDataCollection& given, DeltaStream& out) {
    try {
      return take_results(*run_.run(given), fed_.size());
    } catch (const std::exception& thrown) {
      reason_of_row(thrown);
    }
    for (size_t from = 0, until = 0; from < fed_.size(); from = until) {
      auto* const key = fed_[from].key;
      while (until < fed_.size() && fed_[until].key == key) ++until;
      duckdb::ColumnDataCollection rows(context_, run_.types());
      for (size_t at = from; at < until; at += STANDARD_VECTOR_SIZE)
        put(at, std::min<size_t>(STANDARD_VECTOR_SIZE, until - at), rows);
      try {
        take_results(*run_.run(rows), until - from);
      } catch (const std::exception& thrown) {
        auto reason = reason_of_row(thrown);
        if (!failed_before_.contains(key))
          tell_failed_key(partitions_, key_codec_, key->bytes(), std::move(reason), out);
        for (size_t at = from; at < until; ++at) add_row(fed_[at], {});
      }
    }
  }

  void take_results(duckdb::QueryResult& result, size_t rows) {
    size_t came = 0;
    while (auto chunk = result.Fetch()) {
      chunk->Flatten();
      const auto* numbers = duckdb::FlatVector::GetData<int64_t>(chunk->data[0]);
      duckdb::DataChunk results;
      results.InitializeEmpty(run_.result_types());
      for (size_t c = 0; c < results.ColumnCount(); ++c)
        results.data[c].Reference(chunk->data[c + 1]);
      results.SetCardinality(chunk->size());
      result_codec_.encode(results, encoded_);
      for (size_t i = 0; i < chunk->size(); ++i)
        add_row(fed_[static_cast<size_t>(numbers[i])], encoded_[i]);
      came += chunk->size();
    }
    MR_CHECK(came == rows);
  }

  void add_row(const Fed& fed, std::string_view result) {
    const auto size = static_cast<uint32_t>(fed.row.size());
    bytes_.assign(reinterpret_cast<const char*>(&size), sizeof(size));
    bytes_.append(fed.row).append(result);
    auto& added = rows_.add(*fed.key, bytes_, 1).row;
    if (added.touched) return;
    added.touched = true;
    touched_.push_back(&added);
  }

  void clean() {
    for (auto* row : touched_) {
      row->touched = false;
      row->counts().emitted = 0;
      if (row->weight == 0) rows_.remove(*row);
    }
    for (auto& [key, changes] : changes_) {
      if (key->first != 0) continue;
      closing_.remove(*key, key->view());
      rows_.remove(*key);
    }
    touched_.clear();
    changes_.clear();
    places_.clear();
    fed_.clear();
    failed_before_.clear();
  }

  void index_all() {
    rows_.each_row([&](Arrangement::Row& row) {
      auto& key = rows_.key_of(row);
      if (&row == rows_.first(key)) closing_.index(key, key.view());
    });
  }

  void forget(Arrangement::Key& key) {
    while (auto* row = rows_.first(key)) rows_.remove(*row);
    rows_.remove(key);
  }

  duckdb::ClientContext& context_;
  Evaluator partitions_, of_a_row_;
  WindowRun run_;
  RowCodec key_codec_;
  ClosingPartitions<Arrangement::Key> closing_;
  RowCodec row_codec_, result_codec_;
  DeltaBuilder builder_;
  Arrangement rows_;

  EncodedRows keys_, encoded_;
  // In this epoch, by partition in the order in which they came; and where each stands.
  std::vector<std::pair<Arrangement::Key*, std::vector<Change>>> changes_;
  boost::unordered_flat_map<Arrangement::Key*, size_t> places_;
  std::vector<Fed> fed_;
  boost::unordered_flat_set<Arrangement::Key*> failed_before_;  // of those that changed
  std::string bytes_;
  std::vector<Arrangement::Row*> touched_;
};

}  // namespace

std::unique_ptr<Operator> make_window(duckdb::ClientContext& context, WindowSpec spec) {
  return std::make_unique<Window>(context, std::move(spec));
}

}  // namespace millrace::flow
