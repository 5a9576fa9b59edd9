#include "flow/detail/session.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <limits>
#include <set>

#include "base/check.h"
#include "flow/detail/arrangement.h"
#include "flow/detail/closing.h"
#include "flow/detail/frontier_map.h"
#include "flow/detail/frozen_slab.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

std::vector<duckdb::LogicalType> plain(const duckdb::vector<duckdb::LogicalType>& types) {
  return {types.begin(), types.end()};
}

Expressions one(duckdb::unique_ptr<duckdb::Expression> expression) {
  Expressions out;
  out.push_back(std::move(expression));
  return out;
}

/// SESSION. Each key has its open sessions in the order of time, each with its rows in the order of
/// time and bytes. At the end of an epoch the sessions that changes reach are taken apart, and put
/// together again with the changes; of rows whose session has other bounds now the old is taken out
/// and the new put out. So a row costs what its session holds.
///
/// A session is closed when the frontier of the time has passed its end: no row can join it, and
/// its rows go. Rows that come too late, of which no open session can be made, are left out.
class SessionWindows : public Operator {
 public:
  SessionWindows(duckdb::ClientContext& context, SessionSpec spec)
      : gap_us_(spec.gap_us),
        bounds_(std::move(spec.bounds)),
        keys_(context, std::move(spec.keys)),
        time_(context, one(std::move(spec.time))),
        frontiers_(context, time_),
        key_codec_(plain(keys_.types()), RowCodec::Use::kKey),
        row_codec_(plain(spec.types), RowCodec::Use::kRow),
        input_types_(spec.types),
        output_types_(spec.types),
        late_(column_names({&keys_, &time_})) {
    for (size_t i = 0; i < bounds_.size(); ++i) output_types_.push_back(time_.types()[0]);
  }

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) take(chunk, out);
    for (auto& [key, changes] : changes_) MR_TRY(settle(*key, changes, out));
    flush(out);
    leave_out_late();
    clean();
    for (const auto& frontier : frontiers_.map(inputs[0]->frontiers))
      closed_below_us_ = std::max(closed_below_us_, frontier.time_us);
    close();
    if (closed_below_us_ == Closing::kNever) return {};
    for (size_t i = 0; i < bounds_.size(); ++i)
      if (bounds_[i] == SessionSpec::Bound::kEnd)
        out.frontiers.push_back({input_types_.size() + i, closed_below_us_});
    return {};
  }

  size_t state_rows() const override { return rows_; }
  size_t state_bytes() const override {
    return slab_.memory_bytes() + rows_ * sizeof(Row*) + by_end_.size() * kSessionBytes +
           by_key_.size() * kKeyBytes;
  }
  uint64_t late_rows() const override { return late_.count(); }
  void take_late(std::vector<LateRows>& out) override { late_.take(out); }
  bool waits_for_frontier() const override {
    return closed_below_us_ != Closing::kNever && !by_end_.empty();
  }

  bool can_save() const override { return true; }
  void freeze() override {
    Operator::freeze();
    frozen_.freeze();
  }
  void save(StateWriter& out) const override {
    out.begin("sessions", 1);
    late_.save(out);
    out.number(closed_below_us_);
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    return Operator::save_some(out, bytes) &&
           frozen_.save_some(out, bytes, [](std::span<void* const> rows, StateWriter& to) {
             for (const void* row : rows) save(*static_cast<const Row*>(row), to);
           });
  }
  Result<> load(StateReader& in) override;

  std::string describe() const override {
    auto text = "sessions of " + time_.describe() + " with a gap of " +
                duckdb::Value::INTERVAL(0, 0, gap_us_).ToString();
    return keys_.size() == 0 ? text : text + " over each " + keys_.describe();
  }

 private:
  // Beside the rows: a session's node in `by_end_`; a key's place in the table, and what it holds.
  static constexpr size_t kSessionBytes = 64 + 48;
  static constexpr size_t kKeyBytes = 128;

  struct Key;
  /// Its bytes stand behind it.
  struct Row {
    Key* key;
    int64_t time_us;
    int64_t weight;
    uint64_t size;

    const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }
    std::string_view view() const { return {bytes(), size}; }
    auto place() const { return std::pair(time_us, view()); }
  };
  struct Session {
    int64_t first_us, last_us;
    std::vector<Row*> rows;  // by place(), each once
  };
  struct Key {
    std::string bytes;
    std::vector<Session> sessions;  // by time
    std::optional<size_t> changes;  // where they stand in changes_
  };
  /// A row of sessions that are put together again: as it is now, and as it stands in the output.
  struct Moving {
    Row* row;
    int64_t weight;
    int64_t weight_before = 0;
    int64_t first_before_us = 0, last_before_us = 0;
  };
  struct HashBytes {
    using is_avalanching = void;
    size_t operator()(std::string_view bytes) const { return hash_bytes(bytes); }
  };
  /// A row of the output that is under way.
  struct Put {
    const char* bytes;
    int64_t weight;
    std::optional<std::pair<int64_t, int64_t>> session;
  };

  /// As DuckDB adds to the infinities; what would be greater than any time is infinity.
  int64_t end_of(int64_t last_us) const {
    constexpr int64_t kInfinity = std::numeric_limits<int64_t>::max();
    if (last_us == -kInfinity) return last_us;
    return last_us > kInfinity - gap_us_ ? kInfinity : last_us + gap_us_;
  }

  void take(const std::shared_ptr<const Delta>& chunk, DeltaStream& out) {
    duckdb::DataChunk keys, times;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk key_values, time_values;
      keys_.evaluate(rows, key_values);
      time_.evaluate(rows, time_values);
      keys.Move(key_values), times.Move(time_values);
    });
    const Delta& delta = *good;
    if (delta.weights.empty()) return;
    key_codec_.encode(keys, encoded_keys_);
    row_codec_.encode(delta.rows, encoded_);
    const TimeColumn time(times.data[0], delta.weights.size());
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      if (const auto at = time[i])
        change(encoded_keys_[i], *at, encoded_[i], delta.weights[i]);
      else  // in no session
        put({encoded_[i].data(), delta.weights[i], std::nullopt}, out);
    }
    flush(out);  // before other bytes take the place of these
  }

  Row* make_row(Key& key, int64_t time_us, std::string_view bytes, int64_t weight) {
    void* memory = slab_.allocate(sizeof(Row) + bytes.size());
    auto* row =
        std::construct_at(static_cast<Row*>(memory), Row{&key, time_us, weight, bytes.size()});
    std::memcpy(row + 1, bytes.data(), bytes.size());
    return row;
  }
  void release(Row* row) {
    before_change(*row);
    slab_.release(row, sizeof(Row) + row->size);
  }
  void before_change(Row& row) {
    if (auto* out = frozen_.thaw(&row)) save(row, *out);
  }
  static void save(const Row& row, StateWriter& out) {
    out.number(FrozenSlab::kPiece);
    out.bytes(row.key->bytes);
    out.number(row.time_us);
    out.number(row.weight);
    out.bytes(row.view());
  }

  Key& key_of(std::string_view bytes) {
    if (const auto found = by_key_.find(bytes); found != by_key_.end()) return *found->second;
    auto key = std::make_unique<Key>(Key{std::string(bytes), {}, {}});
    return *by_key_.emplace(key->bytes, std::move(key)).first->second;
  }

  void change(std::string_view key_bytes, int64_t time_us, std::string_view row, int64_t weight) {
    auto& key = key_of(key_bytes);
    if (!key.changes) {
      key.changes = changes_.size();
      changes_.emplace_back(&key, std::vector<Row*>());
    }
    auto& changes = changes_[*key.changes].second;
    // Equal rows mostly come one after the other: a key's busy moment.
    if (Row* last = changes.empty() ? nullptr : changes.back();
        last && last->time_us == time_us && last->view() == row)
      last->weight += weight;
    else
      changes.push_back(make_row(key, time_us, row, weight));
  }

  Result<> settle(Key& key, std::vector<Row*>& changes, DeltaStream& out) {
    sort(changes);
    auto moving = take_apart(key, changes);
    MR_TRY(add_up(moving, out));
    for (size_t from = 0; from < moving.size();) {
      size_t to = from + 1;
      while (to < moving.size() && joins(*moving[to - 1].row, *moving[to].row)) ++to;
      put_together(key, std::span(moving).subspan(from, to - from), out);
      from = to;
    }
    std::ranges::sort(key.sessions, {}, &Session::first_us);
    return {};
  }
  static bool stands_before(const Row& a, const Row& b) {
    return a.time_us != b.time_us ? a.time_us < b.time_us : a.view() < b.view();
  }
  /// They come in order from each partition: mostly a few runs, which are merged.
  static void sort(std::vector<Row*>& rows) {
    constexpr size_t kRunsMax = 8;
    const auto before = [](const Row* a, const Row* b) { return stands_before(*a, *b); };
    auto sorted = std::is_sorted_until(rows.begin(), rows.end(), before);
    for (size_t runs = 1; sorted != rows.end(); ++runs) {
      if (runs == kRunsMax) return std::sort(rows.begin(), rows.end(), before);
      const auto next = std::is_sorted_until(sorted, rows.end(), before);
      std::vector<Row*> merged;
      merged.reserve(rows.size());
      std::merge(rows.begin(), sorted, sorted, next, std::back_inserter(merged), before);
      std::ranges::copy(merged, rows.begin());
      sorted = next;
    }
  }
  bool joins(const Row& before, const Row& row) const {
    return row.time_us <= end_of(before.time_us);
  }

  /// The rows of the key's sessions that a change reaches, and the changes, by place(); of equals
  /// the one that stands in the output first.
  std::vector<Moving> take_apart(Key& key, const std::vector<Row*>& changes) {
    std::vector<Moving> stood, came, moving;
    std::erase_if(key.sessions, [&](Session& session) {
      // The first change that is not too early for it: it lies a gap before the session at most.
      const auto reaching = std::ranges::partition_point(
          changes, [&](const Row* c) { return end_of(c->time_us) < session.first_us; });
      if (reaching == changes.end() || (*reaching)->time_us > end_of(session.last_us)) return false;
      for (auto* row : session.rows)
        stood.push_back({row, row->weight, row->weight, session.first_us, session.last_us});
      by_end_.erase({end_of(session.last_us), &key});
      rows_ -= session.rows.size();
      return true;
    });
    came.reserve(changes.size());
    for (auto* change : changes) came.push_back({change, change->weight});
    moving.reserve(stood.size() + came.size());
    std::ranges::merge(stood, came, std::back_inserter(moving),
                       [](const auto& a, const auto& b) { return stands_before(*a.row, *b.row); });
    return moving;
  }

  /// One for each row: equals are added up, and those that come to nothing go.
  Result<> add_up(std::vector<Moving>& moving, DeltaStream& out) {
    size_t kept = 0;
    for (size_t i = 0; i < moving.size();) {
      Moving sum = moving[i];
      for (++i; i < moving.size() && moving[i].row->place() == sum.row->place(); ++i) {
        sum.weight += moving[i].weight;
        gone_.push_back(moving[i].row);
      }
      if (sum.weight > 0) {
        moving[kept++] = sum;
        continue;
      }
      gone_.push_back(sum.row);
      if (sum.weight_before > 0) put({sum.row->bytes(), -sum.weight_before, before(sum)}, out);
      if (sum.weight == 0) continue;
      if (sum.row->time_us >= closed_below_us_)
        return Error{ErrorCode::kInternal, "more copies of a row are retracted than there were"};
      late_now_.push_back({sum.row->bytes(), sum.weight});
    }
    moving.resize(kept);
    return {};
  }

  /// Makes one session of these rows, and puts out what changes of them.
  void put_together(Key& key, std::span<const Moving> moving, DeltaStream& out) {
    const int64_t first = moving.front().row->time_us, last = moving.back().row->time_us;
    const bool fresh = std::ranges::all_of(moving, [](auto& m) { return m.weight_before == 0; });
    if (fresh && end_of(last) < closed_below_us_) {
      for (const auto& m : moving) {
        late_now_.push_back({m.row->bytes(), m.weight});
        gone_.push_back(m.row);
      }
      return;
    }
    const std::pair now(first, end_of(last));
    Session session{first, last, {}};
    for (const auto& m : moving) {
      session.rows.push_back(m.row);
      if (m.row->weight != m.weight) {
        before_change(*m.row);
        m.row->weight = m.weight;
      }
      const char* bytes = m.row->bytes();
      if (m.weight_before > 0 && shows_same(before(m), now)) {
        if (m.weight != m.weight_before) put({bytes, m.weight - m.weight_before, now}, out);
        continue;
      }
      if (m.weight_before > 0) put({bytes, -m.weight_before, before(m)}, out);
      put({bytes, m.weight, now}, out);
    }
    add(key, std::move(session));
  }

  std::pair<int64_t, int64_t> before(const Moving& m) const {
    return {m.first_before_us, end_of(m.last_before_us)};
  }
  static int64_t bound_of(const std::pair<int64_t, int64_t>& session, SessionSpec::Bound bound) {
    return bound == SessionSpec::Bound::kStart ? session.first : session.second;
  }
  bool shows_same(const std::pair<int64_t, int64_t>& a,
                  const std::pair<int64_t, int64_t>& b) const {
    return std::ranges::all_of(
        bounds_, [&](auto bound) { return bound_of(a, bound) == bound_of(b, bound); });
  }

  void add(Key& key, Session session) {
    by_end_.emplace(end_of(session.last_us), &key);
    rows_ += session.rows.size();
    key.sessions.push_back(std::move(session));
  }

  void put(const Put& row, DeltaStream& out) {
    put_.push_back(row);
    if (put_.size() == STANDARD_VECTOR_SIZE) flush(out);
  }

  void flush(DeltaStream& out) {
    if (put_.empty()) return;
    auto delta = std::make_shared<Delta>();
    make_chunk(delta->rows, output_types_, put_.size());
    std::vector<const char*> bytes;
    for (const auto& row : put_) {
      bytes.push_back(row.bytes);
      delta->weights.push_back(row.weight);
    }
    row_codec_.decode(bytes, delta->rows);
    for (size_t b = 0; b < bounds_.size(); ++b) {
      auto& column = delta->rows.data[row_codec_.types().size() + b];
      for (size_t i = 0; i < put_.size(); ++i) {
        if (put_[i].session)
          duckdb::FlatVector::GetData<int64_t>(column)[i] = bound_of(*put_[i].session, bounds_[b]);
        else
          duckdb::FlatVector::SetNull(column, i, true);
      }
    }
    delta->rows.SetCardinality(put_.size());
    out.chunks.push_back(std::move(delta));
    put_.clear();
  }

  void leave_out_late() {
    for (size_t from = 0; from < late_now_.size(); from += STANDARD_VECTOR_SIZE) {
      const size_t count = std::min<size_t>(STANDARD_VECTOR_SIZE, late_now_.size() - from);
      Delta delta;
      std::vector<const char*> bytes;
      duckdb::SelectionVector all(count);
      for (size_t i = 0; i < count; ++i) {
        bytes.push_back(late_now_[from + i].bytes);
        delta.weights.push_back(late_now_[from + i].weight);
        all.set_index(i, i);
      }
      make_chunk(delta.rows, input_types_, count);
      row_codec_.decode(bytes, delta.rows);
      delta.rows.SetCardinality(count);
      late_.add(delta, all, count);
    }
    late_now_.clear();
  }

  /// Forgets the epoch's changes, and what is no longer needed of them.
  void clean() {
    for (auto* row : gone_) release(row);
    gone_.clear();
    for (auto& [key, changes] : changes_) {
      key->changes.reset();
      forget_if_empty(*key);
    }
    changes_.clear();
  }
  void forget_if_empty(Key& key) {
    if (!key.sessions.empty()) return;
    const auto at = by_key_.find(key.bytes);
    const auto last_breath = std::move(at->second);  // the table's key lies in it
    by_key_.erase(at);
  }

  void close() {
    while (!by_end_.empty() && by_end_.begin()->first < closed_below_us_) {
      const auto [end, key] = *by_end_.begin();
      by_end_.erase(by_end_.begin());
      const auto at = std::ranges::find(key->sessions, end,
                                        [this](const Session& s) { return end_of(s.last_us); });
      for (auto* row : at->rows) release(row);
      rows_ -= at->rows.size();
      key->sessions.erase(at);
      forget_if_empty(*key);
    }
  }

  const int64_t gap_us_;
  const std::vector<SessionSpec::Bound> bounds_;
  Evaluator keys_, time_;
  FrontierMap frontiers_;
  RowCodec key_codec_, row_codec_;
  duckdb::vector<duckdb::LogicalType> input_types_, output_types_;
  LateCollector late_;

  Slab slab_;  // rows
  FrozenSlab frozen_{slab_};
  boost::unordered_flat_map<std::string_view, std::unique_ptr<Key>, HashBytes> by_key_;
  std::set<std::pair<int64_t, Key*>> by_end_;  // each session, by the end
  size_t rows_ = 0;
  int64_t closed_below_us_ = Closing::kNever;

  EncodedRows encoded_keys_, encoded_;
  // In this epoch, by key in the order in which they came; what is put out, late, and let go of.
  std::vector<std::pair<Key*, std::vector<Row*>>> changes_;
  std::vector<Put> put_;
  struct Late {
    const char* bytes;
    int64_t weight;
  };
  std::vector<Late> late_now_;
  std::vector<Row*> gone_;
};

Result<> SessionWindows::load(StateReader& in) {
  in.begin("sessions", 1);
  late_.load(in);
  closed_below_us_ = in.number<int64_t>();
  std::vector<Row*> rows;
  while (in.number<uint8_t>() == FrozenSlab::kPiece) {
    auto& key = key_of(in.bytes());
    const auto time_us = in.number<int64_t>();
    const auto weight = in.number<int64_t>();
    rows.push_back(make_row(key, time_us, in.bytes(), weight));
  }
  std::ranges::sort(rows, {}, [](const Row* row) { return std::pair(row->key, row->place()); });
  for (size_t from = 0; from < rows.size();) {
    size_t to = from + 1;
    while (to < rows.size() && rows[to]->key == rows[from]->key && joins(*rows[to - 1], *rows[to]))
      ++to;
    add(*rows[from]->key,
        {rows[from]->time_us,
         rows[to - 1]->time_us,
         {rows.begin() + static_cast<ptrdiff_t>(from), rows.begin() + static_cast<ptrdiff_t>(to)}});
    from = to;
  }
  return in.result();
}

}  // namespace

std::unique_ptr<Operator> make_session(duckdb::ClientContext& context, SessionSpec spec) {
  return std::make_unique<SessionWindows>(context, std::move(spec));
}

}  // namespace millrace::flow
