#include <duckdb.hpp>

#include <map>

#include "flow/detail/aggregate_column.h"
#include "flow/detail/closing.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/frontier_map.h"
#include "flow/detail/operators.h"
#include "flow/detail/row_errors.h"

namespace millrace::flow {

namespace {

constexpr std::string_view kNoKey{"\0", 1};  // a key without columns, encoded

std::vector<duckdb::LogicalType> plain(const duckdb::vector<duckdb::LogicalType>& types) {
  return {types.begin(), types.end()};
}

/// Arguments and filters of all calls side by side, and where each stands.
Expressions lay_out(AggregateSpec& spec, std::vector<AggregateColumn::Layout>& layouts) {
  Expressions all;
  for (auto& call : spec.calls) {
    AggregateColumn::Layout layout{all.size(),    call.arguments.size(), std::nullopt,
                                   call.distinct, call.ordered,          spec.append_only};
    for (auto& argument : call.arguments) all.push_back(std::move(argument));
    if (call.filter) {
      layout.filter = all.size();
      all.push_back(std::move(call.filter));
    }
    layouts.push_back(layout);
  }
  return all;
}

/// GROUP BY, DISTINCT, and aggregates over everything.
class Aggregate : public Operator {
 public:
  Aggregate(duckdb::ClientContext& context, AggregateSpec spec)
      : global_(spec.global),
        append_only_(spec.append_only),
        arguments_(context, lay_out(spec, layouts_)),
        groups_(context, std::move(spec.groups)),
        frontiers_(context, groups_),
        key_codec_(plain(groups_.types()), RowCodec::Use::kKey),
        columns_(make_columns(spec)),
        table_(lay_out_states()),
        result_codec_(plain(result_types_), RowCodec::Use::kRow),
        builder_({&key_codec_, &result_codec_}),
        late_(column_names({&groups_, &arguments_})) {
    for (auto& column : columns_) column->set_table(table_);
  }

  ~Aggregate() override {
    for (auto& column : columns_) column->destroy_states();
  }

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    if (global_ && table_.size() == 0) find_group(kNoKey, hash_bytes(kNoKey));
    for (const auto& chunk : inputs[0]->chunks) MR_TRY(take(chunk, out));
    for (auto& column : columns_) column->settle();
    for (size_t from = 0; from < touched_.size(); from += STANDARD_VECTOR_SIZE) {
      const size_t count = std::min<size_t>(STANDARD_VECTOR_SIZE, touched_.size() - from);
      MR_TRY(emit({touched_.data() + from, count}, out));
    }
    touched_.clear();
    out.frontiers = frontiers_.map(inputs[0]->frontiers);
    advance(out.frontiers);
    for (auto& column : columns_) column->compact();
    return {};
  }

  size_t state_rows() const override { return table_.size(); }
  size_t state_bytes() const override {
    size_t bytes = table_.memory_bytes();
    for (const auto& column : columns_) bytes += column->memory_bytes();
    return bytes;
  }
  uint64_t late_rows() const override { return late_.count(); }
  void take_late(std::vector<LateRows>& out) override { late_.take(out); }
  bool waits_for_frontier() const override { return !by_time_.empty(); }

  bool can_save() const override {
    return std::ranges::all_of(columns_, [](const auto& column) { return column->can_save(); });
  }
  void save(StateWriter& out) const override;
  void freeze() override;
  bool save_some(StateWriter& out, size_t bytes) override;
  Result<> load(StateReader& in) override;

  std::string describe() const override {
    std::string text = columns_.empty() ? "distinct" : "aggregate";
    for (size_t i = 0; i < columns_.size(); ++i)
      text += (i == 0 ? " " : ", ") + columns_[i]->describe();
    if (groups_.size() > 0) text += (columns_.empty() ? " " : " by ") + groups_.describe();
    return text;
  }

 private:
  std::vector<std::unique_ptr<AggregateColumn>> make_columns(AggregateSpec& spec) {
    std::vector<std::unique_ptr<AggregateColumn>> out;
    for (size_t i = 0; i < spec.calls.size(); ++i) {
      result_types_.push_back(spec.calls[i].bound->return_type);
      out.push_back(std::make_unique<AggregateColumn>(
          AggregateFunction(std::move(spec.calls[i].bound)), layouts_[i]));
    }
    return out;
  }

  size_t lay_out_states() {
    size_t bytes = 0;
    for (auto& column : columns_) {
      column->set_offset(bytes);
      bytes += column->state_bytes();
    }
    return bytes;
  }

  /// Those that are frozen are saved.
  void before_change(std::span<Group* const> groups);
  void save_groups(std::span<Group* const> groups, StateWriter& out) const;

  Group* find_group(std::string_view key, uint64_t hash) {
    const auto [group, fresh] = table_.find_or_add(key, hash);
    if (fresh)
      for (auto& column : columns_) column->init(*group);
    if (!group->touched) {
      group->touched = true;
      touched_.push_back(group);
    }
    return group;
  }

  Result<> take(const std::shared_ptr<const Delta>& chunk, DeltaStream& out) {
    duckdb::DataChunk keys, arguments;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk group_values, argument_values;
      groups_.evaluate(rows, group_values);
      arguments_.evaluate(rows, argument_values);
      keys.Move(group_values), arguments.Move(argument_values);
    });
    if (good->weights.empty()) return {};
    const Delta& delta = *good;
    std::span<const int64_t> weights = delta.weights;
    std::vector<int64_t> kept;
    if (closing_.column() && leave_out_late(delta, keys, arguments, kept)) weights = kept;
    if (weights.empty()) return {};

    key_codec_.encode(keys, encoded_);
    members_.clear();
    std::optional<TimeColumn> times;
    if (closing_.column()) times.emplace(keys.data[*closing_.column()], keys.size());
    hashes_.resize(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) hashes_[i] = hash_bytes(encoded_[i]);
    for (size_t i = 0; i < weights.size(); ++i) {
      table_.warm(hashes_, i);
      if (append_only_ && weights[i] < 0)
        return Error{ErrorCode::kInternal, "a row is retracted from an append-only input"};
      const size_t known = table_.size();
      Group* group = find_group(encoded_[i], hashes_[i]);
      if (times && table_.size() > known) index_by_time(*group, (*times)[i]);
      members_.push_back(group);
    }
    before_change(members_);
    for (size_t i = 0; i < weights.size(); ++i) members_[i]->rows += weights[i];
    for (auto& column : columns_) column->update(arguments, weights, members_);
    return {};
  }

  /// Takes out rows of groups that are closed; false when there is none.
  bool leave_out_late(const Delta& delta, duckdb::DataChunk& keys, duckdb::DataChunk& arguments,
                      std::vector<int64_t>& kept) {
    duckdb::SelectionVector sel(delta.weights.size()), late(delta.weights.size());
    size_t late_count = 0;
    const TimeColumn times(keys.data[*closing_.column()], delta.weights.size());
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      const auto time = times[i];
      if (time && closing_.is_closed(*time)) {
        late.set_index(late_count++, i);
        continue;
      }
      sel.set_index(kept.size(), i);
      kept.push_back(delta.weights[i]);
    }
    late_.add(delta, late, late_count);
    if (kept.size() == delta.weights.size()) return false;
    duckdb::DataChunk left_keys, left_arguments;
    slice_chunk(keys, sel, kept.size(), left_keys);
    slice_chunk(arguments, sel, kept.size(), left_arguments);
    keys.Move(left_keys);
    arguments.Move(left_arguments);
    return true;
  }

  /// Emits what changed of these groups' rows, and lets go of those that are empty.
  Result<> emit(std::span<Group* const> groups, DeltaStream& out) {
    std::vector<Group*> living;
    for (size_t i = 0; i < groups.size(); ++i) {
      table_.warm(groups, i);
      Group* group = groups[i];
      group->touched = false;
      if (group->rows < 0)
        return Error{ErrorCode::kInternal, "more rows are retracted from a group than it had"};
      if (group->rows > 0 || global_)
        living.push_back(group);
      else if (!is_new(*group))
        builder_.add({table_.key_of(*group), table_.emitted(*group).data()}, -1, out);
    }
    duckdb::DataChunk results;
    make_chunk(results, result_types_, living.size());
    std::vector<RowFailure> failures;
    for (size_t i = 0; i < columns_.size() && !living.empty(); ++i)
      columns_[i]->finalize(living, results.data[i], failures);
    results.SetCardinality(living.size());
    result_codec_.encode(results, encoded_);
    leave_out_failed(living, failures, out);
    for (size_t i = 0; i < living.size(); ++i) {
      const auto before = table_.emitted(*living[i]);
      if (before == encoded_[i] && !is_new(*living[i]) && !living[i]->failed) continue;
      if (!is_new(*living[i])) builder_.add({table_.key_of(*living[i]), before.data()}, -1, out);
    }
    builder_.flush(out);  // before the bytes that it points at go
    for (size_t i = 0; i < living.size(); ++i) {
      if (living[i]->failed) {
        table_.set_emitted(*living[i], {});
        continue;
      }
      if (table_.emitted(*living[i]) == encoded_[i] && !is_new(*living[i])) continue;
      table_.set_emitted(*living[i], encoded_[i]);
      builder_.add({table_.key_of(*living[i]), table_.emitted(*living[i]).data()}, 1, out);
    }
    builder_.flush(out);
    for (Group* group : groups)
      if (group->rows == 0 && !global_) let_go(*group);
    return {};
  }
  bool is_new(const Group& group) const { return group.emitted == 0; }

  /// Marks the groups that an aggregate fails over, and tells of those that it did not before.
  void leave_out_failed(std::span<Group* const> groups, const std::vector<RowFailure>& failures,
                        DeltaStream& out) {
    std::vector<const std::string*> reasons(groups.size());
    for (const auto& [row, reason] : failures)
      if (!reasons[row]) reasons[row] = &reason;
    for (size_t i = 0; i < groups.size(); ++i) {
      const bool failed_before = groups[i]->failed;
      groups[i]->failed = reasons[i] != nullptr;
      if (!groups[i]->failed || failed_before) continue;
      tell_failed_key(groups_, key_codec_, table_.key_of(*groups[i]), *reasons[i], out);
    }
  }

  /// Of a group without rows. One that the index by time names stays, as new, until it closes.
  void let_go(Group& group) {
    if (!closing_.column() || !time_of(group)) return remove(group);
    for (auto& column : columns_) column->forget(group);
    for (auto& column : columns_) column->init(group);
    table_.set_emitted(group, {});
    group.failed = false;
  }

  void remove(Group& group) {
    for (auto& column : columns_) column->forget(group);
    table_.remove(group);
  }

  /// Closes the groups below the frontier, if there is one.
  void advance(const std::vector<Frontier>& frontiers) {
    if (closing_.advance(frontiers)) index_all_by_time();
    const auto end = by_time_.lower_bound(closing_.below_us());
    for (auto at = by_time_.begin(); at != end; ++at) {
      before_change(at->second);
      for (Group* group : at->second) remove(*group);
    }
    by_time_.erase(by_time_.begin(), end);
  }

  void index_by_time(Group& group, std::optional<int64_t> time) {
    if (time) by_time_[*time].push_back(&group);
  }

  void index_all_by_time() {
    table_.each([&](Group& group) { index_by_time(group, time_of(group)); });
  }

  std::optional<int64_t> time_of(Group& group) {
    const char* key = table_.key_of(group);
    duckdb::DataChunk row;
    make_chunk(row, groups_.types(), 1);
    key_codec_.decode({&key, 1}, row);
    row.SetCardinality(1);
    return TimeColumn(row.data[*closing_.column()], 1)[0];
  }

  const bool global_;
  const bool append_only_;
  std::vector<AggregateColumn::Layout> layouts_;
  Evaluator arguments_;
  Evaluator groups_;
  FrontierMap frontiers_;
  RowCodec key_codec_;
  duckdb::vector<duckdb::LogicalType> result_types_;
  std::vector<std::unique_ptr<AggregateColumn>> columns_;
  GroupTable table_;
  RowCodec result_codec_;
  DeltaBuilder builder_;

  EncodedRows encoded_;
  std::vector<uint64_t> hashes_;  // of the keys of one chunk
  std::vector<Group*> members_;   // of the rows of one chunk
  std::vector<Group*> touched_;

  Closing closing_;
  std::map<int64_t, std::vector<Group*>> by_time_;
  LateCollector late_;
};

void Aggregate::save(StateWriter& out) const {
  out.begin("groups", 4);
  late_.save(out);
  closing_.save(out);
}

void Aggregate::freeze() {
  Operator::freeze();
  table_.frozen().freeze();
  for (auto& column : columns_) column->freeze();
}

bool Aggregate::save_some(StateWriter& out, size_t bytes) {
  if (!Operator::save_some(out, bytes)) return false;
  const auto put = [this](std::span<void* const> pieces, StateWriter& to) {
    std::vector<Group*> groups;
    for (void* piece : pieces) groups.push_back(static_cast<Group*>(piece));
    save_groups(groups, to);
  };
  if (!table_.frozen().save_some(out, bytes, put)) return false;
  return std::ranges::all_of(columns_, [&](auto& column) { return column->save_some(out, bytes); });
}

void Aggregate::before_change(std::span<Group* const> groups) {
  std::vector<Group*> early;
  StateWriter* out = nullptr;
  const auto flush = [&] {
    if (!early.empty()) save_groups(early, *out);
    early.clear();
  };
  for (Group* group : groups) {
    StateWriter* to = table_.frozen().thaw(group);
    if (!to) continue;
    out = to;
    early.push_back(group);
    if (early.size() == STANDARD_VECTOR_SIZE) flush();
  }
  flush();
}

void Aggregate::save_groups(std::span<Group* const> groups, StateWriter& out) const {
  out.number(FrozenSlab::kPiece);
  out.number(static_cast<uint64_t>(groups.size()));
  for (Group* group : groups) {
    out.bytes(table_.key(*group));
    out.number(group->rows);
    out.number(!is_new(*group));
    out.number(static_cast<bool>(group->failed));
    out.bytes(table_.emitted(*group));
  }
  for (const auto& column : columns_) column->save(groups, out);
}

Result<> Aggregate::load(StateReader& in) {
  in.begin("groups", 4);
  late_.load(in);
  closing_.load(in);
  std::vector<Group*> groups;
  while (in.number<uint8_t>() == FrozenSlab::kPiece) {
    groups.clear();
    for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
      const std::string key(in.bytes());
      Group* group = find_group(key, hash_bytes(key));
      group->rows = in.number<int64_t>();
      const bool emitted = in.number<bool>();
      group->failed = in.number<bool>();
      const auto row = in.bytes();
      if (emitted) table_.set_emitted(*group, row);
      group->touched = false;
      groups.push_back(group);
    }
    touched_.clear();
    if (!in.ok()) return in.result();
    for (auto& column : columns_) column->load(groups, in);
  }
  for (auto& column : columns_)
    if (in.ok()) column->load_rest(in);
  if (closing_.column()) index_all_by_time();
  return in.result();
}

}  // namespace

std::unique_ptr<Operator> make_aggregate(duckdb::ClientContext& context, AggregateSpec spec) {
  return std::make_unique<Aggregate>(context, std::move(spec));
}

}  // namespace millrace::flow
