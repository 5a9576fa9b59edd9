#pragma once

#include <duckdb.hpp>

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flow/detail/arrangement.h"
#include "flow/detail/closing.h"
#include "flow/detail/state_stream.h"
#include "flow/detail/time_bound.h"

namespace millrace::flow {

/// How far a join has come whose sides' times are bound to each other and have frontiers. By
/// `left - right >= low`, a left row before right's frontier + low joins no later right row; by
/// `left - right <= high`, a right row before left's frontier - high no later left row: their state
/// is dropped. The two may compare other columns.
class JoinTimes {
 public:
  static constexpr int64_t kNever = Closing::kNever;

  JoinTimes(const TimeBounds& bounds, bool left_append_only, bool right_append_only)
      : rules_{bounds.low, bounds.high},
        interval_(bounds.interval && bounds.low && bounds.high),
        append_only_{left_append_only, right_append_only} {}

  bool is_interval() const { return interval_; }
  /// Whether rows of the side are dropped at all.
  bool closes(bool is_left) const { return rule(is_left).has_value(); }
  /// The column by which rows of the side are dropped.
  std::optional<size_t> column(bool is_left) const { return column_of(is_left, rule(is_left)); }
  /// The column by which they are late.
  std::optional<size_t> late_column(bool is_left) const {
    return column_of(is_left, rule(!is_left));
  }
  /// Whether rows without a time are joined.
  bool joins_nulls(bool is_left) const { return rule(is_left)->null_equals_null; }

  void advance(const std::vector<Frontier>& left, const std::vector<Frontier>& right) {
    for (const bool is_left : {true, false}) {
      if (!rule(is_left)) continue;
      auto& [mine, other] = reached_[index(is_left)];
      advance(is_left ? left : right, *column(is_left), mine);
      advance(is_left ? right : left, *late_column(!is_left), other);
    }
  }
  /// Rows of the side before this time are dropped: no later row joins them, and none of them is
  /// taken back.
  int64_t closed_us(bool is_left) const {
    const int64_t reach = reach_us(is_left);
    return append_only_[index(is_left)] ? reach : std::min(reach, reached_[index(is_left)].mine);
  }
  /// A row of the side before this time, in late_column(), may have missed rows that were dropped.
  int64_t late_us(bool is_left) const {
    const int64_t other = closed_us(!is_left);
    if (other == kNever) return kNever;
    return is_left ? add_time(other, rule(false)->apart) : add_time(other, -rule(true)->apart);
  }
  /// A row of the side before this time, in column(), is late too: it may take back a dropped one.
  int64_t gone_us(bool is_left) const {
    return append_only_[index(is_left)] ? kNever : closed_us(is_left);
  }
  /// What bounds column() in every later row of the output: that of a row that comes, or of one
  /// that is kept. Nothing where it is not bound.
  std::optional<int64_t> bound_us(bool is_left) const {
    const int64_t bound = std::min(reached_[index(is_left)].mine, reach_us(is_left));
    return bound == kNever ? std::nullopt : std::optional(bound);
  }

  void save(StateWriter& out) const {
    for (const auto& [mine, other] : reached_) {
      out.number(mine);
      out.number(other);
    }
  }
  void load(StateReader& in) {
    for (auto& [mine, other] : reached_) {
      mine = in.number<int64_t>();
      other = in.number<int64_t>();
    }
  }

 private:
  /// The frontiers of the columns that a side's rule compares.
  struct Reached {
    int64_t mine = kNever, other = kNever;
  };

  static size_t index(bool is_left) { return is_left ? 0 : 1; }
  const std::optional<TimeBound>& rule(bool is_left) const { return rules_[index(is_left)]; }
  static std::optional<size_t> column_of(bool is_left, const std::optional<TimeBound>& rule) {
    if (!rule) return std::nullopt;
    return is_left ? rule->left : rule->right;
  }
  static void advance(const std::vector<Frontier>& frontiers, size_t column, int64_t& frontier) {
    for (const auto& one : frontiers)
      if (one.column == column) frontier = std::max(frontier, one.time_us);
  }

  /// Rows of the side before this time join no later row of the other side.
  int64_t reach_us(bool is_left) const {
    const int64_t other = reached_[index(is_left)].other;
    if (!closes(is_left) || other == kNever) return kNever;
    return is_left ? add_time(other, rule(true)->apart) : add_time(other, -rule(false)->apart);
  }

  const std::optional<TimeBound> rules_[2];  // by which left, by which right is dropped
  const bool interval_;
  const bool append_only_[2];
  Reached reached_[2];  // by left's rule, by right's
};

/// The rows that one side of a join keeps, by time. A row's bytes end with its time. Those without
/// one stay.
class RowsByTime {
 public:
  static constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();
  /// `append_only`: remove() is never called.
  explicit RowsByTime(bool append_only) : append_only_(append_only) {}

  /// `row` as it is kept. Good until the next call.
  std::string_view with_time(std::string_view row, int64_t time_us) {
    scratch_.assign(row);
    scratch_.append(reinterpret_cast<const char*>(&time_us), sizeof(time_us));
    return scratch_;
  }

  void add(Arrangement::Row& row) {
    const int64_t time_us = time_of(row);
    if (time_us == kNoTime) return;
    const int64_t number = slot_of(time_us);
    if (!last_ || number != last_number_) last_ = &slots_[last_number_ = number];
    if (append_only_)
      last_->list.push_back(&row);
    else
      last_->set.insert(&row);
    ++count_;
  }
  void remove(Arrangement::Row& row) {
    const int64_t time_us = time_of(row);
    if (time_us == kNoTime) return;
    const auto at = slots_.find(slot_of(time_us));
    count_ -= at->second.set.erase(&row);
    if (!at->second.set.empty()) return;
    slots_.erase(at);
    last_ = nullptr;
  }
  /// Calls `drop` with all rows before `time_us`, but for less than a second of them, in spans, and
  /// forgets them.
  template <typename F>
  void take_below(int64_t time_us, F&& drop) {
    const auto end = slots_.lower_bound(slot_of(time_us));
    if (end == slots_.begin()) return;
    for (auto at = slots_.begin(); at != end; ++at) {
      auto& [list, set] = at->second;
      list.insert(list.end(), set.begin(), set.end());
      count_ -= list.size();
      drop(std::span<Arrangement::Row* const>(list));
    }
    slots_.erase(slots_.begin(), end);
    last_ = nullptr;
  }
  bool empty() const { return slots_.empty(); }
  size_t memory_bytes() const { return count_ * 2 * sizeof(void*); }

 private:
  // Rows of one second stand together: a tree of all of them would cost more than the rows.
  static constexpr int64_t kSlotUs = 1'000'000;
  struct Slot {
    // Of an append-only side: in the order in which they came, which is that of memory.
    std::vector<Arrangement::Row*> list;
    boost::unordered_flat_set<Arrangement::Row*> set;  // of others, since each may go by itself
  };

  static int64_t slot_of(int64_t time_us) {
    return time_us / kSlotUs - (time_us % kSlotUs < 0 ? 1 : 0);
  }
  static int64_t time_of(Arrangement::Row& row) {
    int64_t time_us = 0;
    std::memcpy(&time_us, row.bytes() + row.size - sizeof(time_us), sizeof(time_us));
    return time_us;
  }

  const bool append_only_;
  std::map<int64_t, Slot> slots_;
  Slot* last_ = nullptr;  // where the last row went: the next mostly does too
  int64_t last_number_ = 0;
  size_t count_ = 0;
  std::string scratch_;
};

}  // namespace millrace::flow
