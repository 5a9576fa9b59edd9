#include "flow/detail/clock_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "flow/detail/closing.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/frozen_slab.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

/// A row that waits to enter, or stands in the output and is to leave. Its bytes stand behind it.
struct TurningRow {
  int64_t turn_us;   // when it does
  int64_t leave_us;  // of one that stands in the output the same
  int64_t weight;
  uint64_t size;

  bool waits() const { return turn_us != leave_us; }
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), size}; }
};

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

/// What the conditions look at, of the rows of a chunk.
class Looked {
 public:
  Looked(duckdb::DataChunk& columns, size_t count) {
    for (auto& column : columns.data) {
      const bool plain = column.GetType().id() == duckdb::LogicalTypeId::BOOLEAN;
      times_.push_back(plain ? std::nullopt
                             : std::optional<TimeColumn>(std::in_place, column, count));
      plain_.emplace_back();
      if (plain) column.ToUnifiedFormat(count, plain_.back());
    }
  }

  /// The clocks at which the node is true for the row.
  std::vector<Stay> stays(const ClockNode& node, size_t row) const {
    if (node.kind == ClockNode::Kind::kClock) {
      const auto time = (*times_[node.column])[row];
      return time ? stays_of(node.condition, *time) : std::vector<Stay>();
    }
    if (node.kind == ClockNode::Kind::kPlain)
      return is_true(node.column, row) ? always() : std::vector<Stay>();
    const bool both = node.kind == ClockNode::Kind::kAnd;
    auto all = both ? always() : std::vector<Stay>();
    for (const auto& child : node.children) {
      const auto of_child = stays(child, row);
      all = both ? common(all, of_child) : joined(all, of_child);
    }
    return all;
  }

 private:
  static std::vector<Stay> always() { return {{std::numeric_limits<int64_t>::min(), kNever}}; }

  bool is_true(size_t column, size_t row) const {
    const auto& values = plain_[column];
    const auto at = values.sel->get_index(row);
    return values.validity.RowIsValid(at) && duckdb::UnifiedVectorFormat::GetData<bool>(values)[at];
  }

  std::vector<std::optional<TimeColumn>> times_;
  std::vector<duckdb::UnifiedVectorFormat> plain_;
};

/// A filter on the clock. When a row enters and when it leaves follows from the row alone, so what
/// comes of a retraction follows from the clock: the row waits still, or stands in the output, or
/// has left. Rows stand by their turn and bytes: what comes out at a turn has an order of its own.
/// With OR, or months, a row may enter again: when it leaves it is looked at anew.
class ClockFilter : public Operator {
 public:
  ClockFilter(duckdb::ClientContext& context, ClockFilterSpec spec)
      : root_(std::move(spec.root)),
        may_enter_again_(may_enter_again(root_)),
        columns_(context, std::move(spec.columns)),
        types_(spec.types),
        codec_({spec.types.begin(), spec.types.end()}, RowCodec::Use::kRow),
        builder_({&codec_}) {}

  Result<> step(const Epoch& epoch, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    turn(epoch.clock_us, out);
    for (const auto& chunk : inputs[0]->chunks) take(chunk, epoch.clock_us, out);
    return {};  // no frontiers: rows of any time may leave, and enter
  }

  std::optional<int64_t> next_turn_us() const override {
    return rows_.empty() ? std::nullopt : std::optional(rows_.begin()->first.first);
  }

  size_t state_rows() const override { return rows_.size(); }
  size_t state_bytes() const override {
    return rows_.empty() ? 0 : slab_.memory_bytes() + rows_.size() * kNodeBytes;
  }

  bool can_save() const override { return true; }
  void freeze() override {
    Operator::freeze();
    frozen_.freeze();
  }
  void save(StateWriter& out) const override { out.begin("clock filter", 1); }
  bool save_some(StateWriter& out, size_t bytes) override {
    return Operator::save_some(out, bytes) &&
           frozen_.save_some(out, bytes, [](std::span<void* const> rows, StateWriter& to) {
             for (const void* row : rows) save(*static_cast<const TurningRow*>(row), to);
           });
  }
  Result<> load(StateReader& in) override {
    in.begin("clock filter", 1);
    while (in.number<uint8_t>() == FrozenSlab::kPiece) {
      const auto turn = in.number<int64_t>();
      const auto leave = in.number<int64_t>();
      const auto weight = in.number<int64_t>();
      add(turn, leave, in.bytes(), weight);
    }
    return in.result();
  }

  bool keeps_columns() const override { return true; }
  std::string describe() const override { return "filter by the clock " + describe(root_); }

 private:
  using Rows = std::map<std::pair<int64_t, std::string_view>, TurningRow*>;
  static constexpr size_t kNodeBytes = 72;  // of the map

  static bool may_enter_again(const ClockNode& node) {
    return node.kind == ClockNode::Kind::kOr || node.condition.months != 0 ||
           std::ranges::any_of(node.children, may_enter_again);
  }

  std::string describe(const ClockNode& node) const {
    if (node.kind == ClockNode::Kind::kPlain) return columns_[node.column].ToString();
    if (node.kind == ClockNode::Kind::kClock) {
      const auto& [comparison, unit_us, months, offset_us] = node.condition;
      const auto interval = [](int64_t by_months, int64_t us) {
        return duckdb::Value::INTERVAL(static_cast<int32_t>(by_months), 0, us).ToString();
      };
      auto text = fmt::format("{} {} {}", columns_[node.column].ToString(),
                              duckdb::ExpressionTypeToOperator(comparison),
                              unit_us == 1 ? "now()" : "now() by " + interval(0, unit_us));
      if (months != 0 || offset_us != 0) text += " + " + interval(months, offset_us);
      return text;
    }
    std::string text;
    for (const auto& child : node.children) {
      if (!text.empty()) text += node.kind == ClockNode::Kind::kOr ? " OR " : " AND ";
      text += child.kind == ClockNode::Kind::kOr ? "(" + describe(child) + ")" : describe(child);
    }
    return text;
  }

  static void save(const TurningRow& row, StateWriter& out) {
    out.number(FrozenSlab::kPiece);
    out.number(row.turn_us);
    out.number(row.leave_us);
    out.number(row.weight);
    out.bytes(row.view());
  }
  void before_change(TurningRow& row) {
    if (auto* out = frozen_.thaw(&row)) save(row, *out);
  }

  void add(int64_t turn_us, int64_t leave_us, std::string_view bytes, int64_t weight) {
    const auto found = rows_.find({turn_us, bytes});
    if (found != rows_.end()) {
      before_change(*found->second);
      found->second->weight += weight;
      if (found->second->weight == 0) forget(found);
      return;
    }
    void* memory = slab_.allocate(sizeof(TurningRow) + bytes.size());
    auto* row = std::construct_at(static_cast<TurningRow*>(memory),
                                  TurningRow{turn_us, leave_us, weight, bytes.size()});
    std::memcpy(row->bytes(), bytes.data(), bytes.size());
    rows_.emplace(std::pair(turn_us, row->view()), row);
  }
  void forget(Rows::iterator at) {
    auto* row = at->second;
    before_change(*row);
    rows_.erase(at);  // its key lies in the row
    slab_.release(row, sizeof(TurningRow) + row->size);
  }
  void live(int64_t leave_us, std::string_view bytes, int64_t weight) {
    if (leave_us != kNever) add(leave_us, leave_us, bytes, weight);
  }

  /// What enters and leaves as time goes on to `clock`.
  void turn(int64_t clock, DeltaStream& out) {
    const auto end = rows_.lower_bound({clock + 1, {}});
    for (auto at = rows_.begin(); at != end; ++at) {
      const auto& row = *at->second;
      if (row.waits() && row.leave_us <= clock) continue;  // it came and went meanwhile
      builder_.add({at->second->bytes()}, row.waits() ? row.weight : -row.weight, out);
    }
    builder_.flush(out);
    std::vector<std::pair<std::string, int64_t>> left;
    while (!rows_.empty() && rows_.begin()->first.first <= clock) {
      const auto at = rows_.begin();
      const auto& row = *at->second;
      if (row.waits() && row.leave_us > clock)
        live(row.leave_us, row.view(), row.weight);
      else if (may_enter_again_)
        left.emplace_back(row.view(), row.weight);
      forget(at);
    }
    look_again(left, clock, out);
  }

  void look_again(const std::vector<std::pair<std::string, int64_t>>& left, int64_t clock,
                  DeltaStream& out) {
    for (size_t from = 0; from < left.size(); from += STANDARD_VECTOR_SIZE) {
      const size_t count = std::min<size_t>(STANDARD_VECTOR_SIZE, left.size() - from);
      auto rows = std::make_shared<Delta>();
      std::vector<const char*> bytes;
      for (size_t i = from; i < from + count; ++i) {
        bytes.push_back(left[i].first.data());
        rows->weights.push_back(left[i].second);
      }
      make_chunk(rows->rows, types_, count);
      codec_.decode(bytes, rows->rows);
      rows->rows.SetCardinality(count);
      take(rows, clock, out);
    }
  }

  void take(const std::shared_ptr<const Delta>& chunk, int64_t clock, DeltaStream& out) {
    duckdb::DataChunk values;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk columns;
      columns_.evaluate(rows, columns);
      values.Move(columns);
    });
    const Delta& delta = *good;
    const size_t count = delta.weights.size();
    if (count == 0) return;
    const Looked looked(values, count);
    codec_.encode(delta.rows, encoded_);
    auto living = std::make_shared<Delta>();
    duckdb::SelectionVector sel(count);
    for (size_t i = 0; i < count; ++i) {
      const auto stays = looked.stays(root_, i);
      const auto next = std::ranges::find_if(stays, [&](const Stay& s) { return s.leave > clock; });
      if (next == stays.end()) continue;
      if (next->enter > clock) {
        if (next->enter != kNever) add(next->enter, next->leave, encoded_[i], delta.weights[i]);
        continue;
      }
      sel.set_index(living->weights.size(), i);
      living->weights.push_back(delta.weights[i]);
      live(next->leave, encoded_[i], delta.weights[i]);
    }
    if (living->weights.empty()) return;
    slice_chunk(delta.rows, sel, living->weights.size(), living->rows);
    out.chunks.push_back(std::move(living));
  }

  const ClockNode root_;
  const bool may_enter_again_;
  Evaluator columns_;
  const duckdb::vector<duckdb::LogicalType> types_;
  RowCodec codec_;
  DeltaBuilder builder_;
  EncodedRows encoded_;
  Slab slab_;
  FrozenSlab frozen_{slab_};
  Rows rows_;
};

}  // namespace

std::unique_ptr<Operator> make_clock_filter(duckdb::ClientContext& context, ClockFilterSpec spec) {
  return std::make_unique<ClockFilter>(context, std::move(spec));
}

}  // namespace millrace::flow
