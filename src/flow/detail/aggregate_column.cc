#include "flow/detail/aggregate_column.h"

#include <duckdb/common/vector_operations/vector_operations.hpp>

#include "base/check.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

namespace {

constexpr size_t kArenaBytesMin = 1 << 20;  // below, compaction is not worth it

duckdb::data_ptr_t* pointers(duckdb::Vector& states) {
  return duckdb::FlatVector::GetData<duckdb::data_ptr_t>(states);
}

std::vector<duckdb::Vector> references(duckdb::DataChunk& chunk) {
  std::vector<duckdb::Vector> out;
  out.reserve(chunk.ColumnCount());
  for (auto& vector : chunk.data) out.emplace_back(vector);
  return out;
}

std::vector<duckdb::LogicalType> argument_types(const duckdb::BoundAggregateExpression& bound,
                                                size_t count) {
  MR_CHECK(bound.children.size() == count);
  std::vector<duckdb::LogicalType> types;
  for (const auto& child : bound.children) types.push_back(child->return_type);
  return types;
}

}  // namespace

AggregateColumn::AggregateColumn(AggregateFunction function, Layout layout)
    : function_(std::move(function)),
      layout_(layout),
      scratch_(duckdb::Allocator::DefaultAllocator()) {
  arena_ = std::make_unique<duckdb::ArenaAllocator>(duckdb::Allocator::DefaultAllocator());
  sketch_ = SketchState::of(function_);
  way_ = way_of(layout_);
  if (!layout_.distinct && (way_ == Way::kStates || way_ == Way::kInvertible)) return;
  codec_ = std::make_unique<RowCodec>(argument_types(function_.bound(), layout_.arguments),
                                      layout_.distinct ? RowCodec::Use::kKey : RowCodec::Use::kRow);
  kept_ = std::make_unique<Arrangement>(false, true);
}

AggregateColumn::~AggregateColumn() = default;

AggregateColumn::Way AggregateColumn::way_of(const Layout& layout) {
  const auto& bound = function_.bound();
  if (!layout.append_only || sum_may_overflow(bound)) invertible_ = InvertibleAggregate::of(bound);
  if (invertible_) return Way::kInvertible;
  if (layout.ordered) return Way::kRows;
  // What only comes needs no rows, if DuckDB's state is always known and can be written down.
  const bool may_fail = update_may_fail(bound);
  if (layout.append_only && !may_fail && can_write_state()) return Way::kStates;
  ranked_ = RankedAggregate::of(bound);
  if (ranked_) return Way::kRanked;
  return layout.append_only && !may_fail && !can_come_from_rows() ? Way::kStates
                                                                  : Way::kStatesAndRows;
}

void AggregateColumn::set_table(GroupTable& table) {
  table_ = &table;
  if (!kept_) return;
  kept_->name_keys([&table](const Arrangement::Key& key) {
    Group* group;
    std::memcpy(&group, key.view().data(), sizeof(group));
    return table.key(*group);
  });
}

size_t AggregateColumn::state_bytes() const {
  if (way_ == Way::kStates) return function_.state_bytes();
  if (way_ == Way::kStatesAndRows) return function_.state_bytes() + 16;
  if (way_ == Way::kRanked) return 16;
  return way_ == Way::kInvertible ? sizeof(InvertibleAggregate::State) : 0;
}

bool& AggregateColumn::spoilt(Group& group) const {
  return *reinterpret_cast<bool*>(state(group) + function_.state_bytes());
}

InvertibleAggregate::State* AggregateColumn::invertible_state(Group& group) const {
  return reinterpret_cast<InvertibleAggregate::State*>(group.states + offset_);
}

void AggregateColumn::init(Group& group) const {
  if (has_states()) function_.init(state(group));
  if (way_ == Way::kStatesAndRows) std::construct_at(&spoilt(group), false);
  if (way_ == Way::kInvertible) std::construct_at(invertible_state(group));
  if (way_ == Way::kRanked) root_of(group) = 0;
}

void AggregateColumn::argument_columns(duckdb::DataChunk& arguments, duckdb::DataChunk& out) const {
  if (layout_.arguments > 0) {
    duckdb::vector<duckdb::LogicalType> types;
    for (size_t i = 0; i < layout_.arguments; ++i)
      types.push_back(arguments.data[layout_.first_argument + i].GetType());
    out.InitializeEmpty(types);
    for (size_t i = 0; i < layout_.arguments; ++i)
      out.data[i].Reference(arguments.data[layout_.first_argument + i]);
  }
  out.SetCardinality(arguments.size());
}

void AggregateColumn::update(duckdb::DataChunk& arguments, std::span<const int64_t> weights,
                             std::span<Group* const> groups) {
  std::vector<uint32_t> rows;
  rows.reserve(weights.size());
  if (layout_.filter) {
    duckdb::UnifiedVectorFormat filter;
    arguments.data[*layout_.filter].ToUnifiedFormat(weights.size(), filter);
    const auto* passes = duckdb::UnifiedVectorFormat::GetData<bool>(filter);
    for (uint32_t i = 0; i < weights.size(); ++i) {
      const auto at = filter.sel->get_index(i);
      if (filter.validity.RowIsValid(at) && passes[at]) rows.push_back(i);
    }
  } else {
    for (uint32_t i = 0; i < weights.size(); ++i) rows.push_back(i);
  }
  duckdb::DataChunk columns;
  argument_columns(arguments, columns);
  if (ranked_) leave_out_nulls(columns, rows);
  if (rows.empty()) return;
  if (kept_) keep_rows(columns, rows, weights, groups);
  if (!layout_.distinct) return apply(columns, rows, weights, groups);
  if (way_ != Way::kStates) return;  // settle() knows what came and what left
  const std::vector<int64_t> ones(weights.size(), 1);
  apply(columns, rows, ones, groups);
}

void AggregateColumn::apply(duckdb::DataChunk& arguments, std::span<const uint32_t> rows,
                            std::span<const int64_t> weights, std::span<Group* const> groups) {
  if (way_ == Way::kInvertible) return update_invertible(arguments, rows, weights, groups);
  if (way_ == Way::kRows || way_ == Way::kRanked) return;
  if (way_ == Way::kStates) return update_states(arguments, rows, weights, groups);
  std::vector<uint32_t> added;
  for (const uint32_t i : rows) {
    if (spoilt(*groups[i])) continue;
    if (weights[i] > 0 && !failing_.contains(groups[i]))
      added.push_back(i);
    else
      spoil(*groups[i]);
  }
  try {
    update_states(arguments, added, weights, groups);
  } catch (const std::exception& thrown) {
    reason_of_row(thrown);
    for (const uint32_t i : added) spoil(*groups[i]);  // which rows they hold is not known
  }
}

void AggregateColumn::spoil(Group& group) {
  if (std::exchange(spoilt(group), true)) return;
  spoilt_.push_back(&group);
}

void AggregateColumn::keep_rows(duckdb::DataChunk& arguments, std::vector<uint32_t>& rows,
                                std::span<const int64_t> weights, std::span<Group* const> groups) {
  codec_->encode(arguments, encoded_);
  std::vector<uint32_t> fresh;
  for (const uint32_t i : rows) {
    auto& key = kept_->find_or_add(key_of(groups[i]), groups[i]->hash);
    auto& row = kept_->add(key, encoded_[i], weights[i]).row;
    if (row.weight == weights[i] && row.counts().emitted == 0) fresh.push_back(i);
    if (!row.touched && way_ != Way::kStates) {
      row.touched = true;
      touched_.push_back(&row);
    }
  }
  if (way_ == Way::kStates) rows = std::move(fresh);
}

void AggregateColumn::settle() {
  scratch_.Reset();
  if (ranked_)
    settle_ranked();
  else if (layout_.distinct)
    settle_distinct();
  for (auto* row : touched_) {
    row->touched = false;
    if (row->weight == 0) kept_->remove(*row);
  }
  touched_.clear();
  rebuild_spoilt();
}

/// A row of a DISTINCT counts from its first copy to its last.
void AggregateColumn::settle_distinct() {
  std::vector<const char*> changed;
  std::vector<int64_t> weights;
  std::vector<Group*> groups;
  std::vector<uint32_t> rows;
  const auto flush = [&] {
    duckdb::DataChunk chunk;
    make_chunk(chunk, {codec_->types().begin(), codec_->types().end()}, changed.size());
    codec_->decode(changed, chunk);
    chunk.SetCardinality(changed.size());
    apply(chunk, rows, weights, groups);
    changed.clear(), weights.clear(), groups.clear(), rows.clear();
  };
  for (auto* row : touched_) {
    const int64_t now = row->weight > 0 ? 1 : 0;
    auto& emitted = row->counts().emitted;
    if (now == emitted) continue;
    rows.push_back(static_cast<uint32_t>(changed.size()));
    changed.push_back(row->bytes());
    weights.push_back(now - emitted);
    groups.push_back(&group_of(*row));
    emitted = now;
    if (changed.size() == STANDARD_VECTOR_SIZE) flush();
  }
  if (!changed.empty()) flush();
}

void AggregateColumn::rebuild_spoilt() {
  for (Group* group : spoilt_) {
    failing_.erase(group);
    destroy_state(*group, *arena_);
    init(*group);
  }
  rebuild(spoilt_);
  spoilt_.clear();
}

void AggregateColumn::rebuild(std::span<Group* const> groups) {
  std::vector<char*> states;
  for (Group* group : groups) states.push_back(state(*group));
  try {
    return feed_kept(groups, states, *arena_);
  } catch (const std::exception& thrown) {
    auto reason = reason_of_row(thrown);
    for (Group* group : groups) {
      destroy_state(*group, *arena_);
      init(*group);
    }
    if (groups.size() == 1) {
      failing_[groups[0]] = std::move(reason);
      return;
    }
  }
  rebuild(groups.first(groups.size() / 2));
  rebuild(groups.subspan(groups.size() / 2));
}

void AggregateColumn::update_states(duckdb::DataChunk& arguments, std::span<const uint32_t> rows,
                                    std::span<const int64_t> weights,
                                    std::span<Group* const> groups) {
  if (rows.empty()) return;
  bool as_it_is = rows.size() == weights.size();
  for (size_t i = 0; as_it_is && i < rows.size(); ++i) as_it_is = weights[i] == 1;
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  if (as_it_is) {
    for (size_t i = 0; i < rows.size(); ++i)
      pointers(states)[i] = reinterpret_cast<duckdb::data_ptr_t>(state(*groups[i]));
    auto args = references(arguments);
    function_.update(args, states, rows.size(), *arena_);
    return;
  }
  duckdb::SelectionVector sel(STANDARD_VECTOR_SIZE);
  size_t count = 0;
  const auto apply = [&] {
    duckdb::DataChunk sliced;
    slice_chunk(arguments, sel, count, sliced);
    auto args = references(sliced);
    function_.update(args, states, count, *arena_);
    count = 0;
  };
  for (const uint32_t i : rows) {
    for (int64_t n = 0; n < weights[i]; ++n) {
      sel.set_index(count, i);
      pointers(states)[count] = reinterpret_cast<duckdb::data_ptr_t>(state(*groups[i]));
      if (++count == STANDARD_VECTOR_SIZE) apply();
    }
  }
  if (count > 0) apply();
}

void AggregateColumn::update_invertible(duckdb::DataChunk& arguments,
                                        std::span<const uint32_t> rows,
                                        std::span<const int64_t> weights,
                                        std::span<Group* const> groups) {
  std::vector<InvertibleAggregate::State*> states;
  std::vector<int64_t> row_weights;
  duckdb::SelectionVector sel(rows.size());
  for (const uint32_t i : rows) {
    sel.set_index(states.size(), i);
    states.push_back(invertible_state(*groups[i]));
    row_weights.push_back(weights[i]);
  }
  if (arguments.ColumnCount() == 0) return invertible_->update(nullptr, states, row_weights);
  duckdb::Vector argument(arguments.data[0], sel, rows.size());
  invertible_->update(&argument, states, row_weights);
}

void AggregateColumn::finalize(std::span<Group* const> groups, duckdb::Vector& out,
                               std::vector<RowFailure>& failures) {
  if (way_ == Way::kInvertible) {
    std::vector<const InvertibleAggregate::State*> states;
    for (Group* group : groups) states.push_back(invertible_state(*group));
    return invertible_->finalize(states, out, failures);
  }
  try {
    if (failing_.empty()) return finalize_groups(groups, out);
  } catch (const std::exception& thrown) {
    reason_of_row(thrown);
  }
  duckdb::Vector fresh(result_type(), std::max<size_t>(groups.size(), 1));
  out.Reference(fresh);  // what failed may have left something there
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto known = failing_.find(groups[i]);
    if (known != failing_.end()) {
      failures.push_back({i, known->second});
    } else {
      try {
        duckdb::Vector one(result_type());
        finalize_groups(groups.subspan(i, 1), one);
        out.SetValue(i, one.GetValue(0));
        continue;
      } catch (const std::exception& thrown) {
        failures.push_back({i, reason_of_row(thrown)});
      }
    }
    duckdb::FlatVector::SetNull(out, i, true);
  }
}

void AggregateColumn::finalize_groups(std::span<Group* const> groups, duckdb::Vector& out) {
  has_states() ? finalize_states(groups, out) : finalize_kept(groups, out);
}

/// Finalizing may spoil a state, so it is done on a copy.
void AggregateColumn::finalize_states(std::span<Group* const> groups, duckdb::Vector& out) {
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  for (size_t i = 0; i < groups.size(); ++i)
    pointers(states)[i] = reinterpret_cast<duckdb::data_ptr_t>(state(*groups[i]));
  FreshStates copies(function_, groups.size(), scratch_, scratch_states_);
  function_.combine(states, copies.pointers(), groups.size(), scratch_);
  function_.finalize(copies.pointers(), groups.size(), out, scratch_);
}

void AggregateColumn::finalize_kept(std::span<Group* const> groups, duckdb::Vector& out) {
  if (ranked_ && ranked_->pick == RankedAggregate::Pick::kQuantiles)
    return finalize_quantiles(groups, out);
  FreshStates states(function_, groups.size(), scratch_, scratch_states_);
  if (ranked_)
    feed_ranked(groups, states.addresses());
  else
    feed_kept(groups, states.addresses(), scratch_);
  function_.finalize(states.pointers(), groups.size(), out, scratch_);
}

void AggregateColumn::Feed::add(Arrangement::Row& row, char* state) {
  pointers(states_)[rows_.size()] = reinterpret_cast<duckdb::data_ptr_t>(state);
  rows_.push_back(row.bytes());
  if (rows_.size() == STANDARD_VECTOR_SIZE) flush();
}

void AggregateColumn::Feed::flush() {
  if (rows_.empty()) return;
  const auto& codec = *column_.codec_;
  duckdb::DataChunk chunk;
  make_chunk(chunk, {codec.types().begin(), codec.types().end()}, rows_.size());
  codec.decode(rows_, chunk);
  chunk.SetCardinality(rows_.size());
  auto args = references(chunk);
  column_.function_.update(args, states_, rows_.size(), arena_);
  rows_.clear();
}

void AggregateColumn::feed_kept(std::span<Group* const> groups, std::span<char* const> states,
                                duckdb::ArenaAllocator& arena) {
  Feed feed(*this, arena);
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto* key = kept_->find(key_of(groups[i]), groups[i]->hash);
    for (auto* row = key ? kept_->first(*key) : nullptr; row; row = kept_->next(*row)) {
      const int64_t times = layout_.distinct ? std::min<int64_t>(row->weight, 1) : row->weight;
      for (int64_t n = 0; n < times; ++n) feed.add(*row, states[i]);
    }
  }
  feed.flush();
}

void AggregateColumn::destroy_state(Group& group, duckdb::ArenaAllocator& arena) const {
  if (!has_states() || !function_.has_destructor()) return;
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  pointers(states)[0] = reinterpret_cast<duckdb::data_ptr_t>(state(group));
  function_.destroy(states, 1, arena);
}

void AggregateColumn::destroy_states() {
  if (!has_states() || !function_.has_destructor()) return;
  table_->each([&](Group& group) { destroy_state(group, *arena_); });
}

void AggregateColumn::forget(Group& group) {
  destroy_state(group, *arena_);
  failing_.erase(&group);
  if (ranked_) ranks_.clear(root_of(group));
  if (!kept_) return;
  Group* address = &group;
  auto* key = kept_->find(key_of(address), group.hash);
  if (!key) return;
  while (auto* row = kept_->first(*key)) kept_->remove(*row);
  kept_->remove(*key);
}

void AggregateColumn::compact() {
  if (!has_states()) return;
  const size_t held = arena_->AllocationSize();
  if (held < kArenaBytesMin || held < 2 * arena_bytes_kept_) return;
  auto fresh = std::make_unique<duckdb::ArenaAllocator>(duckdb::Allocator::DefaultAllocator());
  if (way_ == Way::kStatesAndRows && saving() == Saving::kNothing) {
    // A copy of a state may not be what comes of its rows, which is what a snapshot gives back.
    const auto held_before = std::exchange(arena_, std::move(fresh));
    table_->each([this](Group& group) { spoil(group); });
    rebuild_spoilt();
    arena_bytes_kept_ = arena_->AllocationSize();
    return;
  }
  const size_t bytes = function_.state_bytes();
  duckdb::Vector from(duckdb::LogicalType::POINTER), to(duckdb::LogicalType::POINTER);
  scratch_states_.resize(bytes);
  table_->each([&](Group& group) {
    function_.init(scratch_states_.data());
    pointers(from)[0] = reinterpret_cast<duckdb::data_ptr_t>(state(group));
    pointers(to)[0] = reinterpret_cast<duckdb::data_ptr_t>(scratch_states_.data());
    function_.combine(from, to, 1, *fresh);
    destroy_state(group, *arena_);
    std::memcpy(state(group), scratch_states_.data(), bytes);
  });
  arena_ = std::move(fresh);
  arena_bytes_kept_ = arena_->AllocationSize();
}

size_t AggregateColumn::memory_bytes() const {
  return arena_->AllocationSize() + scratch_.AllocationSize() +
         (kept_ ? kept_->memory_bytes() + ranks_.memory_bytes() : 0);
}

std::string AggregateColumn::describe() const {
  const char* how = way_ == Way::kRows || way_ == Way::kStatesAndRows ? " [rows kept]"
                    : way_ == Way::kRanked                            ? " [rows kept in order]"
                                                                      : "";
  return function_.bound().function.name + (layout_.distinct ? " distinct" : "") + how;
}

}  // namespace millrace::flow
