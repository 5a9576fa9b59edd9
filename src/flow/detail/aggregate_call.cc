#include "flow/detail/aggregate_call.h"

#include <algorithm>
#include <array>
#include <duckdb/common/types/hugeint.hpp>
#include <limits>

namespace millrace::flow {

namespace {

__int128 widen(duckdb::hugeint_t value) {
  return static_cast<__int128>(static_cast<unsigned __int128>(value.upper) << 64 | value.lower);
}

duckdb::hugeint_t narrow(__int128 value) {
  duckdb::hugeint_t out;
  out.lower = static_cast<uint64_t>(value);
  out.upper = static_cast<int64_t>(value >> 64);
  return out;
}

template <typename T>
__int128 widen(T value) {
  return value;
}

using State = InvertibleAggregate::State;

void add(State& state, __int128 value) {
  if (__builtin_add_overflow(state.sum, value, &state.sum)) state.high += value < 0 ? -1 : 1;
}

void add_times(State& state, __int128 value, int64_t weight) {
  __int128 product;
  if (!__builtin_mul_overflow(value, static_cast<__int128>(weight), &product))
    return add(state, product);
  // In two halves, each of which fits; of the upper one the lower 64 bits are the sum's.
  const __int128 upper = (value >> 64) * weight;
  state.high += static_cast<int64_t>(upper >> 64);
  const auto middle = static_cast<unsigned __int128>(upper) << 64;
  if (middle >> 127) ++state.high;  // taken as negative below
  add(state, static_cast<__int128>(middle));
  add(state, static_cast<__int128>(static_cast<uint64_t>(value)) * weight);
}

template <typename T>
void add_values(const duckdb::UnifiedVectorFormat& values,
                std::span<InvertibleAggregate::State* const> states,
                std::span<const int64_t> weights) {
  const auto* data = duckdb::UnifiedVectorFormat::GetData<T>(values);
  for (size_t i = 0; i < states.size(); ++i) {
    const auto at = values.sel->get_index(i);
    if (!values.validity.RowIsValid(at)) continue;
    states[i]->count += weights[i];
    add_times(*states[i], widen(data[at]), weights[i]);
  }
}

/// DuckDB divides 16-bit averages as double, wider ones as long double.
double average(const InvertibleAggregate::State& state, bool small, double scale) {
  if (small)
    return static_cast<double>(static_cast<int64_t>(state.sum)) /
           (static_cast<double>(state.count) * scale);
  return static_cast<double>(
      duckdb::Hugeint::Cast<long double>(narrow(state.sum)) /
      (static_cast<long double>(state.count) * static_cast<long double>(scale)));
}

// Of several arguments: how many, which bins, which bits come with each row.
constexpr std::array<std::string_view, 14> kRowMayFail{
    "min",           "max",       "arg_min",      "arg_max",        "argmin",
    "argmax",        "min_by",    "max_by",       "arg_min_null",   "arg_max_null",
    "bitstring_agg", "histogram", "approx_top_k", "histogram_exact"};

}  // namespace

bool update_may_fail(const duckdb::BoundAggregateExpression& bound) {
  const auto& name = bound.function.name;
  const auto& arguments = bound.children;
  if (arguments.empty()) return false;
  // An average of intervals or big numbers overflows; bit strings may differ in length.
  const auto first = arguments[0]->return_type.id();
  if (first == duckdb::LogicalTypeId::INTERVAL || first == duckdb::LogicalTypeId::BIGNUM)
    return name == "avg" || name == "mean" || name == "sum";
  if (first == duckdb::LogicalTypeId::BIT) return name.starts_with("bit_");
  const bool arg = name.starts_with("arg") || name.ends_with("_by");
  return arguments.size() > (arg ? 2 : 1) &&
         std::ranges::find(kRowMayFail, name) != kRowMayFail.end();
}

bool sum_may_overflow(const duckdb::BoundAggregateExpression& bound) {
  return bound.children.size() == 1 &&
         bound.children[0]->return_type.InternalType() == duckdb::PhysicalType::INT128;
}

AggregateFunction::AggregateFunction(duckdb::unique_ptr<duckdb::Expression> bound)
    : bound_(std::move(bound)) {
  const auto& function = this->bound().function;
  state_bytes_ = (function.GetStateSizeCallback()(function) + 15) / 16 * 16;
}

duckdb::AggregateInputData AggregateFunction::input(duckdb::ArenaAllocator& arena) const {
  return duckdb::AggregateInputData(bound().bind_info.get(), arena);
}

void AggregateFunction::init(char* state) const {
  const auto& function = bound().function;
  function.GetStateInitCallback()(function, reinterpret_cast<duckdb::data_ptr_t>(state));
}

void AggregateFunction::update(std::span<duckdb::Vector> arguments, duckdb::Vector& states,
                               size_t count, duckdb::ArenaAllocator& arena) const {
  auto data = input(arena);
  bound().function.GetStateUpdateCallback()(arguments.data(), data, arguments.size(), states,
                                            count);
}

void AggregateFunction::combine(duckdb::Vector& from, duckdb::Vector& to, size_t count,
                                duckdb::ArenaAllocator& arena) const {
  auto data = input(arena);
  bound().function.GetStateCombineCallback()(from, to, data, count);
}

void AggregateFunction::finalize(duckdb::Vector& states, size_t count, duckdb::Vector& out,
                                 duckdb::ArenaAllocator& arena) const {
  auto data = input(arena);
  bound().function.GetStateFinalizeCallback()(states, data, out, count, 0);
}

void AggregateFunction::finalize(duckdb::Vector& states, size_t count, duckdb::Vector& out,
                                 duckdb::ArenaAllocator& arena,
                                 duckdb::FunctionData& bound_to) const {
  duckdb::AggregateInputData data(&bound_to, arena);
  bound().function.GetStateFinalizeCallback()(states, data, out, count, 0);
}

void AggregateFunction::destroy(duckdb::Vector& states, size_t count,
                                duckdb::ArenaAllocator& arena) const {
  auto data = input(arena);
  if (has_destructor()) bound().function.GetStateDestructorCallback()(states, data, count);
}

FreshStates::FreshStates(const AggregateFunction& function, size_t count,
                         duckdb::ArenaAllocator& arena, std::vector<char>& memory)
    : function_(function), arena_(arena) {
  memory.resize(count * function.state_bytes());
  auto* const pointers = duckdb::FlatVector::GetData<duckdb::data_ptr_t>(pointers_);
  for (size_t i = 0; i < count; ++i) {
    addresses_.push_back(memory.data() + i * function.state_bytes());
    function.init(addresses_[i]);
    pointers[i] = reinterpret_cast<duckdb::data_ptr_t>(addresses_[i]);
  }
}

std::optional<InvertibleAggregate> InvertibleAggregate::of(
    const duckdb::BoundAggregateExpression& bound) {
  InvertibleAggregate out;
  const auto& name = bound.function.name;
  const auto& arguments = bound.function.arguments;
  if (bound.order_bys) return std::nullopt;
  if (name == "count_star" || (name == "count" && arguments.empty())) {
    out.kind_ = Kind::kCountRows;
    return out;
  }
  if (arguments.size() != 1) return std::nullopt;
  const auto& type = arguments[0];
  out.argument_ = type.InternalType();
  if (name == "count") {
    out.kind_ = Kind::kCountValues;
    return out;
  }
  const bool truths = (name == "count_if" || name == "countif" || name == "sum") &&
                      type.id() == duckdb::LogicalTypeId::BOOLEAN;
  if (truths && bound.return_type.InternalType() == duckdb::PhysicalType::INT128) {
    out.kind_ = Kind::kSum;  // DuckDB's count_if is a sum: NULL over nothing
    return out;
  }
  const bool exact = type.IsIntegral() || type.id() == duckdb::LogicalTypeId::DECIMAL;
  if (!exact || type.id() == duckdb::LogicalTypeId::UHUGEINT) return std::nullopt;
  if ((name == "sum" || name == "sum_no_overflow") &&
      bound.return_type.InternalType() == duckdb::PhysicalType::INT128) {
    out.kind_ = Kind::kSum;
    return out;
  }
  if (name == "avg" || name == "mean") {
    if (bound.return_type.id() != duckdb::LogicalTypeId::DOUBLE) return std::nullopt;
    out.kind_ = Kind::kAverage;
    if (type.id() == duckdb::LogicalTypeId::DECIMAL)
      out.scale_ = duckdb::Hugeint::Cast<double>(
          duckdb::Hugeint::POWERS_OF_TEN[duckdb::DecimalType::GetScale(type)]);
    return out;
  }
  return std::nullopt;
}

void InvertibleAggregate::update(duckdb::Vector* argument, std::span<State* const> states,
                                 std::span<const int64_t> weights) const {
  if (kind_ == Kind::kCountRows) {
    for (size_t i = 0; i < states.size(); ++i) states[i]->count += weights[i];
    return;
  }
  duckdb::UnifiedVectorFormat values;
  argument->ToUnifiedFormat(states.size(), values);
  if (kind_ == Kind::kCountValues) {
    for (size_t i = 0; i < states.size(); ++i)
      if (values.validity.RowIsValid(values.sel->get_index(i))) states[i]->count += weights[i];
    return;
  }
  switch (argument_) {
    case duckdb::PhysicalType::BOOL:
      return add_values<bool>(values, states, weights);
    case duckdb::PhysicalType::INT8:
      return add_values<int8_t>(values, states, weights);
    case duckdb::PhysicalType::UINT8:
      return add_values<uint8_t>(values, states, weights);
    case duckdb::PhysicalType::INT16:
      return add_values<int16_t>(values, states, weights);
    case duckdb::PhysicalType::UINT16:
      return add_values<uint16_t>(values, states, weights);
    case duckdb::PhysicalType::INT32:
      return add_values<int32_t>(values, states, weights);
    case duckdb::PhysicalType::UINT32:
      return add_values<uint32_t>(values, states, weights);
    case duckdb::PhysicalType::INT64:
      return add_values<int64_t>(values, states, weights);
    case duckdb::PhysicalType::UINT64:
      return add_values<uint64_t>(values, states, weights);
    case duckdb::PhysicalType::INT128:
      return add_values<duckdb::hugeint_t>(values, states, weights);
    default:
      throw duckdb::InternalException("no sum over this type");
  }
}

void InvertibleAggregate::finalize(std::span<const State* const> states, duckdb::Vector& out,
                                   std::vector<RowFailure>& failures) const {
  for (size_t i = 0; i < states.size(); ++i) {
    const State& state = *states[i];
    if (kind_ == Kind::kAverage || kind_ == Kind::kSum) {
      if (state.high != 0) failures.push_back({i, "Overflow: a sum does not fit 128 bits"});
      if (state.count == 0 || state.high != 0)
        duckdb::FlatVector::SetNull(out, i, true);
      else if (kind_ == Kind::kSum)
        duckdb::FlatVector::GetData<duckdb::hugeint_t>(out)[i] = narrow(state.sum);
      else
        duckdb::FlatVector::GetData<double>(out)[i] =
            average(state, argument_ == duckdb::PhysicalType::INT16, scale_);
    } else {
      duckdb::FlatVector::GetData<int64_t>(out)[i] = state.count;
    }
  }
}

}  // namespace millrace::flow
