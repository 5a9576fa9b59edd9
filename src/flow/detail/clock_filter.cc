#include "flow/detail/clock_filter.h"

#include <fmt/format.h>

#include <limits>
#include <map>

#include "flow/detail/closing.h"
#include "flow/detail/delta_builder.h"
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

/// A filter on the clock. When a row enters and when it leaves follows from the row alone, so what
/// comes of a retraction follows from the clock: the row waits still, or stands in the output, or
/// has left. Rows stand by the clock and bytes: what comes out at a turn has an order of its own.
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
    std::optional<int64_t> next;
    if (!waiting_.empty()) next = waiting_.begin()->first.first;
    if (!living_.empty()) {
      const int64_t leave = living_.begin()->first.first;
      next = std::min(next.value_or(leave), leave);
    }
    return next;
  }

  size_t state_rows() const override { return waiting_.size() + living_.size(); }
  size_t state_bytes() const override { return bytes_; }

  bool can_save() const override { return true; }
  void save(StateWriter& out) const override {
    out.begin("clock filter", 1);
    out.number(static_cast<uint64_t>(waiting_.size()));
    for (const auto& [row, kept] : waiting_) {
      out.number(row.first);
      out.bytes(row.second);
      out.number(kept.weight);
      out.number(kept.leave);
    }
    out.number(static_cast<uint64_t>(living_.size()));
    for (const auto& [row, weight] : living_) {
      out.number(row.first);
      out.bytes(row.second);
      out.number(weight);
    }
  }
  Result<> load(StateReader& in) override {
    in.begin("clock filter", 1);
    for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
      const auto enter = in.number<int64_t>();
      const std::string row(in.bytes());
      const auto weight = in.number<int64_t>();
      wait({enter, in.number<int64_t>()}, row, weight);
    }
    for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
      const auto leave = in.number<int64_t>();
      const std::string row(in.bytes());
      live(leave, row, in.number<int64_t>());
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
  using Place = std::pair<int64_t, std::string>;  // a clock, and the row
  struct Waiting {
    int64_t weight;
    int64_t leave;
  };
  // A row beside its bytes: the node's links, the key, what is kept of it.
  static constexpr size_t kRowBytes = 104;

  void wait(const Stay& stay, std::string_view row, int64_t weight) {
    const auto [at, fresh] =
        waiting_.try_emplace({stay.enter, std::string(row)}, Waiting{0, stay.leave});
    if (fresh) bytes_ += kRowBytes + row.size();
    at->second.weight += weight;
    if (at->second.weight == 0) forget(waiting_, at);
  }
  void live(int64_t leave, std::string_view row, int64_t weight) {
    if (leave == kNever) return;
    const auto [at, fresh] = living_.try_emplace({leave, std::string(row)}, 0);
    if (fresh) bytes_ += kRowBytes + row.size();
    at->second += weight;
    if (at->second == 0) forget(living_, at);
  }
  template <typename Map>
  void forget(Map& rows, typename Map::iterator at) {
    bytes_ -= kRowBytes + at->first.second.size();
    rows.erase(at);
  }

  /// What enters and leaves as time goes on to `clock`.
  void turn(int64_t clock, DeltaStream& out) {
    const auto leaves = living_.lower_bound({clock + 1, {}});
    for (auto at = living_.begin(); at != leaves; ++at)
      builder_.add({at->first.second.data()}, -at->second, out);
    const auto enters = waiting_.lower_bound({clock + 1, {}});
    for (auto at = waiting_.begin(); at != enters; ++at) {
      if (at->second.leave <= clock) continue;  // it came and went meanwhile
      builder_.add({at->first.second.data()}, at->second.weight, out);
    }
    builder_.flush(out);
    while (living_.begin() != leaves) forget(living_, living_.begin());
    while (waiting_.begin() != enters) {
      const auto at = waiting_.begin();
      if (at->second.leave > clock) live(at->second.leave, at->first.second, at->second.weight);
      forget(waiting_, at);
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
        if (stay->enter != kNever) wait(*stay, encoded_[i], delta.weights[i]);
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
  std::map<Place, Waiting> waiting_;  // by when they enter
  std::map<Place, int64_t> living_;   // by when they leave: their weight in the output
  size_t bytes_ = 0;
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
