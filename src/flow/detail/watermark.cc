#include "flow/detail/watermark.h"

#include <fmt/format.h>

#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <duckdb/planner/operator/logical_get.hpp>
#include <duckdb/planner/operator/logical_projection.hpp>

#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

/// Makes references to the scan's columns references to a chunk of those columns.
void bind_columns(duckdb::unique_ptr<duckdb::Expression>& expression,
                  const std::vector<size_t>& scan_columns, std::vector<size_t>& columns) {
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::BOUND_COLUMN_REF) {
    const auto& reference = expression->Cast<duckdb::BoundColumnRefExpression>();
    const size_t column = scan_columns.at(reference.binding.column_index);
    const auto found = std::ranges::find(columns, column);
    const size_t index = found - columns.begin();
    if (found == columns.end()) columns.push_back(column);
    expression = duckdb::make_uniq<duckdb::BoundReferenceExpression>(reference.return_type, index);
    return;
  }
  duckdb::ExpressionIterator::EnumerateChildren(*expression,
                                                [&](duckdb::unique_ptr<duckdb::Expression>& child) {
                                                  bind_columns(child, scan_columns, columns);
                                                });
}

int64_t to_us(const duckdb::LogicalType& type, const duckdb::UnifiedVectorFormat& values,
              size_t row) {
  const auto index = values.sel->get_index(row);
  if (!values.validity.RowIsValid(index)) return WatermarkExpression::kNone;
  if (type.id() == duckdb::LogicalTypeId::DATE) {
    const auto date = duckdb::UnifiedVectorFormat::GetData<duckdb::date_t>(values)[index];
    return int64_t{date.days} * 86'400'000'000;
  }
  const int64_t time = duckdb::UnifiedVectorFormat::GetData<int64_t>(values)[index];
  switch (type.id()) {
    case duckdb::LogicalTypeId::TIMESTAMP_SEC:
      return time * 1'000'000;
    case duckdb::LogicalTypeId::TIMESTAMP_MS:
      return time * 1'000;
    case duckdb::LogicalTypeId::TIMESTAMP_NS:
      return time / 1'000;
    default:
      return time;
  }
}

bool is_time_type(const duckdb::LogicalType& type) {
  switch (type.id()) {
    case duckdb::LogicalTypeId::DATE:
    case duckdb::LogicalTypeId::TIMESTAMP:
    case duckdb::LogicalTypeId::TIMESTAMP_TZ:
    case duckdb::LogicalTypeId::TIMESTAMP_SEC:
    case duckdb::LogicalTypeId::TIMESTAMP_MS:
    case duckdb::LogicalTypeId::TIMESTAMP_NS:
      return true;
    default:
      return false;
  }
}

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

}  // namespace

Result<std::unique_ptr<WatermarkExpression>> WatermarkExpression::make(
    sql::Engine& engine, const catalog::Object& topic) {
  const auto& watermark = *topic.watermark;
  const auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("WATERMARK FOR {} AS {} of topic {}: {}", watermark.column,
                             watermark.expression, topic.name, why)};
  };
  MR_TRY(auto query, engine.plan(fmt::format("SELECT ({}) AS watermark FROM {}",
                                             watermark.expression, quoted(topic.name))));
  std::unique_ptr<WatermarkExpression> made(new WatermarkExpression());
  const auto declared = std::ranges::find(topic.columns, watermark.column, &catalog::Column::name);
  if (declared == topic.columns.end()) return refuse("no such column");
  made->column_ = declared - topic.columns.begin();
  if (query.types.size() != 1 || !is_time_type(query.types[0])) return refuse("it is no time");

  auto& top = *query.plan;
  if (top.type != duckdb::LogicalOperatorType::LOGICAL_PROJECTION || top.children.size() != 1 ||
      top.children[0]->type != duckdb::LogicalOperatorType::LOGICAL_GET)
    return refuse("it must be a function of the row alone");
  std::vector<size_t> scan_columns;
  for (const auto& id : top.children[0]->Cast<duckdb::LogicalGet>().GetColumnIds())
    scan_columns.push_back(id.GetPrimaryIndex());
  auto expressions = std::move(top.expressions);
  try {
    bind_columns(expressions.at(0), scan_columns, made->columns_);
    made->evaluator_ = std::make_unique<Evaluator>(*query.context, std::move(expressions));
  } catch (const std::exception& e) {
    return refuse(e.what());
  }
  made->keep_alive_ = std::move(query.keep_alive);
  return made;
}

Result<std::vector<int64_t>> WatermarkExpression::evaluate(const duckdb::DataChunk& rows) {
  try {
    duckdb::DataChunk out;
    evaluator_->evaluate(rows, out);
    duckdb::UnifiedVectorFormat values;
    out.data[0].ToUnifiedFormat(rows.size(), values);
    std::vector<int64_t> times(rows.size());
    for (size_t row = 0; row < times.size(); ++row)
      times[row] = to_us(out.data[0].GetType(), values, row);
    return times;
  } catch (const std::exception& e) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("the watermark cannot be computed: {}",
                                                          duckdb::ErrorData(e).Message())};
  }
}

void Watermark::observe(size_t partition, int64_t time_us, int64_t clock_us) {
  auto& state = partitions_[partition];
  state.last_row_us = clock_us;
  if (time_us != WatermarkExpression::kNone)
    state.time_us = std::max(state.time_us.value_or(time_us), time_us);
}

void Watermark::excuse(size_t partition, int64_t clock_us) {
  partitions_[partition].last_row_us = clock_us;
  if (!first_clock_us_) first_clock_us_ = clock_us;
  clock_us_ = std::max(clock_us_, clock_us);
}

int64_t Watermark::silent_since(const State& state) const {
  return state.last_row_us.value_or(first_clock_us_.value_or(0));
}

std::optional<int64_t> Watermark::advance(int64_t clock_us) {
  if (!first_clock_us_) first_clock_us_ = clock_us;
  clock_us_ = clock_us;
  std::optional<int64_t> least, furthest;
  for (const auto& state : partitions_) {
    const int64_t silence = clock_us - silent_since(state);
    if (silence >= idle_us_) {
      int64_t time = 0;
      if (state.time_us && !__builtin_add_overflow(*state.time_us, silence, &time))
        furthest = std::max(furthest.value_or(time), time);
      continue;
    }
    if (!state.time_us) return now_;  // a partition that may still promise less
    least = std::min(least.value_or(*state.time_us), *state.time_us);
  }
  if (!least) least = furthest;
  if (least) restore(*least);
  return now_;
}

void Watermark::save(StateWriter& out) const {
  out.begin("watermark", 1);
  const auto put = [&](const std::optional<int64_t>& time) {
    out.number(time.has_value());
    out.number(time.value_or(0));
  };
  put(first_clock_us_);
  put(now_);
  out.number(clock_us_);
  out.number(static_cast<uint64_t>(partitions_.size()));
  for (const auto& state : partitions_) {
    put(state.time_us);
    put(state.last_row_us);
  }
}

void Watermark::load(StateReader& in) {
  in.begin("watermark", 1);
  const auto get = [&](std::optional<int64_t>& time) {
    const bool there = in.number<bool>();
    const auto value = in.number<int64_t>();
    if (there) time = value;
  };
  get(first_clock_us_);
  get(now_);
  clock_us_ = in.number<int64_t>();
  const auto count = in.number<uint64_t>();
  if (count > partitions_.size()) return in.fail("a watermark of more partitions than there are");
  for (uint64_t p = 0; p < count; ++p) {
    get(partitions_[p].time_us);
    get(partitions_[p].last_row_us);
  }
}

std::optional<int64_t> Watermark::next_us() const {
  if (idle_us_ == kNever || !first_clock_us_) return std::nullopt;
  std::optional<int64_t> next;
  bool any = false;
  for (const auto& state : partitions_) {
    any |= state.time_us.has_value();
    const int64_t idle_at = silent_since(state) + idle_us_;
    if (idle_at > clock_us_) next = std::min(next.value_or(idle_at), idle_at);
  }
  if (!any) return std::nullopt;  // no row yet: there is no time to go on from
  return next ? next : clock_us_ + kTickUs;
}

}  // namespace millrace::flow
