#include <duckdb/common/types/value.hpp>

#include <algorithm>
#include <array>

#include "flow/detail/aggregate_column.h"
#include "flow/detail/evaluator.h"

// How the state of an aggregate is written down and made again, exactly.

namespace millrace::flow {

namespace {

template <size_t N>
bool is_one_of(const std::string& name, const std::array<std::string_view, N>& names) {
  return std::ranges::find(names, name) != names.end();
}

// Aggregates whose result, taken in as a row of a new group, makes the same state.
constexpr std::array<std::string_view, 7> kTheirResult{
    "min", "max", "any_value", "last", "string_agg", "group_concat", "listagg"};
constexpr std::array<std::string_view, 2> kLists{"list", "array_agg"};
// Aggregates that do not look at the order of rows, or at who came first only: the kept rows stand
// in the order in which the first of each came.
constexpr std::array<std::string_view, 23> kFromKeptRows{
    "quantile",  "quantile_disc", "quantile_cont", "median",        "mad",      "mode",
    "histogram", "arg_min",       "arg_max",       "argmin",        "argmax",   "min_by",
    "max_by",    "arg_min_null",  "arg_max_null",  "first",         "min",      "max",
    "bit_and",   "bit_or",        "bit_xor",       "bitstring_agg", "arbitrary"};
// Flat whatever they take in.
constexpr std::array<std::string_view, 2> kFlat{"count", "approx_count_distinct"};

duckdb::data_ptr_t address(char* state) { return reinterpret_cast<duckdb::data_ptr_t>(state); }

}  // namespace

/// No memory but the state's own: nothing to destroy, nothing taken from the arena, and arguments
/// that have no memory to point at.
bool AggregateColumn::is_flat() const {
  if (function_.has_destructor() || arena_->AllocationSize() > 0) return false;
  if (is_one_of(function_.bound().function.name, kFlat)) return true;
  return std::ranges::all_of(function_.bound().children, [](const auto& child) {
    return duckdb::TypeIsConstantSize(child->return_type.InternalType());
  });
}

AggregateColumn::Saving AggregateColumn::saving() const {
  if (way_ == Way::kInvertible) return Saving::kBytes;
  if (way_ == Way::kRows || way_ == Way::kRanked) return Saving::kNothing;
  const auto written = saving_of_state();
  if (written != Saving::kNot) return written;
  return way_ == Way::kStatesAndRows && can_come_from_rows() ? Saving::kNothing : Saving::kNot;
}

AggregateColumn::Saving AggregateColumn::saving_of_state() const {
  const auto& bound = function_.bound();
  const auto& name = bound.function.name;
  if (sketch_) return Saving::kSketch;
  if (bound.children.size() == 1) {
    const auto& type = bound.children[0]->return_type;
    if (is_one_of(name, kTheirResult) && type == result_type()) return Saving::kResult;
    if (is_one_of(name, kLists) && duckdb::LogicalType::LIST(type) == result_type())
      return Saving::kList;
  }
  return is_flat() ? Saving::kBytes : Saving::kNot;
}

bool AggregateColumn::can_write_state() const { return saving_of_state() != Saving::kNot; }

bool AggregateColumn::can_come_from_rows() const {
  // Of several rows that tie, arg_min and its like take those that came first, copies among them.
  const auto& bound = function_.bound();
  // An entropy is a sum in the order in which its values came first; a NaN is another each time.
  if (bound.function.name == "entropy" && bound.children.size() == 1) {
    const auto type = bound.children[0]->return_type.InternalType();
    return type != duckdb::PhysicalType::FLOAT && type != duckdb::PhysicalType::DOUBLE;
  }
  return bound.children.size() <= 2 && is_one_of(bound.function.name, kFromKeptRows);
}

void AggregateColumn::freeze() {
  frozen_saving_ = saving();
  if (kept_) kept_->freeze();
}

bool AggregateColumn::save_some(StateWriter& out, size_t bytes) {
  return !kept_ || kept_->save_some(out, bytes);
}

void AggregateColumn::save(std::span<Group* const> groups, StateWriter& out) {
  const auto how = frozen_saving_;
  out.number(static_cast<uint8_t>(how));
  if (how == Saving::kBytes)
    for (Group* group : groups) out.raw(state(*group), state_bytes());
  if (how == Saving::kResult || how == Saving::kList) save_results(groups, out);
  if (how == Saving::kSketch)
    for (Group* group : groups) sketch_->save(state(*group), out);
}

void AggregateColumn::load(std::span<Group* const> groups, StateReader& in) {
  const auto how = frozen_saving_ = static_cast<Saving>(in.number<uint8_t>());
  if (how == Saving::kBytes)
    for (Group* group : groups) in.raw(state(*group), state_bytes());
  if (how == Saving::kResult || how == Saving::kList) load_results(groups, in);
  if (how != Saving::kSketch) return;
  if (!sketch_) return in.fail("the state of a sketch is there that this DuckDB does not have");
  for (Group* group : groups) sketch_->load(function_, state(*group), in, *arena_);
}

void AggregateColumn::load_rest(StateReader& in) {
  if (!kept_) return;
  kept_->load(in, [&](std::string_view name) -> Arrangement::Key* {
    Group* const group = table_->find(name, hash_bytes(name));
    return group ? &kept_->find_or_add(key_of(group), group->hash) : nullptr;
  });
  if (ranked_) return rank_kept();
  if (way_ != Way::kStatesAndRows) return;
  table_->each([&](Group& group) {
    if (frozen_saving_ == Saving::kNothing || (group.failed && update_may_fail(function_.bound())))
      spoil(group);
  });
  rebuild_spoilt();
}

void AggregateColumn::save_results(std::span<Group* const> groups, StateWriter& out) {
  if (groups.empty()) return;
  duckdb::DataChunk results;
  make_chunk(results, {result_type()}, groups.size());
  finalize_states(groups, results.data[0]);
  results.SetCardinality(groups.size());
  EncodedRows rows;
  RowCodec({result_type()}, RowCodec::Use::kRow).encode(results, rows);
  for (size_t i = 0; i < groups.size(); ++i) out.bytes(rows[i]);
  scratch_.Reset();
}

void AggregateColumn::load_results(std::span<Group* const> groups, StateReader& in) {
  if (groups.empty()) return;
  std::vector<std::string> bytes;
  std::vector<const char*> rows;
  for (size_t i = 0; i < groups.size(); ++i) bytes.emplace_back(in.bytes());
  if (!in.ok()) return;
  for (const auto& row : bytes) rows.push_back(row.data());
  duckdb::DataChunk results;
  make_chunk(results, {result_type()}, groups.size());
  RowCodec({result_type()}, RowCodec::Use::kRow).decode(rows, results);
  results.SetCardinality(groups.size());
  if (saving() == Saving::kList) return load_list(results.data[0], groups);
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  for (size_t i = 0; i < groups.size(); ++i)
    duckdb::FlatVector::GetData<duckdb::data_ptr_t>(states)[i] = address(state(*groups[i]));
  std::vector<duckdb::Vector> arguments;
  arguments.emplace_back(results.data[0]);
  function_.update(arguments, states, groups.size(), *arena_);
}

void AggregateColumn::load_list(duckdb::Vector& lists, std::span<Group* const> groups) {
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  duckdb::SelectionVector sel(STANDARD_VECTOR_SIZE);
  size_t count = 0;
  const auto apply = [&] {
    std::vector<duckdb::Vector> arguments;
    arguments.emplace_back(duckdb::ListVector::GetEntry(lists), sel, count);
    function_.update(arguments, states, count, *arena_);
    count = 0;
  };
  const auto* entries = duckdb::FlatVector::GetData<duckdb::list_entry_t>(lists);
  for (size_t i = 0; i < groups.size(); ++i) {
    if (duckdb::FlatVector::IsNull(lists, i)) continue;
    for (size_t e = 0; e < entries[i].length; ++e) {
      sel.set_index(count, entries[i].offset + e);
      duckdb::FlatVector::GetData<duckdb::data_ptr_t>(states)[count] = address(state(*groups[i]));
      if (++count == STANDARD_VECTOR_SIZE) apply();
    }
  }
  if (count > 0) apply();
}

}  // namespace millrace::flow
