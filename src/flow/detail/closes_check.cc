#include "flow/detail/closes_check.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

namespace millrace::flow {

namespace {

using Operators = std::vector<OperatorStatus>;

/// The first input of `op` that no watermark comes from, or nothing.
std::optional<size_t> unbounded_child(const Operators& all, size_t op) {
  for (size_t i = op + 1; i < all.size(); ++i)
    if (all[i].parent == op && !all[i].watermark_us) return i;
  return std::nullopt;
}

bool has_bounded_child(const Operators& all, size_t op) {
  for (size_t i = op + 1; i < all.size(); ++i)
    if (all[i].parent == op && all[i].watermark_us) return true;
  return false;
}

/// The operator that watermarks reach and do not pass; of several the one nearest to the inputs.
std::optional<size_t> last_reached(const Operators& all) {
  for (size_t op = all.size(); op-- > 0;)
    if (!all[op].watermark_us && has_bounded_child(all, op)) return op;
  return std::nullopt;
}

Error never_closes(const Operators& all) {
  Error error{ErrorCode::kNotSupported,
              "EMIT ON WINDOW CLOSE: no watermark bounds a column of the result, so that no row "
              "would ever come out",
              std::nullopt,
              "Give out the time that windows close by (window_start or window_end, over a topic "
              "with WATERMARK FOR that time), or use EMIT CHANGES."};
  const auto end = last_reached(all);
  if (!end) return error;
  error.text += fmt::format("; it ends at: {}", all[*end].description);
  if (all[*end].description.find("join") == std::string::npos) return error;
  auto side = unbounded_child(all, *end);
  constexpr const char* kBind =
      "the times of both sides to each other (ON … AND b.ts BETWEEN a.ts AND a.ts + INTERVAL …, or "
      "equal window_start), or use EMIT CHANGES.";
  if (!side) {
    error.hint = fmt::format("Bind {}", kBind);
    return error;
  }
  for (auto below = side; below; below = unbounded_child(all, *below)) side = below;
  const auto& input = all[*side].description;
  error.text +=
      fmt::format(", since {} may change what any row of the other side is joined with", input);
  error.hint = input.starts_with("stream ")
                   ? fmt::format("Declare a WATERMARK for its time and bind {}", kBind)
                   : "Join a table with FOR SYSTEM_TIME AS OF the stream's time, which joins each "
                     "row once; or use EMIT CHANGES.";
  return error;
}

/// Steps a dataflow for the first time, with watermarks at `clock_us` where its inputs have some.
Result<std::vector<Frontier>> frontiers_of(Dataflow& dataflow, int64_t clock_us,
                                           const PlanView& plan) {
  std::vector<DeltaStream> inputs;
  for (const auto& input : dataflow.inputs()) {
    auto& stream = inputs.emplace_back();
    std::vector<Frontier> bounds;  // of the object's columns
    const auto& columns = input.object.columns;
    for (size_t i = 0; input.object.watermark && i < columns.size(); ++i)
      if (columns[i].name == input.object.watermark->column) bounds.push_back({i, clock_us});
    if (input.object.kind == catalog::Kind::kMaterializedView) {
      MR_TRY(auto view, plan(input.object));
      MR_TRY(bounds, frontiers_of(*view, clock_us, plan));
    }
    for (const auto& bound : bounds)
      for (size_t i = 0; i < input.columns.size(); ++i)
        if (input.columns[i] == bound.column) stream.frontiers.push_back({i, bound.time_us});
  }
  DeltaStream out;
  MR_TRY(dataflow.step({1, clock_us}, inputs, out));
  return out.frontiers;
}

}  // namespace

Result<> check_closes(Dataflow& dataflow, int64_t clock_us, const PlanView& plan) {
  MR_TRY(const auto frontiers, frontiers_of(dataflow, clock_us, plan));
  if (!frontiers.empty()) return {};
  return never_closes(dataflow.operators());
}

}  // namespace millrace::flow
