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
  if (!layout_.append_only) invertible_ = InvertibleAggregate::of(function_.bound());
  const bool states = layout_.append_only && !layout_.ordered;
  way_ = states ? Way::kStates : invertible_ ? Way::kInvertible : Way::kRecompute;
  arena_ = std::make_unique<duckdb::ArenaAllocator>(duckdb::Allocator::DefaultAllocator());
  if (!layout_.distinct && way_ != Way::kRecompute) return;
  codec_ = std::make_unique<RowCodec>(argument_types(function_.bound(), layout_.arguments),
                                      layout_.distinct ? RowCodec::Use::kKey : RowCodec::Use::kRow);
  kept_ = std::make_unique<Arrangement>(false);
}

AggregateColumn::~AggregateColumn() = default;

size_t AggregateColumn::state_bytes() const {
  if (way_ == Way::kStates) return function_.state_bytes();
  return way_ == Way::kInvertible ? sizeof(InvertibleAggregate::State) : 0;
}

InvertibleAggregate::State* AggregateColumn::invertible_state(Group& group) const {
  return reinterpret_cast<InvertibleAggregate::State*>(group.states + offset_);
}

void AggregateColumn::init(Group& group) const {
  if (way_ == Way::kStates) function_.init(group.states + offset_);
  if (way_ == Way::kInvertible) std::construct_at(invertible_state(group));
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
  if (rows.empty()) return;
  duckdb::DataChunk columns;
  argument_columns(arguments, columns);
  if (kept_) keep_rows(columns, rows, weights, groups);
  if (way_ == Way::kStates) {
    // Of a DISTINCT only what is new is left, and it counts once.
    const std::vector<int64_t> ones(layout_.distinct ? weights.size() : 0, 1);
    update_states(columns, rows, layout_.distinct ? ones : weights, groups);
  } else if (way_ == Way::kInvertible && !layout_.distinct) {
    update_invertible(columns, rows, weights, groups);
  }
}

void AggregateColumn::keep_rows(duckdb::DataChunk& arguments, std::vector<uint32_t>& rows,
                                std::span<const int64_t> weights, std::span<Group* const> groups) {
  codec_->encode(arguments, encoded_);
  std::vector<uint32_t> fresh;
  for (const uint32_t i : rows) {
    auto& key = kept_->find_or_add(key_of(groups[i]), groups[i]->hash);
    auto& row = kept_->add(key, encoded_[i], weights[i]).row;
    if (row.weight == weights[i] && row.emitted == 0) fresh.push_back(i);
    if (!row.touched && way_ != Way::kStates) {
      row.touched = true;
      touched_.push_back(&row);
    }
  }
  if (way_ == Way::kStates) rows = std::move(fresh);
}

void AggregateColumn::settle() {
  scratch_.Reset();
  if (touched_.empty()) return;
  // A row of an invertible DISTINCT counts from its first copy to its last.
  std::vector<const char*> changed;
  std::vector<int64_t> weights;
  std::vector<Group*> groups;
  std::vector<uint32_t> rows;
  const auto apply = [&] {
    duckdb::DataChunk chunk;
    make_chunk(chunk, {codec_->types().begin(), codec_->types().end()}, changed.size());
    codec_->decode(changed, chunk);
    chunk.SetCardinality(changed.size());
    update_invertible(chunk, rows, weights, groups);
    changed.clear(), weights.clear(), groups.clear(), rows.clear();
  };
  for (auto* row : touched_) {
    row->touched = false;
    const int64_t now = row->weight > 0 ? 1 : 0;
    if (way_ != Way::kInvertible || now == row->emitted) continue;
    Group* group;
    std::memcpy(&group, row->key->bytes(), sizeof(group));
    rows.push_back(static_cast<uint32_t>(changed.size()));
    changed.push_back(row->bytes());
    weights.push_back(now - row->emitted);
    groups.push_back(group);
    row->emitted = now;
    if (changed.size() == STANDARD_VECTOR_SIZE) apply();
  }
  if (!changed.empty()) apply();
  for (auto* row : touched_)
    if (row->weight == 0) kept_->remove(*row);
  touched_.clear();
}

void AggregateColumn::update_states(duckdb::DataChunk& arguments, std::span<const uint32_t> rows,
                                    std::span<const int64_t> weights,
                                    std::span<Group* const> groups) {
  bool as_it_is = rows.size() == weights.size();
  for (size_t i = 0; as_it_is && i < rows.size(); ++i) as_it_is = weights[i] == 1;
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  if (as_it_is) {
    for (size_t i = 0; i < rows.size(); ++i)
      pointers(states)[i] = reinterpret_cast<duckdb::data_ptr_t>(groups[i]->states + offset_);
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
      pointers(states)[count] = reinterpret_cast<duckdb::data_ptr_t>(groups[i]->states + offset_);
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

void AggregateColumn::finalize(std::span<Group* const> groups, duckdb::Vector& out) {
  if (way_ == Way::kStates) return finalize_states(groups, out);
  if (way_ == Way::kRecompute) return finalize_kept(groups, out);
  std::vector<const InvertibleAggregate::State*> states;
  for (Group* group : groups) states.push_back(invertible_state(*group));
  invertible_->finalize(states, out);
}

/// Finalizing may spoil a state, so it is done on a copy.
void AggregateColumn::finalize_states(std::span<Group* const> groups, duckdb::Vector& out) {
  const size_t bytes = function_.state_bytes();
  scratch_states_.resize(groups.size() * bytes);
  duckdb::Vector states(duckdb::LogicalType::POINTER), copies(duckdb::LogicalType::POINTER);
  for (size_t i = 0; i < groups.size(); ++i) {
    char* copy = scratch_states_.data() + i * bytes;
    function_.init(copy);
    pointers(states)[i] = reinterpret_cast<duckdb::data_ptr_t>(groups[i]->states + offset_);
    pointers(copies)[i] = reinterpret_cast<duckdb::data_ptr_t>(copy);
  }
  function_.combine(states, copies, groups.size(), scratch_);
  function_.finalize(copies, groups.size(), out, scratch_);
  function_.destroy(copies, groups.size(), scratch_);
}

void AggregateColumn::finalize_kept(std::span<Group* const> groups, duckdb::Vector& out) {
  const size_t bytes = function_.state_bytes();
  scratch_states_.resize(groups.size() * bytes);
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  for (size_t i = 0; i < groups.size(); ++i) {
    function_.init(scratch_states_.data() + i * bytes);
    pointers(states)[i] = reinterpret_cast<duckdb::data_ptr_t>(scratch_states_.data() + i * bytes);
  }
  feed_kept(groups, scratch_states_.data());
  function_.finalize(states, groups.size(), out, scratch_);
  function_.destroy(states, groups.size(), scratch_);
}

void AggregateColumn::feed_kept(std::span<Group* const> groups, char* states) {
  std::vector<const char*> rows;
  duckdb::Vector targets(duckdb::LogicalType::POINTER);
  const auto apply = [&] {
    duckdb::DataChunk chunk;
    make_chunk(chunk, {codec_->types().begin(), codec_->types().end()}, rows.size());
    codec_->decode(rows, chunk);
    chunk.SetCardinality(rows.size());
    auto args = references(chunk);
    function_.update(args, targets, rows.size(), scratch_);
    rows.clear();
  };
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto* key = kept_->find(key_of(groups[i]), groups[i]->hash);
    for (auto* row = key ? key->first : nullptr; row; row = row->next) {
      const int64_t times = layout_.distinct ? std::min<int64_t>(row->weight, 1) : row->weight;
      for (int64_t n = 0; n < times; ++n) {
        pointers(targets)[rows.size()] =
            reinterpret_cast<duckdb::data_ptr_t>(states + i * function_.state_bytes());
        rows.push_back(row->bytes());
        if (rows.size() == STANDARD_VECTOR_SIZE) apply();
      }
    }
  }
  if (!rows.empty()) apply();
}

void AggregateColumn::forget(Group& group) {
  if (way_ == Way::kStates && function_.has_destructor()) {
    duckdb::Vector states(duckdb::LogicalType::POINTER);
    pointers(states)[0] = reinterpret_cast<duckdb::data_ptr_t>(group.states + offset_);
    function_.destroy(states, 1, *arena_);
  }
  if (!kept_) return;
  Group* address = &group;
  auto* key = kept_->find(key_of(address), group.hash);
  if (!key) return;
  while (key->first) kept_->remove(*key->first);
  kept_->remove(*key);
}

void AggregateColumn::compact(const GroupTable& groups) {
  if (way_ != Way::kStates || function_.has_destructor()) return;
  const size_t held = arena_->AllocationSize();
  if (held < kArenaBytesMin || held < 2 * arena_bytes_kept_) return;
  auto fresh = std::make_unique<duckdb::ArenaAllocator>(duckdb::Allocator::DefaultAllocator());
  const size_t bytes = function_.state_bytes();
  duckdb::Vector from(duckdb::LogicalType::POINTER), to(duckdb::LogicalType::POINTER);
  scratch_states_.resize(bytes);
  for (Group* group : groups) {
    function_.init(scratch_states_.data());
    pointers(from)[0] = reinterpret_cast<duckdb::data_ptr_t>(group->states + offset_);
    pointers(to)[0] = reinterpret_cast<duckdb::data_ptr_t>(scratch_states_.data());
    function_.combine(from, to, 1, *fresh);
    std::memcpy(group->states + offset_, scratch_states_.data(), bytes);
  }
  arena_ = std::move(fresh);
  arena_bytes_kept_ = arena_->AllocationSize();
}

size_t AggregateColumn::memory_bytes() const {
  return arena_->AllocationSize() + scratch_.AllocationSize() + (kept_ ? kept_->memory_bytes() : 0);
}

std::string AggregateColumn::describe() const {
  const char* how = way_ == Way::kRecompute ? " [kept rows]" : "";
  return function_.bound().function.name + (layout_.distinct ? " distinct" : "") + how;
}

}  // namespace millrace::flow
