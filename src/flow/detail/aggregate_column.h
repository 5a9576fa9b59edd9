#pragma once

#include <duckdb.hpp>

#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "flow/detail/aggregate_call.h"
#include "flow/detail/aggregate_groups.h"
#include "flow/detail/arrangement.h"
#include "flow/detail/ranked_aggregate.h"
#include "flow/detail/ranked_rows.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/sketch_state.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

/// One aggregate of an aggregation over all its groups. Five ways to keep it:
///  - DuckDB's state in the group, when rows are only added;
///  - a state from which rows can be taken out again (count, exact sums);
///  - DuckDB's state and the argument rows beside it, from which the state is made anew when one of
///    them is taken out, or when DuckDB failed over some of them;
///  - the argument rows in an order, where some of them decide (min, median, mode): a change
///    costs the logarithm of the group;
///  - the argument rows alone, with ORDER BY within: DuckDB's combine empties the state that it
///    copies, so that such a state cannot be looked at and kept.
class AggregateColumn {
 public:
  struct Layout {
    size_t first_argument;         // in the argument chunk; the arguments stand side by side
    size_t arguments;              // how many
    std::optional<size_t> filter;  // a BOOLEAN column of the argument chunk
    bool distinct;
    bool ordered;
    bool append_only;
  };
  AggregateColumn(AggregateFunction function, Layout layout);
  ~AggregateColumn();
  AggregateColumn(const AggregateColumn&) = delete;

  const duckdb::LogicalType& result_type() const { return function_.result_type(); }
  /// Bytes that it needs in each group, a multiple of 16; set_offset says where.
  size_t state_bytes() const;
  void set_offset(size_t offset) { offset_ = offset; }
  /// What its groups stand in. Before all that follows.
  void set_table(GroupTable& table);

  void init(Group& group) const;
  /// Row i of `arguments` comes `weights[i]` times into `*groups[i]`.
  void update(duckdb::DataChunk& arguments, std::span<const int64_t> weights,
              std::span<Group* const> groups);
  /// No more updates in this epoch.
  void settle();
  /// After the last finalize() of an epoch: moves what live states have allocated to fresh memory,
  /// when most of it belongs to states that are gone.
  void compact();
  /// The groups' results, to rows [0, groups.size()) of `out`; NULL, and told, where DuckDB fails
  /// over a group. That follows from the group's rows, not from their order.
  void finalize(std::span<Group* const> groups, duckdb::Vector& out,
                std::vector<RowFailure>& failures);
  /// The group goes.
  void forget(Group& group);
  /// All of them go; what lies in the system's memory is given back.
  void destroy_states();
  /// Bytes beside the groups.
  size_t memory_bytes() const;
  /// Whether its states can be written down exactly; may become false when states begin to own
  /// memory.
  bool can_save() const { return saving() != Saving::kNot; }
  /// As Operator's, of what it keeps beside the groups.
  void freeze();
  bool save_some(StateWriter& out, size_t bytes);
  /// What it keeps in these groups, at most STANDARD_VECTOR_SIZE, for a state that is frozen.
  void save(std::span<Group* const> groups, StateWriter& out);
  /// Into groups that were just made.
  void load(std::span<Group* const> groups, StateReader& in);
  /// The rest, when all groups are there.
  void load_rest(StateReader& in);
  std::string describe() const;

 private:
  enum class Way { kStates, kInvertible, kStatesAndRows, kRanked, kRows };
  Way way_of(const Layout& layout);
  /// How a group's state is written down: its bytes; its result, from which it can be made again
  /// (kList: element by element); not at all, when the kept rows give the same; kNot: there is no
  /// way; as a SketchState. The numbers stand in snapshots.
  enum class Saving { kBytes, kResult, kList, kNothing, kNot, kSketch };
  Saving saving() const;
  Saving saving_of_state() const;
  bool is_flat() const;
  /// Whether DuckDB's states, of an input that only grows, can be written down; if not, whether the
  /// argument rows make them again.
  bool can_write_state() const;
  bool can_come_from_rows() const;
  void save_results(std::span<Group* const> groups, StateWriter& out);
  void load_results(std::span<Group* const> groups, StateReader& in);
  void load_list(duckdb::Vector& lists, std::span<Group* const> groups);

  void update_states(duckdb::DataChunk& arguments, std::span<const uint32_t> rows,
                     std::span<const int64_t> weights, std::span<Group* const> groups);
  void update_invertible(duckdb::DataChunk& arguments, std::span<const uint32_t> rows,
                         std::span<const int64_t> weights, std::span<Group* const> groups);
  /// Takes the rows into `kept_`; of a DISTINCT in append-only input, `rows` becomes what is new.
  void keep_rows(duckdb::DataChunk& arguments, std::vector<uint32_t>& rows,
                 std::span<const int64_t> weights, std::span<Group* const> groups);
  void finalize_states(std::span<Group* const> groups, duckdb::Vector& out);
  void finalize_kept(std::span<Group* const> groups, duckdb::Vector& out);
  /// Rows on their way to states; flush() in the end.
  class Feed {
   public:
    Feed(AggregateColumn& column, duckdb::ArenaAllocator& arena) : column_(column), arena_(arena) {}
    void add(Arrangement::Row& row, char* state);
    void flush();

   private:
    AggregateColumn& column_;
    duckdb::ArenaAllocator& arena_;
    std::vector<const char*> rows_;
    duckdb::Vector states_{duckdb::LogicalType::POINTER};
  };
  void leave_out_nulls(duckdb::DataChunk& arguments, std::vector<uint32_t>& rows);
  template <typename F>
  void each_with_key(std::span<Arrangement::Row* const> rows, F&& each);
  void settle_ranked();
  void rank(Arrangement::Row& row, std::string_view key, int64_t now);
  void keep_first(Group& group);
  void rank_kept();
  void feed_ranked(std::span<Group* const> groups, std::span<char* const> states);
  void finalize_quantiles(std::span<Group* const> groups, duckdb::Vector& out);
  RankedRows::Root& root_of(Group& group) const {
    return *reinterpret_cast<RankedRows::Root*>(state(group));
  }
  Group& group_of(const Arrangement::Row& row) const {
    Group* group;
    std::memcpy(&group, kept_->key_of(row).bytes(), sizeof(group));
    return *group;
  }
  /// Adds the kept rows of `groups[i]` to `*states[i]`.
  void feed_kept(std::span<Group* const> groups, std::span<char* const> states,
                 duckdb::ArenaAllocator& arena);
  /// What came to or left a DISTINCT in this epoch, now that all is known.
  void settle_distinct();
  void spoil(Group& group);
  void rebuild_spoilt();
  /// Adds the kept rows to states that were just made; where that fails, group by group.
  void rebuild(std::span<Group* const> groups);
  void finalize_groups(std::span<Group* const> groups, duckdb::Vector& out);
  void apply(duckdb::DataChunk& arguments, std::span<const uint32_t> rows,
             std::span<const int64_t> weights, std::span<Group* const> groups);
  bool has_states() const { return way_ == Way::kStates || way_ == Way::kStatesAndRows; }
  char* state(Group& group) const { return group.states + offset_; }
  bool& spoilt(Group& group) const;
  void destroy_state(Group& group, duckdb::ArenaAllocator& arena) const;
  InvertibleAggregate::State* invertible_state(Group& group) const;
  void argument_columns(duckdb::DataChunk& arguments, duckdb::DataChunk& out) const;
  static std::string_view key_of(Group* const& group) {
    return {reinterpret_cast<const char*>(&group), sizeof(group)};
  }

  AggregateFunction function_;
  Layout layout_;
  GroupTable* table_ = nullptr;
  Saving frozen_saving_ = Saving::kNot;  // of what is frozen, or was loaded
  std::optional<SketchState> sketch_;
  std::optional<InvertibleAggregate> invertible_;
  std::optional<RankedAggregate> ranked_;
  RankedRows ranks_;
  Way way_;
  size_t offset_ = 0;
  std::unique_ptr<duckdb::ArenaAllocator> arena_;  // what DuckDB's states allocate
  duckdb::ArenaAllocator scratch_;                 // the same, for one epoch
  size_t arena_bytes_kept_ = 0;                    // after the last compaction
  std::vector<char> scratch_states_;               // of FreshStates

  // Argument rows by group (its address is the key): all of them, or for a DISTINCT to know them.
  std::unique_ptr<RowCodec> codec_;
  std::unique_ptr<Arrangement> kept_;
  EncodedRows encoded_;
  std::vector<Arrangement::Row*> touched_;
  std::vector<Group*> spoilt_;  // a row was taken out of the state, or the state is not known
  // Whose states DuckDB cannot make of their rows, and why: empty ones stand in their place.
  boost::unordered_flat_map<Group*, std::string> failing_;
};

}  // namespace millrace::flow
