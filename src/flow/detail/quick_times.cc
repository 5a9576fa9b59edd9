#include "flow/detail/quick_times.h"

#include <algorithm>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <optional>

namespace millrace::flow {
namespace {

using duckdb::DataChunk;
using duckdb::ExpressionState;
using duckdb::LogicalTypeId;
using duckdb::Vector;

// Between these, plus or minus, no sum overflows or becomes what stands for infinity.
constexpr int64_t kTimeMax = int64_t{1} << 61;
constexpr int64_t kIntervalMax = int64_t{1} << 60;
constexpr size_t kSeriesMax = 1u << 20;  // elements of a chunk's series
// Where the buckets of time_bucket() are counted from: Monday, 2000-01-03.
constexpr int64_t kOriginUs = 10'959 * duckdb::Interval::MICROS_PER_DAY;

/// A vector of times, if all are far from the ends of the range. One that is constant is not worth
/// it.
class Times {
 public:
  Times(Vector& vector, size_t count) : count_(count) {
    if (vector.GetVectorType() == duckdb::VectorType::CONSTANT_VECTOR) return;
    vector.ToUnifiedFormat(count, format_);
    data_ = duckdb::UnifiedVectorFormat::GetData<int64_t>(format_);
    quick_ = true;
    for (size_t i = 0; i < count; ++i)
      quick_ &= !valid(i) || (at(i) > -kTimeMax && at(i) < kTimeMax);
  }
  bool quick() const { return quick_; }
  bool valid(size_t i) const { return format_.validity.RowIsValid(format_.sel->get_index(i)); }
  int64_t at(size_t i) const { return data_[format_.sel->get_index(i)]; }
  /// Fills `result` with `each` of the times.
  template <typename Each>
  void map(Vector& result, Each each) const {
    result.SetVectorType(duckdb::VectorType::FLAT_VECTOR);
    auto* out = duckdb::FlatVector::GetData<int64_t>(result);
    auto& validity = duckdb::FlatVector::Validity(result);
    for (size_t i = 0; i < count_; ++i) {
      if (valid(i))
        out[i] = each(at(i));
      else
        validity.SetInvalid(i);
    }
  }

 private:
  size_t count_;
  duckdb::UnifiedVectorFormat format_;
  const int64_t* data_ = nullptr;
  bool quick_ = false;
};

/// The microseconds of a constant interval, if that is what it is.
std::optional<int64_t> constant_us(const duckdb::Expression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::BOUND_CONSTANT ||
      expression.return_type.id() != LogicalTypeId::INTERVAL)
    return std::nullopt;
  const auto& value = expression.Cast<duckdb::BoundConstantExpression>().value;
  if (value.IsNull()) return std::nullopt;
  const auto interval = duckdb::IntervalValue::Get(value);
  int64_t us = 0;
  if (interval.months != 0 ||
      __builtin_mul_overflow(int64_t{interval.days}, duckdb::Interval::MICROS_PER_DAY, &us) ||
      __builtin_add_overflow(us, interval.micros, &us) || us <= -kIntervalMax || us >= kIntervalMax)
    return std::nullopt;
  return us;
}

bool is_time(const duckdb::Expression& expression) {
  return expression.return_type.id() == LogicalTypeId::TIMESTAMP;
}

int64_t bucket_of(int64_t time, int64_t width) {
  const int64_t origin = kOriginUs % width;
  const int64_t from_origin = time - origin;
  const int64_t rest = from_origin % width;
  return time - rest - (rest < 0 ? width : 0);
}

/// False: nothing was done.
bool fill_series(DataChunk& arguments, int64_t step, Vector& result) {
  const size_t rows = arguments.size();
  const Times starts(arguments.data[0], rows), ends(arguments.data[1], rows);
  if (!starts.quick() || !ends.quick()) return false;
  auto* lists = duckdb::FlatVector::GetData<duckdb::list_entry_t>(result);
  const auto length = [&](size_t row) -> size_t {
    if (!starts.valid(row) || !ends.valid(row) || starts.at(row) > ends.at(row)) return 0;
    return static_cast<size_t>((ends.at(row) - starts.at(row)) / step) + 1;
  };
  size_t total = 0;
  for (size_t row = 0; row < rows && total <= kSeriesMax; ++row)
    total += std::min(length(row), kSeriesMax + 1);
  if (total > kSeriesMax) return false;
  duckdb::ListVector::Reserve(result, total);
  auto* elements = duckdb::FlatVector::GetData<int64_t>(duckdb::ListVector::GetEntry(result));
  auto& validity = duckdb::FlatVector::Validity(result);
  size_t at = 0;
  for (size_t row = 0; row < rows; ++row) {
    lists[row] = {at, length(row)};
    if (!starts.valid(row) || !ends.valid(row)) validity.SetInvalid(row);
    for (size_t i = 0; i < lists[row].length; ++i)
      elements[at++] = starts.at(row) + static_cast<int64_t>(i) * step;
  }
  duckdb::ListVector::SetListSize(result, total);
  result.SetVectorType(duckdb::VectorType::FLAT_VECTOR);
  return true;
}

/// In place of the function's own: `quick`, or its own when that answers false.
template <typename Quick>
void replace(duckdb::BoundFunctionExpression& call, Quick quick) {
  call.function.SetFunctionCallback([quick, own = call.function.GetFunctionCallback()](
                                        DataChunk& in, ExpressionState& state, Vector& out) {
    if (!quick(in, out)) own(in, state, out);
  });
}

/// `each` of the times of one argument.
template <typename Each>
void replace_by(duckdb::BoundFunctionExpression& call, size_t argument, Each each) {
  replace(call, [argument, each](DataChunk& in, Vector& out) {
    const Times times(in.data[argument], in.size());
    if (times.quick()) times.map(out, each);
    return times.quick();
  });
}

void quicken_sum(duckdb::BoundFunctionExpression& call) {
  const bool minus = call.function.name == "-";
  for (const size_t time : {0, 1}) {
    const auto us = constant_us(*call.children[1 - time]);
    if (!us || !is_time(*call.children[time]) || (minus && time == 1)) continue;
    return replace_by(call, time, [shift = minus ? -*us : *us](int64_t t) { return t + shift; });
  }
}

void quicken_call(duckdb::BoundFunctionExpression& call) {
  const auto& name = call.function.name;
  const auto& children = call.children;
  if ((name == "+" || name == "-") && children.size() == 2) return quicken_sum(call);
  if (name == "time_bucket" && children.size() == 2 && is_time(*children[1])) {
    const auto width = constant_us(*children[0]);
    if (!width || *width <= 0) return;
    return replace_by(call, 1, [width = *width](int64_t t) { return bucket_of(t, width); });
  }
  if (name == "generate_series" && children.size() == 3 && is_time(*children[0]) &&
      is_time(*children[1])) {
    const auto step = constant_us(*children[2]);
    if (!step || *step <= 0) return;
    const auto interval =
        duckdb::IntervalValue::Get(children[2]->Cast<duckdb::BoundConstantExpression>().value);
    if (interval.days < 0 || interval.micros < 0) return;  // DuckDB refuses such a mix
    replace(call,
            [step = *step](DataChunk& in, Vector& out) { return fill_series(in, step, out); });
  }
}

}  // namespace

void quicken_times(duckdb::Expression& expression) {
  duckdb::ExpressionIterator::EnumerateChildren(
      expression, [](duckdb::Expression& child) { quicken_times(child); });
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::BOUND_FUNCTION)
    quicken_call(expression.Cast<duckdb::BoundFunctionExpression>());
}

}  // namespace millrace::flow
