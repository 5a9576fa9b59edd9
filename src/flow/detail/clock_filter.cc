#include "flow/detail/clock_filter.h"

#include <fmt/format.h>

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

using duckdb::ExpressionType;

constexpr int64_t kAlways = std::numeric_limits<int64_t>::min();
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

/// The clocks from `enter` until `leave`, which is not among them.
struct Stay {
  int64_t enter = kAlways;
  int64_t leave = kNever;
};

/// The first clock at which the condition's moment is `time_us` or later.
int64_t reached(const ClockCondition& condition, __int128 time_us) {
  const __int128 distance = time_us - condition.offset_us, unit = condition.unit_us;
  __int128 units = distance / unit;
  if (units * unit < distance) ++units;
  const __int128 clock = units * unit;
  if (clock <= kAlways) return kAlways;
  return clock >= kNever ? kNever : static_cast<int64_t>(clock);
}

/// Takes out of the stay of a row with this time the clocks at which the condition is false.
void narrow(const ClockCondition& condition, int64_t time_us, Stay& stay) {
  const bool infinite = time_us == kNever || time_us == -kNever;
  const int64_t end = time_us == kNever ? kNever : kAlways;
  const int64_t equal = infinite ? end : reached(condition, time_us);
  const int64_t greater = infinite ? end : reached(condition, __int128{time_us} + 1);
  switch (condition.comparison) {
    case ExpressionType::COMPARE_GREATERTHAN:
      stay.leave = std::min(stay.leave, equal);
      return;
    case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
      stay.leave = std::min(stay.leave, greater);
      return;
    case ExpressionType::COMPARE_LESSTHAN:
      stay.enter = std::max(stay.enter, greater);
      return;
    case ExpressionType::COMPARE_LESSTHANOREQUALTO:
      stay.enter = std::max(stay.enter, equal);
      return;
    default:  // equal
      stay.enter = std::max(stay.enter, equal);
      stay.leave = std::min(stay.leave, greater);
  }
}

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

/// A filter on the clock. When a row enters and when it leaves follows from the row alone, so what
/// comes of a retraction follows from the clock: the row waits still, or stands in the output, or
/// has left. Rows stand by their turn and bytes: what comes out at a turn has an order of its own.
class ClockFilter : public Operator {
 public:
  ClockFilter(duckdb::ClientContext& context, ClockFilterSpec spec)
      : conditions_(std::move(spec.conditions)),
        times_(context, std::move(spec.times)),
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
  std::string describe() const override {
    std::string text = "filter by the clock";
    for (size_t i = 0; i < conditions_.size(); ++i) {
      const auto& [comparison, unit_us, offset_us] = conditions_[i];
      const auto interval = [](int64_t us) { return duckdb::Value::INTERVAL(0, 0, us).ToString(); };
      text += fmt::format("{} {} {} {}", i == 0 ? "" : " AND", times_[i].ToString(),
                          duckdb::ExpressionTypeToOperator(comparison),
                          unit_us == 1 ? "now()" : fmt::format("now() by {}", interval(unit_us)));
      if (offset_us != 0) text += fmt::format(" + {}", interval(offset_us));
    }
    return text;
  }

 private:
  using Rows = std::map<std::pair<int64_t, std::string_view>, TurningRow*>;
  static constexpr size_t kNodeBytes = 72;  // of the map

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
    while (!rows_.empty() && rows_.begin()->first.first <= clock) {
      const auto at = rows_.begin();
      const auto& row = *at->second;
      if (row.waits() && row.leave_us > clock) live(row.leave_us, row.view(), row.weight);
      forget(at);
    }
  }

  void take(const std::shared_ptr<const Delta>& chunk, int64_t clock, DeltaStream& out) {
    duckdb::DataChunk values;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk times;
      times_.evaluate(rows, times);
      values.Move(times);
    });
    const Delta& delta = *good;
    const size_t count = delta.weights.size();
    if (count == 0) return;
    std::vector<TimeColumn> times;
    for (auto& column : values.data) times.emplace_back(column, count);
    codec_.encode(delta.rows, encoded_);
    auto living = std::make_shared<Delta>();
    duckdb::SelectionVector sel(count);
    for (size_t i = 0; i < count; ++i) {
      const auto stay = stay_of(times, i);
      if (!stay || stay->enter >= stay->leave || stay->leave <= clock) continue;
      if (stay->enter > clock) {
        if (stay->enter != kNever) add(stay->enter, stay->leave, encoded_[i], delta.weights[i]);
        continue;
      }
      sel.set_index(living->weights.size(), i);
      living->weights.push_back(delta.weights[i]);
      live(stay->leave, encoded_[i], delta.weights[i]);
    }
    if (living->weights.empty()) return;
    slice_chunk(delta.rows, sel, living->weights.size(), living->rows);
    out.chunks.push_back(std::move(living));
  }

  /// Nullopt: a condition is over NULL.
  std::optional<Stay> stay_of(const std::vector<TimeColumn>& times, size_t row) const {
    Stay stay;
    for (size_t c = 0; c < conditions_.size(); ++c) {
      const auto time = times[c][row];
      if (!time) return std::nullopt;
      narrow(conditions_[c], *time, stay);
    }
    return stay;
  }

  const std::vector<ClockCondition> conditions_;
  Evaluator times_;
  RowCodec codec_;
  DeltaBuilder builder_;
  EncodedRows encoded_;
  Slab slab_;
  FrozenSlab frozen_{slab_};
  Rows rows_;
};

}  // namespace

bool ClockCondition::takes_out() const {
  return comparison != ExpressionType::COMPARE_LESSTHAN &&
         comparison != ExpressionType::COMPARE_LESSTHANOREQUALTO;
}

std::unique_ptr<Operator> make_clock_filter(duckdb::ClientContext& context, ClockFilterSpec spec) {
  return std::make_unique<ClockFilter>(context, std::move(spec));
}

}  // namespace millrace::flow
