#include "flow/detail/planned_dataflow.h"

#include <algorithm>
#include <chrono>
#include <deque>

#include "flow/detail/delta_builder.h"
#include "flow/detail/exchange.h"
#include "flow/detail/row_errors.h"
#include "flow/detail/state_stream.h"
#include "sql/format.h"

namespace millrace::flow {

namespace {

/// How what a node puts out comes to a node above it.
enum class Way {
  kStraight,  // share to share, or whole to whole
  kGather,    // of all shares, to a node that needs it whole
  kDeal,      // chunk by chunk, to shares
  kByKey,     // to the share of each row's keys
};

struct Edge {
  size_t child;
  Way way;
  std::unique_ptr<Exchange> exchange = nullptr;  // by key
  std::vector<DeltaStream> handed = {};          // the child's, with vectors of its own
};

/// One node at work. It is whole, or spread: then each share has an operator and a stream.
struct Node {
  std::vector<std::unique_ptr<Operator>> ops;  // none: an input
  std::vector<Edge> edges;
  size_t input = 0;
  size_t stage = 0;
  bool spread = false;
  std::vector<Exchange*> exchanges;  // that its rows go through
  std::vector<Edge*> others;         // to other threads
  std::vector<DeltaStream> streams;  // of the epoch under way

  // What it has done.
  std::optional<size_t> parent;  // its number
  uint64_t rows_in = 0;
  uint64_t rows_out = 0;
  std::vector<std::chrono::steady_clock::duration> busy;  // by share
  std::optional<int64_t> watermark_us;

  size_t rows() const {
    size_t n = 0;
    for (const auto& stream : streams) n += stream.row_count();
    return n;
  }
};

std::vector<const DeltaStream*> pointers_to(const std::vector<DeltaStream>& streams) {
  std::vector<const DeltaStream*> all;
  for (const auto& stream : streams) all.push_back(&stream);
  return all;
}

/// Steps its nodes in stages. Within a stage each share goes through its spread nodes by itself,
/// and the whole ones are a task more; rows change shares between stages.
class PlannedDataflow : public Dataflow {
 public:
  PlannedDataflow(std::vector<PlannedShare> shares, Spread spread)
      : spread_(spread),
        shares_(shares.size()),
        inputs_(std::move(shares[0].inputs)),
        append_only_(shares[0].append_only),
        first_retracting_(shares[0].first_retracting),
        nodes_(shares[0].nodes.size()) {
    for (size_t i = 0; i < nodes_.size(); ++i) lay_out(i, shares);
    hand_over_shared();
    for (auto& share : shares) queries_.push_back(std::move(share.query));
    number_nodes(nodes_.size() - 1, std::nullopt);
  }

  const std::vector<Input>& inputs() const override { return inputs_; }
  const std::vector<std::string>& names() const override { return queries_[0].names; }
  const std::vector<duckdb::LogicalType>& types() const override { return queries_[0].types; }
  bool append_only() const override { return append_only_; }
  std::string retracts() const override {
    if (append_only_) return {};
    return name_of(first_retracting_.value_or(nodes_.size() - 1));
  }

  Result<> step(const Epoch& epoch, std::span<const DeltaStream> inputs,
                DeltaStream& out) override {
    MR_CHECK(inputs.size() == inputs_.size());
    size_t rows = 0;
    for (const auto& input : inputs) rows += input.row_count();
    auto* const parallel = rows >= spread_.rows_min ? spread_.parallel : nullptr;
    for (size_t stage = 0; stage <= last_stage_; ++stage)
      MR_TRY(for_each_piece(parallel, shares_ > 1 ? shares_ + 1 : 1,
                            [&](size_t task) { return run(stage, task, epoch, inputs); }));
    std::vector<RowError> errors;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      count(nodes_[i]);
      collect_errors(nodes_[i], errors);
    }
    out = concat(pointers_to(nodes_.back().streams));
    out.errors = std::move(errors);
    for (auto& node : nodes_) {
      for (auto& stream : node.streams) stream = {};
      for (auto& edge : node.edges) {
        if (edge.exchange) edge.exchange->clear();
        for (auto& stream : edge.handed) stream = {};
      }
    }
    if (!append_only_) consolidate(types(), out);
    return {};
  }

  std::vector<OperatorStatus> operators() const override {
    std::vector<OperatorStatus> all;
    for (const size_t number : numbered_) {
      const auto& node = nodes_[number];
      auto& one = all.emplace_back();
      one.parent = node.parent;
      one.description = name_of(number);
      one.rows_in = node.rows_in;
      one.rows_out = node.rows_out;
      std::chrono::steady_clock::duration busy{};
      for (const auto& of_share : node.busy) busy += of_share;
      one.busy_us = std::chrono::duration_cast<std::chrono::microseconds>(busy).count();
      one.watermark_us = node.watermark_us;
      for (const auto& op : node.ops) {
        one.state_rows += op->state_rows();
        one.state_bytes += op->state_bytes();
        one.late_rows += op->late_rows();
      }
    }
    return all;
  }
  size_t state_bytes() const override {
    size_t bytes = 0;
    for (const auto& node : nodes_)
      for (const auto& op : node.ops) bytes += op->state_bytes();
    return bytes;
  }
  uint64_t late_rows() const override {
    uint64_t rows = 0;
    for (const auto& node : nodes_)
      for (const auto& op : node.ops) rows += op->late_rows();
    return rows;
  }
  bool can_save() const override {
    return std::ranges::all_of(nodes_, [](const auto& node) {
      return std::ranges::all_of(node.ops, [](const auto& op) { return op->can_save(); });
    });
  }
  void freeze() override {
    for (const auto& node : nodes_)
      for (const auto& op : node.ops) op->freeze();
    saved_ = Saved::kNothing;
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    if (saved_ == Saved::kAll) return true;
    if (saved_ == Saved::kNothing && shares_ > 1)
      out.begin("shares", static_cast<uint32_t>(shares_));
    saved_ = Saved::kSome;
    for (const auto& node : nodes_)
      for (const auto& op : node.ops)
        if (!op->save_some(out, bytes)) return false;
    out.begin("end", 1);
    saved_ = Saved::kAll;
    return true;
  }
  Result<> load(StateReader& in) override {
    if (shares_ > 1) in.begin("shares", static_cast<uint32_t>(shares_));
    for (auto& node : nodes_)
      for (auto& op : node.ops) MR_TRY(op->load(in));
    in.begin("end", 1);
    return in.result();
  }
  void take_late(std::vector<LateRows>& out) override {
    for (const auto& node : nodes_)
      for (const auto& op : node.ops) op->take_late(out);
  }
  bool waits_for_frontier() const override {
    return std::ranges::any_of(nodes_, [](const auto& node) {
      return std::ranges::any_of(node.ops, [](const auto& op) { return op->waits_for_frontier(); });
    });
  }
  std::optional<int64_t> next_turn_us() const override {
    std::optional<int64_t> next;
    for (const auto& node : nodes_)
      for (const auto& op : node.ops)
        if (const auto turn = op->next_turn_us()) next = std::min(next.value_or(*turn), *turn);
    return next;
  }
  std::string describe() const override {
    std::string text;
    describe_node(nodes_.size() - 1, 0, text);
    return text;
  }

 private:
  /// Decides where a node runs and how its rows come to it; its children are laid out.
  void lay_out(size_t i, std::vector<PlannedShare>& shares) {
    const auto& planned = shares[0].nodes[i];
    auto& node = nodes_[i];
    node.input = planned.input;
    const bool is_input = !planned.op;
    const bool stateless = dynamic_cast<StatelessOperator*>(planned.op.get()) != nullptr;
    const auto is_spread = [&](size_t child) { return nodes_[child].spread; };
    node.spread = shares_ > 1 && (is_input || !planned.keys.empty() ||
                                  (stateless && std::ranges::any_of(planned.children, is_spread)));
    const size_t width = node.spread ? shares_ : 1;
    node.streams.resize(width);
    node.busy.resize(width);
    for (size_t share = 0; !is_input && share < width; ++share)
      node.ops.push_back(std::move(shares[share].nodes[i].op));
    node.edges.reserve(planned.children.size());
    for (size_t c = 0; c < planned.children.size(); ++c) {
      auto& child = nodes_[planned.children[c]];
      auto& edge = node.edges.emplace_back(Edge{planned.children[c], Way::kStraight});
      if (node.spread && !planned.keys.empty()) {
        edge.way = Way::kByKey;
        edge.exchange = make_exchange(child, i, c, shares);
        child.exchanges.push_back(edge.exchange.get());
      } else if (node.spread != child.spread) {
        edge.way = node.spread ? Way::kDeal : Way::kGather;
      }
      node.stage = std::max(node.stage, child.stage + (edge.way != Way::kStraight));
    }
    last_stage_ = std::max(last_stage_, node.stage);
  }

  /// Where two threads might read the same chunks, one of them gets others.
  void hand_over_shared() {
    std::vector<size_t> readers(nodes_.size());
    for (const auto& node : nodes_)
      for (const auto& edge : node.edges) ++readers[edge.child];
    for (auto& node : nodes_)
      for (auto& edge : node.edges) {
        auto& child = nodes_[edge.child];
        // What is dealt out goes to several threads, what is gathered to one.
        if (edge.way != Way::kDeal && (edge.way != Way::kGather || readers[edge.child] == 1))
          continue;
        child.others.push_back(&edge);
        edge.handed.resize(child.streams.size());
      }
  }

  std::unique_ptr<Exchange> make_exchange(const Node& child, size_t node, size_t edge,
                                          std::vector<PlannedShare>& shares) const {
    std::vector<std::unique_ptr<Evaluator>> keys;
    for (size_t share = 0; share < child.streams.size(); ++share)
      keys.push_back(std::make_unique<Evaluator>(*shares[share].query.context,
                                                 std::move(shares[share].nodes[node].keys[edge])));
    return std::make_unique<Exchange>(std::move(keys), shares_);
  }

  /// Task i < shares: that share of the stage's spread nodes; the last: its whole nodes.
  Result<> run(size_t stage, size_t task, const Epoch& epoch, std::span<const DeltaStream> inputs) {
    const bool whole = task + 1 == (shares_ > 1 ? shares_ + 1 : 1);
    const size_t share = whole ? 0 : task;
    for (auto& node : nodes_) {
      if (node.stage != stage || node.spread == whole) continue;
      auto& out = node.streams[share];
      try {
        if (node.ops.empty())
          out = part_of(inputs[node.input], share, node.streams.size());
        else
          MR_TRY(step_one(node, share, epoch, out));
        for (auto* exchange : node.exchanges) exchange->split(share, out);
        for (auto* edge : node.others) edge->handed[share] = hand_over(out);
      } catch (const std::exception& thrown) {
        // The one place where what DuckDB throws in evaluation becomes an error.
        return library_error(thrown, node.ops.empty() ? "input" : node.ops[share]->describe());
      }
    }
    return {};
  }

  Result<> step_one(Node& node, size_t share, const Epoch& epoch, DeltaStream& out) {
    std::deque<DeltaStream> made;
    std::vector<const DeltaStream*> children;
    const auto began = std::chrono::steady_clock::now();
    for (const auto& edge : node.edges) {
      const auto& streams = edge.handed.empty() ? nodes_[edge.child].streams : edge.handed;
      if (edge.way == Way::kStraight) {
        children.push_back(&streams[share]);
        continue;
      }
      if (edge.way == Way::kByKey)
        made.push_back(edge.exchange->gather(share));
      else if (edge.way == Way::kDeal)
        made.push_back(part_of(streams[0], share, shares_));
      else
        made.push_back(concat(pointers_to(streams)));
      children.push_back(&made.back());
    }
    MR_TRY(node.ops[share]->step(epoch, children, out));
    node.busy[share] += std::chrono::steady_clock::now() - began;
    return {};
  }

  void count(Node& node) {
    const size_t rows = node.rows();
    for (const auto& edge : node.edges) node.rows_in += nodes_[edge.child].rows();
    node.rows_out += rows;
    if (node.ops.empty()) node.rows_in = node.rows_out;
    for (const auto& frontier : meet(pointers_to(node.streams)))
      node.watermark_us = frontier.time_us;
  }

  std::string name_of(size_t number) const {
    const auto& node = nodes_[number];
    if (!node.ops.empty()) return node.ops[0]->describe();
    const auto& input = inputs_[node.input];
    const bool is_table = input.object.kind == catalog::Kind::kTable;
    return (!input.append_only ? "changes of "
            : is_table         ? "versions of "
                               : "stream ") +
           input.object.name;
  }

  /// In the order of describe(); what several read has the place of the first.
  void number_nodes(size_t node, std::optional<size_t> parent) {
    if (std::ranges::find(numbered_, node) != numbered_.end()) return;
    const size_t number = numbered_.size();
    numbered_.push_back(node);
    nodes_[node].parent = parent;
    for (const auto& edge : nodes_[node].edges) number_nodes(edge.child, number);
  }

  void collect_errors(Node& node, std::vector<RowError>& all) {
    for (auto& stream : node.streams)
      for (auto& error : std::exchange(stream.errors, {})) {
        if (!error.json.empty()) {
          all.push_back(std::move(error));
          continue;
        }
        std::vector<std::string> names;
        for (size_t c = 0; c < node.edges.size(); ++c) {
          if (error.child && c != *error.child) continue;
          const auto of_child = columns_of(node.edges[c].child);
          names.insert(names.end(), of_child.begin(), of_child.end());
        }
        error.json = failed_row_json(*error.row, std::move(names));
        all.push_back(std::move(error));
      }
  }

  /// The names of a node's columns where they are an input's; else none.
  std::vector<std::string> columns_of(size_t number) const {
    const auto& node = nodes_[number];
    if (!node.ops.empty())
      return node.ops[0]->keeps_columns() ? columns_of(node.edges[0].child)
                                          : std::vector<std::string>();
    std::vector<std::string> names;
    const auto& input = inputs_[node.input];
    const auto columns = sql::columns_of(input.object);
    if (!columns) return names;
    for (const size_t column : input.columns)
      names.push_back(column < columns->size() ? (*columns)[column].name : "_row");
    return names;
  }

  void describe_node(size_t node, size_t depth, std::string& text) const {
    text.append(depth * 2, ' ');
    text += name_of(node) + "\n";
    for (const auto& edge : nodes_[node].edges) describe_node(edge.child, depth + 1, text);
  }

  std::vector<sql::PlannedQuery> queries_;  // first: the operators need their contexts to the end
  const Spread spread_;
  const size_t shares_;
  std::vector<Input> inputs_;
  bool append_only_;
  std::optional<size_t> first_retracting_;
  std::vector<Node> nodes_;  // children before parents; the last is the view
  size_t last_stage_ = 0;
  std::vector<size_t> numbered_;  // nodes by their numbers
  enum class Saved { kNothing, kSome, kAll };
  Saved saved_ = Saved::kNothing;  // of what was frozen last
};

}  // namespace

std::unique_ptr<Dataflow> make_planned_dataflow(std::vector<PlannedShare> shares, Spread spread) {
  return std::make_unique<PlannedDataflow>(std::move(shares), spread);
}

}  // namespace millrace::flow
