#include <algorithm>
#include <chrono>

#include "flow/detail/delta_builder.h"
#include "flow/detail/plan_translator.h"
#include "flow/detail/row_errors.h"
#include "flow/detail/state_stream.h"
#include "sql/format.h"

namespace millrace::flow {

namespace {

class PlannedDataflow : public Dataflow {
 public:
  PlannedDataflow(sql::PlannedQuery query, std::vector<Input> inputs, std::vector<FlowNode> nodes,
                  bool append_only, std::optional<size_t> first_retracting)
      : query_(std::move(query)),
        inputs_(std::move(inputs)),
        nodes_(std::move(nodes)),
        append_only_(append_only),
        first_retracting_(first_retracting),
        streams_(nodes_.size()),
        work_(nodes_.size()) {
    number_nodes(nodes_.size() - 1, std::nullopt);
  }

  const std::vector<Input>& inputs() const override { return inputs_; }
  const std::vector<std::string>& names() const override { return query_.names; }
  const std::vector<duckdb::LogicalType>& types() const override { return query_.types; }
  bool append_only() const override { return append_only_; }
  std::string retracts() const override {
    if (append_only_) return {};
    return name_of(first_retracting_.value_or(nodes_.size() - 1));
  }

  Result<> step(const Epoch& epoch, std::span<const DeltaStream> inputs,
                DeltaStream& out) override {
    MR_CHECK(inputs.size() == inputs_.size());
    std::vector<const DeltaStream*> given(nodes_.size());
    std::vector<RowError> errors;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!nodes_[i].op) {
        given[i] = &inputs[nodes_[i].input];
        count(i, {}, *given[i]);
        continue;
      }
      streams_[i] = {};
      given[i] = &streams_[i];
      std::vector<const DeltaStream*> children;
      for (const size_t child : nodes_[i].children) children.push_back(given[child]);
      const auto began = std::chrono::steady_clock::now();
      MR_TRY(step_one(*nodes_[i].op, epoch, children, streams_[i]));
      work_[i].busy += std::chrono::steady_clock::now() - began;
      count(i, children, streams_[i]);
      collect_errors(i, errors);
    }
    out = *given.back();
    out.errors = std::move(errors);
    for (auto& stream : streams_) stream = {};
    if (!append_only_) consolidate(query_.types, out);
    return {};
  }

  std::vector<OperatorStatus> operators() const override {
    std::vector<OperatorStatus> all;
    for (const size_t node : numbered_) {
      const auto& work = work_[node];
      auto& one = all.emplace_back();
      one.parent = work.parent;
      one.description = name_of(node);
      one.rows_in = work.rows_in;
      one.rows_out = work.rows_out;
      one.busy_us = std::chrono::duration_cast<std::chrono::microseconds>(work.busy).count();
      one.watermark_us = work.watermark_us;
      const auto& op = nodes_[node].op;
      if (!op) continue;
      one.state_rows = op->state_rows();
      one.state_bytes = op->state_bytes();
      one.late_rows = op->late_rows();
    }
    return all;
  }
  size_t state_bytes() const override {
    size_t bytes = 0;
    for (const auto& node : nodes_) bytes += node.op ? node.op->state_bytes() : 0;
    return bytes;
  }
  uint64_t late_rows() const override {
    uint64_t rows = 0;
    for (const auto& node : nodes_) rows += node.op ? node.op->late_rows() : 0;
    return rows;
  }
  bool can_save() const override {
    return std::ranges::all_of(nodes_,
                               [](const auto& node) { return !node.op || node.op->can_save(); });
  }
  void freeze() override {
    for (const auto& node : nodes_)
      if (node.op) node.op->freeze();
    saved_ = false;
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    if (saved_) return true;
    for (const auto& node : nodes_)
      if (node.op && !node.op->save_some(out, bytes)) return false;
    out.begin("end", 1);
    return saved_ = true;
  }
  Result<> load(StateReader& in) override {
    for (auto& node : nodes_)
      if (node.op) MR_TRY(node.op->load(in));
    in.begin("end", 1);
    return in.result();
  }
  void take_late(std::vector<LateRows>& out) override {
    for (const auto& node : nodes_)
      if (node.op) node.op->take_late(out);
  }
  bool waits_for_frontier() const override {
    return std::ranges::any_of(
        nodes_, [](const auto& node) { return node.op && node.op->waits_for_frontier(); });
  }
  std::optional<int64_t> next_turn_us() const override {
    std::optional<int64_t> next;
    for (const auto& node : nodes_) {
      const auto turn = node.op ? node.op->next_turn_us() : std::nullopt;
      if (turn) next = std::min(next.value_or(*turn), *turn);
    }
    return next;
  }
  std::string describe() const override {
    std::string text;
    describe_node(nodes_.size() - 1, 0, text);
    return text;
  }

 private:
  std::string name_of(size_t node) const {
    const auto& [op, children, input] = nodes_[node];
    if (op) return op->describe();
    const auto& [object, columns, types, only_grows] = inputs_[input];
    const bool is_table = object.kind == catalog::Kind::kTable;
    return (!only_grows ? "changes of " : is_table ? "versions of " : "stream ") + object.name;
  }

  /// What a node has done.
  struct Work {
    std::optional<size_t> parent;  // its number
    uint64_t rows_in = 0;
    uint64_t rows_out = 0;
    std::chrono::steady_clock::duration busy{};
    std::optional<int64_t> watermark_us;
  };

  void count(size_t node, std::span<const DeltaStream* const> children, const DeltaStream& out) {
    auto& work = work_[node];
    for (const auto* child : children) work.rows_in += child->row_count();
    work.rows_out += out.row_count();
    if (!nodes_[node].op) work.rows_in = work.rows_out;
    for (const auto& frontier : out.frontiers) work.watermark_us = frontier.time_us;
  }

  /// In the order of describe(); what several read has the place of the first.
  void number_nodes(size_t node, std::optional<size_t> parent) {
    if (std::ranges::find(numbered_, node) != numbered_.end()) return;
    const size_t number = numbered_.size();
    numbered_.push_back(node);
    work_[node].parent = parent;
    for (const size_t child : nodes_[node].children) number_nodes(child, number);
  }

  void collect_errors(size_t node, std::vector<RowError>& all) {
    for (auto& error : std::exchange(streams_[node].errors, {})) {
      std::vector<std::string> names;
      for (size_t c = 0; c < nodes_[node].children.size(); ++c) {
        if (error.child && c != *error.child) continue;
        const auto of_child = columns_of(nodes_[node].children[c]);
        names.insert(names.end(), of_child.begin(), of_child.end());
      }
      error.json = failed_row_json(*error.row, std::move(names));
      all.push_back(std::move(error));
    }
  }

  /// The names of a node's columns where they are an input's; else none.
  std::vector<std::string> columns_of(size_t node) const {
    const auto& [op, children, input] = nodes_[node];
    if (op) return op->keeps_columns() ? columns_of(children[0]) : std::vector<std::string>();
    std::vector<std::string> names;
    const auto columns = sql::columns_of(inputs_[input].object);
    if (!columns) return names;
    for (const size_t column : inputs_[input].columns)
      names.push_back(column < columns->size() ? (*columns)[column].name : "_row");
    return names;
  }

  /// The one place where what DuckDB throws in evaluation becomes an error.
  static Result<> step_one(Operator& op, const Epoch& epoch,
                           std::span<const DeltaStream* const> inputs, DeltaStream& out) {
    try {
      return op.step(epoch, inputs, out);
    } catch (const std::exception& thrown) {
      return library_error(thrown, op.describe());
    }
  }

  void describe_node(size_t node, size_t depth, std::string& text) const {
    text.append(depth * 2, ' ');
    text += name_of(node) + "\n";
    for (const size_t child : nodes_[node].children) describe_node(child, depth + 1, text);
  }

  sql::PlannedQuery query_;  // first: the operators need its context to the end
  std::vector<Input> inputs_;
  std::vector<FlowNode> nodes_;  // children before parents; the last is the view
  bool append_only_;
  std::optional<size_t> first_retracting_;
  std::vector<DeltaStream> streams_;
  std::vector<Work> work_;        // by node
  std::vector<size_t> numbered_;  // nodes by their numbers
  bool saved_ = false;            // what was frozen last
};

}  // namespace

Result<std::unique_ptr<Dataflow>> translate(sql::PlannedQuery query, const ObjectFinder& finder,
                                            Emit emit) {
  try {
    PlanTranslator translator(*query.context, finder);
    MR_TRY(auto stream, translator.translate(*query.plan));
    MR_TRY(stream, translator.in_order_of(*query.plan, std::move(stream)));
    // The view is the last node; what the plan's root refers to may stand before others.
    auto nodes = translator.take_nodes();
    if (emit == Emit::kOnWindowClose) {
      nodes.push_back({make_emit_on_close(query.names, {query.types.begin(), query.types.end()}),
                       {stream.node},
                       0});
      stream.append_only = true;
    } else if (stream.node + 1 != nodes.size()) {
      nodes.push_back({make_union(), {stream.node}, 0});
    }
    if (stream.scope.types != query.types)
      return Error{ErrorCode::kInternal, "the view's plan gives other types than its query"};
    query.plan.reset();
    return std::make_unique<PlannedDataflow>(std::move(query), translator.take_inputs(),
                                             std::move(nodes), stream.append_only,
                                             translator.first_retracting());
  } catch (const std::exception& thrown) {
    auto error = library_error(thrown, "the view cannot be planned");
    if (error.code == ErrorCode::kInternal) error.code = ErrorCode::kNotSupported;
    return error;
  }
}

Result<std::unique_ptr<Dataflow>> translate(sql::PlannedQuery query, Emit emit) {
  const auto finder = [](const duckdb::LogicalOperator& get) { return sql::scanned_object(get); };
  return translate(std::move(query), finder, emit);
}

}  // namespace millrace::flow
