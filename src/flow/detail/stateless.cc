#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>

#include "flow/detail/exchange.h"
#include "flow/detail/frontier_map.h"
#include "flow/detail/operators.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

/// The rows `sel[0..count)` of `in` with their weights.
std::shared_ptr<Delta> select_rows(const Delta& in, const duckdb::SelectionVector& sel,
                                   size_t count) {
  auto out = std::make_shared<Delta>();
  slice_chunk(in.rows, sel, count, out->rows);
  out->weights.resize(count);
  for (size_t i = 0; i < count; ++i) out->weights[i] = in.weights[sel.get_index(i)];
  return out;
}

class Filter : public StatelessOperator {
 public:
  Filter(duckdb::ClientContext& context, Expressions conditions) {
    for (auto& condition : conditions) {
      Expressions one;
      one.push_back(std::move(condition));
      conditions_.push_back(std::make_unique<Evaluator>(context, std::move(one)));
    }
  }

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) {
      std::shared_ptr<const Delta> rest = chunk;
      for (auto& condition : conditions_) {
        if (rest->weights.empty()) break;
        duckdb::SelectionVector sel(rest->weights.size());  // the rest keeps it
        std::vector<RowFailure> failures;
        const size_t count = select_good(*condition, rest->rows, sel, failures);
        tell_failures(*rest, 0, failures, out);
        if (count < rest->weights.size()) rest = select_rows(*rest, sel, count);
      }
      if (!rest->weights.empty()) out.chunks.push_back(std::move(rest));
    }
    out.frontiers = inputs[0]->frontiers;
    return {};
  }

  bool keeps_columns() const override { return true; }
  std::string describe() const override {
    std::string text;
    for (const auto& condition : conditions_)
      text += (text.empty() ? "" : " AND ") + condition->describe();
    return "filter " + text;
  }

 private:
  std::vector<std::unique_ptr<Evaluator>> conditions_;
};

class Projection : public StatelessOperator {
 public:
  Projection(duckdb::ClientContext& context, Expressions expressions)
      : expressions_(context, std::move(expressions)), frontiers_(context, expressions_) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) {
      auto delta = std::make_shared<Delta>();
      const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
        delta = std::make_shared<Delta>();
        expressions_.evaluate(rows, delta->rows);
      });
      if (good->weights.empty()) continue;
      delta->weights = good->weights;
      out.chunks.push_back(std::move(delta));
    }
    out.frontiers = frontiers_.map(inputs[0]->frontiers);
    return {};
  }

  std::string describe() const override { return "project " + expressions_.describe(); }

 private:
  Evaluator expressions_;
  FrontierMap frontiers_;
};

class Union : public StatelessOperator {
 public:
  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    out = concat(inputs);
    return {};
  }

  std::string describe() const override { return "union all"; }
};

class Constant : public Operator {
 public:
  explicit Constant(std::vector<std::shared_ptr<const Delta>> rows) : rows_(std::move(rows)) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const>, DeltaStream& out) override {
    out.chunks = std::move(rows_);
    rows_.clear();
    return {};
  }

  bool can_save() const override { return true; }
  void save(StateWriter& out) const override {
    out.begin("constant", 1);
    out.number(rows_.empty());
  }
  Result<> load(StateReader& in) override {
    in.begin("constant", 1);
    if (in.number<bool>()) rows_.clear();
    return in.result();
  }

  std::string describe() const override { return "constant rows"; }

 private:
  std::vector<std::shared_ptr<const Delta>> rows_;  // given out by the first step
};

class Unnest : public StatelessOperator {
 public:
  Unnest(duckdb::ClientContext& context, Expressions lists, size_t input_columns)
      : input_columns_(input_columns),
        starts_(context, starts_of(lists)),
        frontiers_(context, starts_),
        lists_(context, std::move(lists)) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) unnest(chunk, out);
    out.frontiers = inputs[0]->frontiers;
    for (const auto& frontier : frontiers_.map(inputs[0]->frontiers))
      out.frontiers.push_back({input_columns_ + frontier.column, frontier.time_us});
    return {};
  }

  std::string describe() const override { return "unnest " + lists_.describe(); }

 private:
  /// For each list its least element, where that is known: a series that rises begins with it, as
  /// the windows of HOP do. Otherwise something that no frontier goes through.
  static Expressions starts_of(const Expressions& lists) {
    Expressions starts;
    for (const auto& list : lists) {
      const auto* start = start_of_series(*list);
      starts.push_back(start ? start->Copy()
                             : duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value()));
    }
    return starts;
  }

  static const duckdb::Expression* start_of_series(const duckdb::Expression& list) {
    if (list.GetExpressionClass() != duckdb::ExpressionClass::BOUND_FUNCTION) return nullptr;
    const auto& call = list.Cast<duckdb::BoundFunctionExpression>();
    const auto& name = call.function.name;
    if ((name != "generate_series" && name != "range") || call.children.size() != 3) return nullptr;
    const auto& step = *call.children[2];
    if (step.GetExpressionClass() != duckdb::ExpressionClass::BOUND_CONSTANT ||
        step.return_type.id() != duckdb::LogicalTypeId::INTERVAL)
      return nullptr;
    const auto& value = step.Cast<duckdb::BoundConstantExpression>().value;
    if (value.IsNull()) return nullptr;
    const auto interval = duckdb::IntervalValue::Get(value);
    const bool rises = interval.months >= 0 && interval.days >= 0 && interval.micros >= 0;
    return rises ? call.children[0].get() : nullptr;
  }

  struct List {
    duckdb::UnifiedVectorFormat values;
    size_t length(size_t row) const {
      const auto at = values.sel->get_index(row);
      return values.validity.RowIsValid(at) ? entry(row).length : 0;
    }
    duckdb::list_entry_t entry(size_t row) const {
      return duckdb::UnifiedVectorFormat::GetData<duckdb::list_entry_t>(
          values)[values.sel->get_index(row)];
    }
  };

  void unnest(std::shared_ptr<const Delta> chunk, DeltaStream& out) {
    duckdb::DataChunk lists;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk values;
      lists_.evaluate(rows, values);
      lists.Move(values);
    });
    if (good->weights.empty()) return;
    const Delta& in = *good;
    std::vector<List> columns(lists_.size());
    for (size_t c = 0; c < columns.size(); ++c)
      if (lists_.types()[c].id() == duckdb::LogicalTypeId::LIST)
        lists.data[c].ToUnifiedFormat(lists.size(), columns[c].values);

    std::vector<std::pair<size_t, size_t>> elements;  // row, index in the row's lists
    for (size_t row = 0; row < in.weights.size(); ++row) {
      size_t longest = 0;
      for (size_t c = 0; c < columns.size(); ++c)
        if (lists_.types()[c].id() == duckdb::LogicalTypeId::LIST)
          longest = std::max(longest, columns[c].length(row));
      for (size_t i = 0; i < longest; ++i) {
        elements.emplace_back(row, i);
        if (elements.size() == STANDARD_VECTOR_SIZE) emit(in, lists, columns, elements, out);
      }
    }
    if (!elements.empty()) emit(in, lists, columns, elements, out);
  }

  void emit(const Delta& in, duckdb::DataChunk& lists, const std::vector<List>& columns,
            std::vector<std::pair<size_t, size_t>>& elements, DeltaStream& out) const {
    const size_t count = elements.size();
    auto delta = std::make_shared<Delta>();
    auto types = in.rows.GetTypes();
    const size_t width = types.size();
    for (const auto& type : lists_.types())
      types.push_back(type.id() == duckdb::LogicalTypeId::LIST
                          ? duckdb::ListType::GetChildType(type)
                          : duckdb::LogicalType(duckdb::LogicalTypeId::SQLNULL));
    delta->rows.InitializeEmpty(types);
    duckdb::SelectionVector rows(count);
    for (size_t i = 0; i < count; ++i) {
      rows.set_index(i, elements[i].first);
      delta->weights.push_back(in.weights[elements[i].first]);
    }
    for (size_t c = 0; c < width; ++c) delta->rows.data[c].Slice(in.rows.data[c], rows, count);
    for (size_t c = 0; c < columns.size(); ++c)
      emit_elements(lists.data[c], columns[c], elements, delta->rows.data[width + c]);
    delta->rows.SetCardinality(count);
    out.chunks.push_back(std::move(delta));
    elements.clear();
  }

  static void emit_elements(duckdb::Vector& list, const List& column,
                            const std::vector<std::pair<size_t, size_t>>& elements,
                            duckdb::Vector& out) {
    const size_t count = elements.size();
    if (list.GetType().id() != duckdb::LogicalTypeId::LIST ||
        duckdb::ListVector::GetListSize(list) == 0) {
      out.Reference(duckdb::Value(out.GetType()));
      return;
    }
    duckdb::SelectionVector sel(count);
    std::vector<size_t> missing;  // the list is shorter than another of its row
    for (size_t i = 0; i < count; ++i) {
      const auto [row, index] = elements[i];
      const bool there = index < column.length(row);
      sel.set_index(i, there ? column.entry(row).offset + index : 0);
      if (!there) missing.push_back(i);
    }
    out.Slice(duckdb::ListVector::GetEntry(list), sel, count);
    if (missing.empty()) return;
    out.Flatten(count);
    for (const size_t i : missing) duckdb::FlatVector::SetNull(out, i, true);
  }

  const size_t input_columns_;
  Evaluator starts_;
  FrontierMap frontiers_;
  Evaluator lists_;
};

}  // namespace

std::unique_ptr<Operator> make_filter(duckdb::ClientContext& context, Expressions conditions) {
  return std::make_unique<Filter>(context, std::move(conditions));
}

std::unique_ptr<Operator> make_projection(duckdb::ClientContext& context, Expressions expressions) {
  return std::make_unique<Projection>(context, std::move(expressions));
}

std::unique_ptr<Operator> make_union() { return std::make_unique<Union>(); }

std::unique_ptr<Operator> make_constant(std::vector<std::shared_ptr<const Delta>> rows) {
  return std::make_unique<Constant>(std::move(rows));
}

std::unique_ptr<Operator> make_unnest(duckdb::ClientContext& context, Expressions lists,
                                      size_t input_columns) {
  return std::make_unique<Unnest>(context, std::move(lists), input_columns);
}

}  // namespace millrace::flow
