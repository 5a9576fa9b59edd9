#include <duckdb.hpp>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>

#include "flow/detail/arrangement.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/join_side.h"
#include "flow/detail/join_times.h"
#include "flow/detail/operators.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

/// A join of any kind. Both sides are kept by key. A change of one side meets the other as it is:
/// the left side's changes the right side before this epoch, the right side's changes the left side
/// after it (dA x B + A' x dB). Rows of an outer side count their matches: they stand in the output
/// alone, filled up with NULLs, while there are none. Where the times of both sides are bound to
/// each other, what no later row can join is dropped, and a row that may have missed such is late.
class Join : public Operator {
 public:
  Join(duckdb::ClientContext& context, JoinSpec spec)
      : kind_(spec.kind),
        key_columns_(columns_of_keys(spec)),
        times_(times_of(spec)),
        left_(context, spec.left_types, std::move(spec.left_keys), spec.left_append_only,
              kind_ != JoinKind::kInner && kind_ != JoinKind::kRight),
        right_(context, spec.right_types, std::move(spec.right_keys), spec.right_append_only,
               kind_ == JoinKind::kRight || kind_ == JoinKind::kFull),
        null_equals_null_(std::move(spec.null_equals_null)),
        mark_codec_({duckdb::LogicalType::BOOLEAN}, RowCodec::Use::kRow),
        alone_(parts()) {
    for (auto& condition : spec.residual) {
      Expressions one;
      one.push_back(std::move(condition));
      residual_.push_back(std::make_unique<Evaluator>(context, std::move(one)));
    }
    types_ = left_.types;
    types_.insert(types_.end(), right_.types.begin(), right_.types.end());
    emits_pairs_ = kind_ != JoinKind::kSemi && kind_ != JoinKind::kAnti && kind_ != JoinKind::kMark;
    duckdb::DataChunk marks;
    make_chunk(marks, {duckdb::LogicalType::BOOLEAN}, 3);
    marks.SetValue(0, kFalse, duckdb::Value::BOOLEAN(false));
    marks.SetValue(0, kTrue, duckdb::Value::BOOLEAN(true));
    marks.SetValue(0, kUnknown, duckdb::Value(duckdb::LogicalType::BOOLEAN));
    marks.SetCardinality(3);
    mark_codec_.encode(marks, marks_);
  }

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) MR_TRY(take(chunk, true, out));
    for (const auto& chunk : inputs[1]->chunks) MR_TRY(take(chunk, false, out));
    if (kind_ == JoinKind::kMark) touch_when_marks_turn();
    for (auto* row : left_.touched) settle_left(*row, out);
    if (right_.tracked)
      for (auto* row : right_.touched) settle_alone({nullptr, row->bytes()}, *row, out);
    alone_.flush(out);
    clean(left_);
    clean(right_);
    if (times_) close(*inputs[0], *inputs[1]);
    carry_frontiers(inputs, out);
    return {};
  }

  size_t state_rows() const override { return left_.rows.rows() + right_.rows.rows(); }
  size_t state_bytes() const override {
    return left_.rows.memory_bytes() + right_.rows.memory_bytes() + left_.by_time.memory_bytes() +
           right_.by_time.memory_bytes();
  }
  uint64_t late_rows() const override { return left_.late.count() + right_.late.count(); }
  void take_late(std::vector<LateRows>& out) override {
    left_.late.take(out);
    right_.late.take(out);
  }
  bool waits_for_frontier() const override {
    // A side that nothing has ever closed waits for a watermark that there may not be.
    const auto waits = [this](bool is_left, const Side& side) {
      return times_->closed_us(is_left) != JoinTimes::kNever && !side.by_time.empty();
    };
    return times_ && (waits(true, left_) || waits(false, right_));
  }

  bool can_save() const override { return true; }
  void save(StateWriter& out) const override {
    out.begin("join", 3);
    out.number(right_rows_);
    out.number(right_nulls_);
    out.number(marks_state_.first);
    out.number(marks_state_.second);
    if (!times_) return;
    times_->save(out);
    left_.late.save(out);
    right_.late.save(out);
  }
  void freeze() override {
    Operator::freeze();
    left_.rows.freeze();
    right_.rows.freeze();
  }
  bool save_some(StateWriter& out, size_t bytes) override {
    return Operator::save_some(out, bytes) && left_.rows.save_some(out, bytes) &&
           right_.rows.save_some(out, bytes);
  }
  Result<> load(StateReader& in) override {
    in.begin("join", 3);
    right_rows_ = in.number<int64_t>();
    right_nulls_ = in.number<int64_t>();
    marks_state_.first = in.number<bool>();
    marks_state_.second = in.number<bool>();
    if (times_) {
      times_->load(in);
      left_.late.load(in);
      right_.late.load(in);
    }
    left_.rows.load(in);
    right_.rows.load(in);
    if (kind_ == JoinKind::kSingle && in.ok())
      left_.rows.each_row([&](Arrangement::Row& row) {
        if (has_several(row)) several_[&row] = pairs_of(row);
      });
    if (!times_) return in.result();
    for (Side* side : {&left_, &right_})
      side->rows.each_row([&](Arrangement::Row& row) { side->by_time.add(row); });
    return in.result();
  }

  std::string describe() const override {
    static constexpr std::array kNames{"join",      "left join", "right join", "full join",
                                       "semi join", "anti join", "mark join",  "single join"};
    std::string text = times_ && times_->is_interval() ? "interval " : "";
    text += kNames[static_cast<size_t>(kind_)];
    if (left_.keys.size() > 0)
      text += " on (" + left_.keys.describe() + ") = (" + right_.keys.describe() + ")";
    for (const auto& condition : residual_) text += " if " + condition->describe();
    return text;
  }

 private:
  static constexpr uint8_t kFalse = 0, kTrue = 1, kUnknown = 2;
  // What one epoch may put out, lest a join without a condition take all memory: 8 M rows.
  static constexpr size_t kChunksMax = 4096;

  std::vector<const RowCodec*> parts() const {
    if (kind_ == JoinKind::kSemi || kind_ == JoinKind::kAnti) return {&left_.row_codec};
    if (kind_ == JoinKind::kMark) return {&left_.row_codec, &mark_codec_};
    return {&left_.row_codec, &right_.row_codec};
  }

  /// Pairs of columns that are keys as they are, for frontiers.
  static std::vector<std::pair<size_t, size_t>> columns_of_keys(const JoinSpec& spec) {
    std::vector<std::pair<size_t, size_t>> out;
    const auto column = [](const duckdb::Expression& e) -> std::optional<size_t> {
      if (e.GetExpressionClass() != duckdb::ExpressionClass::BOUND_REF) return std::nullopt;
      return e.Cast<duckdb::BoundReferenceExpression>().index;
    };
    for (size_t i = 0; i < spec.left_keys.size(); ++i) {
      const auto left = column(*spec.left_keys[i]), right = column(*spec.right_keys[i]);
      if (left && right) out.emplace_back(*left, *right);
    }
    return out;
  }

  static std::optional<JoinTimes> times_of(const JoinSpec& spec) {
    // A mark turns with any right row, and what a single join counts it counts for ever.
    if (spec.kind == JoinKind::kMark || spec.kind == JoinKind::kSingle) return std::nullopt;
    const auto bounds = time_bounds_of(spec);
    if (!bounds) return std::nullopt;
    return std::optional<JoinTimes>(std::in_place, *bounds, spec.left_append_only,
                                    spec.right_append_only);
  }

  /// Whether the key has a NULL that equals nothing.
  bool is_null(std::string_view key) const {
    for (size_t i = 0; i < null_equals_null_.size(); ++i)
      if (!null_equals_null_[i] && (key[i / 8] >> (i % 8) & 1)) return true;
    return false;
  }

  Result<> take(const std::shared_ptr<const Delta>& chunk, bool is_left, DeltaStream& out) {
    Side& mine = is_left ? left_ : right_;
    Side& other = is_left ? right_ : left_;
    duckdb::DataChunk keys;
    const auto good = evaluate_good(chunk, is_left ? 0 : 1, out, [&](const auto& rows) {
      duckdb::DataChunk values;
      mine.keys.evaluate(rows, values);
      keys.Move(values);
    });
    if (good->weights.empty()) return {};
    const Delta& delta = *good;
    mine.key_codec.encode(keys, keys_);
    mine.row_codec.encode(delta.rows, rows_);
    Pairs pairs{&delta, is_left, {}, {}, {}, {}, {}};
    if (times_) look_at_times(delta, is_left);
    hashes_.resize(delta.weights.size());
    for (size_t i = 0; i < hashes_.size(); ++i) hashes_[i] = hash_bytes(keys_[i]);
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      const int64_t weight = delta.weights[i];
      mine.rows.warm(hashes_, i);
      other.rows.warm(hashes_, i);
      if (times_ && row_times_[i].late) continue;
      const bool null = is_null(keys_[i]) || (times_ && row_times_[i].joins_none);
      if (!is_left) right_rows_ += weight;
      if (!is_left && null) right_nulls_ += weight;
      // Without a match for ever: only an outer side's row shows, and it need not be kept, unless
      // its mark may turn.
      if (null && !(is_left && kind_ == JoinKind::kMark)) {
        if (mine.tracked) emit_unmatched(is_left, rows_[i], weight, out);
        continue;
      }
      const uint64_t hash = hashes_[i];
      const auto kept = times_ ? mine.by_time.with_time(rows_[i], row_times_[i].time_us) : rows_[i];
      const auto added = mine.rows.add(mine.rows.find_or_add(keys_[i], hash), kept, weight);
      if (times_ && added.fresh) mine.by_time.add(added.row);
      if (mine.tracked || !mine.append_only) mine.touch(added.row);
      const auto* matching = null ? nullptr : other.rows.find(keys_[i], hash);
      for (auto* row = matching ? other.rows.first(*matching) : nullptr; row;
           row = other.rows.next(*row)) {
        pairs.rows.push_back(static_cast<uint32_t>(i));
        pairs.mine.push_back(&added.row);
        pairs.others.push_back(row);
        pairs.fresh.push_back(added.fresh);
        pairs.weights.push_back(weight);
        if (pairs.rows.size() == STANDARD_VECTOR_SIZE) join(pairs, out);
      }
      if (out.chunks.size() > kChunksMax) return too_many_rows();
    }
    if (!pairs.rows.empty()) join(pairs, out);
    alone_.flush(out);  // it points into rows_
    return {};
  }

  /// Fills `row_times_`; rows that are late go to the side's collector.
  void look_at_times(const Delta& delta, bool is_left) {
    const size_t count = delta.weights.size();
    row_times_.assign(count, {});
    const auto each = [&](std::optional<size_t> number, auto&& look) {
      if (!number) return;
      duckdb::Vector values(const_cast<duckdb::Vector&>(delta.rows.data[*number]));
      const TimeColumn column(values, count);
      for (size_t i = 0; i < count; ++i) look(row_times_[i], column[i]);
    };
    const int64_t gone_us = times_->gone_us(is_left), late_us = times_->late_us(is_left);
    each(times_->column(is_left), [&](RowTime& row, std::optional<int64_t> time) {
      row.time_us = time.value_or(RowsByTime::kNoTime);
      row.joins_none = !time && !times_->joins_nulls(is_left);
      row.late = time && *time < gone_us;
    });
    each(times_->late_column(is_left), [&](RowTime& row, std::optional<int64_t> time) {
      row.late = row.late || (time && *time < late_us);
    });
    duckdb::SelectionVector late(count);
    size_t late_count = 0;
    for (size_t i = 0; i < count; ++i)
      if (row_times_[i].late) late.set_index(late_count++, i);
    (is_left ? left_ : right_).late.add(delta, late, late_count);
  }

  /// Drops what no later row can join. That does not show in the output.
  void close(const DeltaStream& left, const DeltaStream& right) {
    times_->advance(left.frontiers, right.frontiers);
    for (const bool is_left : {true, false}) {
      Side& side = is_left ? left_ : right_;
      side.by_time.take_below(times_->closed_us(is_left), [&](auto rows) {
        for (size_t i = 0; i < rows.size(); ++i) {
          side.rows.warm(rows, i);
          side.remove(*rows[i]);
        }
      });
    }
  }

  static Error too_many_rows() {
    return {ErrorCode::kOutOfMemory,
            fmt::format("a join gives more than {} rows in one epoch",
                        kChunksMax * STANDARD_VECTOR_SIZE),
            std::nullopt, "give it a condition that fewer pairs of rows meet"};
  }

  void emit_unmatched(bool is_left, std::string_view row, int64_t weight, DeltaStream& out) {
    if (kind_ == JoinKind::kSemi) return;
    if (kind_ == JoinKind::kAnti)
      alone_.add({row.data()}, weight, out);
    else if (is_left)
      alone_.add({row.data(), nullptr}, weight, out);
    else
      alone_.add({nullptr, row.data()}, weight, out);
  }

  /// Emits the pairs that pass the residual conditions and counts them as matches.
  void join(Pairs& pairs, DeltaStream& out) {
    const size_t count = pairs.rows.size();
    auto joined = std::make_shared<Delta>();
    if (emits_pairs_ || !residual_.empty()) put_side_by_side(pairs, joined->rows);
    std::vector<uint32_t> passing(count);
    for (uint32_t i = 0; i < count; ++i) passing[i] = i;
    if (!residual_.empty()) pass_residual(pairs, joined, passing, out);
    count_matches(pairs, passing);
    if (emits_pairs_ && !passing.empty()) {
      for (const uint32_t i : passing)
        joined->weights.push_back(pairs.weights[i] * pairs.others[i]->weight);
      drop_zero_weights(joined);
      if (!joined->weights.empty()) out.chunks.push_back(std::move(joined));
    }
    pairs.rows.clear(), pairs.mine.clear(), pairs.others.clear();
    pairs.fresh.clear(), pairs.weights.clear();
  }

  void put_side_by_side(const Pairs& pairs, duckdb::DataChunk& chunk) const {
    const size_t count = pairs.rows.size();
    const Side& other = pairs.delta_is_left ? right_ : left_;
    const size_t mine_from = pairs.delta_is_left ? 0 : left_.types.size();
    const size_t other_from = pairs.delta_is_left ? left_.types.size() : 0;
    chunk.InitializeEmpty(types_);
    duckdb::SelectionVector sel(count);
    for (size_t i = 0; i < count; ++i) sel.set_index(i, pairs.rows[i]);
    for (size_t c = 0; c < pairs.delta->rows.ColumnCount(); ++c)
      chunk.data[mine_from + c].Slice(pairs.delta->rows.data[c], sel, count);
    std::vector<const char*> bytes;
    bytes.reserve(count);
    for (auto* row : pairs.others) bytes.push_back(row->bytes());
    duckdb::DataChunk decoded;
    make_chunk(decoded, other.types, count);
    other.row_codec.decode(bytes, decoded);
    for (size_t c = 0; c < other.types.size(); ++c)
      chunk.data[other_from + c].Reference(decoded.data[c]);
    chunk.SetCardinality(count);
  }

  /// Leaves the rows of `joined` for which every condition is true; `passing` says which they were.
  void pass_residual(const Pairs& pairs, std::shared_ptr<Delta>& joined,
                     std::vector<uint32_t>& passing, DeltaStream& out) {
    for (auto& condition : residual_) {
      if (passing.empty()) return;
      duckdb::SelectionVector sel(passing.size());  // the rest keeps it
      std::vector<RowFailure> failures;
      const size_t count = select_good(*condition, joined->rows, sel, failures);
      if (!failures.empty()) {
        for (const uint32_t i : passing)
          joined->weights.push_back(pairs.weights[i] * pairs.others[i]->weight);
        tell_failures(*joined, std::nullopt, failures, out);
        joined->weights.clear();
      }
      if (count == passing.size()) continue;
      auto rest = std::make_shared<Delta>();
      slice_chunk(joined->rows, sel, count, rest->rows);
      for (size_t i = 0; i < count; ++i) passing[i] = passing[sel.get_index(i)];
      passing.resize(count);
      joined = std::move(rest);
    }
  }

  void count_matches(const Pairs& pairs, const std::vector<uint32_t>& passing) {
    Side& mine = pairs.delta_is_left ? left_ : right_;
    Side& other = pairs.delta_is_left ? right_ : left_;
    if (mine.tracked)
      for (const uint32_t i : passing)
        if (pairs.fresh[i]) pairs.mine[i]->counts().matches += pairs.others[i]->weight;
    if (!other.tracked) return;
    for (const uint32_t i : passing) {
      other.touch(*pairs.others[i]);
      pairs.others[i]->counts().matches += pairs.weights[i];
    }
  }

  /// A row whose copies have all gone in this epoch is kept until its end.
  static void drop_zero_weights(std::shared_ptr<Delta>& joined) {
    if (std::find(joined->weights.begin(), joined->weights.end(), 0) == joined->weights.end())
      return;
    auto rest = std::make_shared<Delta>();
    duckdb::SelectionVector sel(joined->weights.size());
    for (size_t i = 0; i < joined->weights.size(); ++i) {
      if (joined->weights[i] == 0) continue;
      sel.set_index(rest->weights.size(), i);
      rest->weights.push_back(joined->weights[i]);
    }
    slice_chunk(joined->rows, sel, rest->weights.size(), rest->rows);
    joined = std::move(rest);
  }

  /// Brings what stands in the output for a left row alone up to date.
  void settle_left(Arrangement::Row& row, DeltaStream& out) {
    switch (kind_) {
      case JoinKind::kSemi:
      case JoinKind::kAnti: {
        const bool stands = (row.counts().matches > 0) == (kind_ == JoinKind::kSemi);
        const int64_t now = stands ? row.weight : 0;
        auto& emitted = row.counts().emitted;
        if (now != emitted) alone_.add({row.bytes()}, now - emitted, out);
        emitted = now;
        return;
      }
      case JoinKind::kMark:
        settle_mark(row, out);
        return;
      case JoinKind::kSingle:
        settle_alone({row.bytes(), nullptr}, row, out);
        settle_several(row, out);
        return;
      case JoinKind::kLeft:
      case JoinKind::kFull:
        settle_alone({row.bytes(), nullptr}, row, out);
        return;
      default:
        return;
    }
  }

  static bool has_several(Arrangement::Row& row) {
    return row.weight > 0 && row.counts().matches > 1;
  }

  /// The row of a scalar subquery's outer side that has more than one match is left out. join() has
  /// put its pairs out: here they are taken back, and given again once it has one match or none.
  void settle_several(Arrangement::Row& row, DeltaStream& out) {
    const bool had = several_.contains(&row), has = has_several(row);
    if (!had && !has) return;
    auto now = has ? pairs_of(row) : PairsOfRow();
    auto& before = several_[&row];
    for (const auto& [bytes, weight] : before) alone_.add({row.bytes(), bytes.data()}, weight, out);
    for (const auto& [bytes, weight] : now) alone_.add({row.bytes(), bytes.data()}, -weight, out);
    alone_.flush(out);  // before the bytes go
    if (!had)
      out.errors.push_back(
          {left_row(row), 0, "more than one row returned by a subquery used as an expression"});
    before = std::move(now);
    if (!has) several_.erase(&row);
  }

  std::shared_ptr<const Delta> left_row(Arrangement::Row& row) const {
    auto one = std::make_shared<Delta>();
    const char* bytes = row.bytes();
    make_chunk(one->rows, left_.types, 1);
    left_.row_codec.decode({&bytes, 1}, one->rows);
    one->rows.SetCardinality(1);
    one->weights.push_back(row.weight);
    return one;
  }

  /// The right rows that a left row has as they are now, with the weights of the pairs.
  using PairsOfRow = std::vector<std::pair<std::string, int64_t>>;
  PairsOfRow pairs_of(Arrangement::Row& row) {
    PairsOfRow all;
    const auto one = left_row(row);
    Pairs pairs{one.get(), true, {}, {}, {}, {}, {}};
    const auto take = [&] {
      std::vector<uint32_t> passing(pairs.rows.size());
      for (uint32_t i = 0; i < passing.size(); ++i) passing[i] = i;
      auto joined = std::make_shared<Delta>();
      put_side_by_side(pairs, joined->rows);
      DeltaStream told_before;
      pass_residual(pairs, joined, passing, told_before);
      for (const uint32_t i : passing)
        all.emplace_back(pairs.others[i]->view(), row.weight * pairs.others[i]->weight);
      pairs.rows.clear(), pairs.others.clear(), pairs.weights.clear();
    };
    const auto key = left_.rows.key_of(row).view();
    const auto* matching = right_.rows.find(key, hash_bytes(key));
    for (auto* other = matching ? right_.rows.first(*matching) : nullptr; other;
         other = right_.rows.next(*other)) {
      if (other->weight == 0) continue;
      pairs.rows.push_back(0);
      pairs.others.push_back(other);
      pairs.weights.push_back(0);
      if (pairs.rows.size() == STANDARD_VECTOR_SIZE) take();
    }
    if (!pairs.rows.empty()) take();
    return all;
  }

  void settle_alone(std::initializer_list<const char*> pieces, Arrangement::Row& row,
                    DeltaStream& out) {
    auto& [matches, emitted] = row.counts();
    const int64_t now = matches == 0 ? row.weight : 0;
    if (now != emitted) alone_.add(pieces, now - emitted, out);
    emitted = now;
  }

  void settle_mark(Arrangement::Row& row, DeltaStream& out) {
    const uint8_t mark = mark_of(row);
    auto& emitted = row.counts().emitted;
    if (mark == row.mark && emitted == row.weight) return;
    if (emitted != 0) alone_.add({row.bytes(), marks_[row.mark].data()}, -emitted, out);
    if (row.weight != 0) alone_.add({row.bytes(), marks_[mark].data()}, row.weight, out);
    emitted = row.weight;
    row.mark = mark;
  }

  /// The value of `left IN (right)`.
  uint8_t mark_of(Arrangement::Row& row) const {
    if (row.counts().matches > 0) return kTrue;
    if (right_rows_ == 0) return kFalse;
    return right_nulls_ > 0 || is_null(left_.rows.key_of(row).view()) ? kUnknown : kFalse;
  }

  /// When the right side's first row or first NULL comes, or its last goes, every mark may turn.
  void touch_when_marks_turn() {
    const auto state = std::pair{right_rows_ > 0, right_nulls_ > 0};
    if (state == marks_state_) return;
    marks_state_ = state;
    left_.rows.each_row([&](Arrangement::Row& row) { left_.touch(row); });
    // Where a row stands in memory must not show in the output: it is another place after a load.
    std::ranges::sort(left_.touched, [](const auto* a, const auto* b) {
      return std::pair(a->hash, a->view()) < std::pair(b->hash, b->view());
    });
  }

  void clean(Side& side) const {
    for (auto* row : side.touched) {
      row->touched = false;
      if (row->weight != 0) continue;
      if (times_) side.by_time.remove(*row);
      side.remove(*row);
    }
    side.touched.clear();
  }

  /// Where keys are equal and both sides bound them, so is the output: a later row needs a later
  /// row of one side at least. Likewise where times are bound to each other. Not in columns that
  /// are NULL where a row stands alone: such a row would never close.
  void carry_frontiers(std::span<const DeltaStream* const> inputs, DeltaStream& out) const {
    const auto bound = [](const DeltaStream& stream, size_t column) -> std::optional<int64_t> {
      for (const auto& frontier : stream.frontiers)
        if (frontier.column == column) return frontier.time_us;
      return std::nullopt;
    };
    for (const auto& [left, right] : key_columns_) {
      const auto a = bound(*inputs[0], left), b = bound(*inputs[1], right);
      if (!a || !b) continue;
      if (gives(true)) out.frontiers.push_back({left, std::min(*a, *b)});
      if (gives(false)) out.frontiers.push_back({left_.types.size() + right, std::min(*a, *b)});
    }
    if (!times_) return;
    for (const bool is_left : {true, false}) {
      const auto time = times_->bound_us(is_left);
      if (!time || !gives(is_left)) continue;
      const size_t column = (is_left ? 0 : left_.types.size()) + *times_->column(is_left);
      if (!bound(out, column)) out.frontiers.push_back({column, *time});
    }
  }

  /// Whether each row of the output has one of that side.
  bool gives(bool is_left) const {
    if (is_left) return kind_ != JoinKind::kRight && kind_ != JoinKind::kFull;
    return kind_ == JoinKind::kInner || kind_ == JoinKind::kRight;
  }

  const JoinKind kind_;
  const std::vector<std::pair<size_t, size_t>> key_columns_;
  std::optional<JoinTimes> times_;
  Side left_, right_;
  std::vector<bool> null_equals_null_;
  std::vector<std::unique_ptr<Evaluator>> residual_;
  duckdb::vector<duckdb::LogicalType> types_;  // of left and right side by side
  bool emits_pairs_;
  RowCodec mark_codec_;
  EncodedRows marks_;   // encoded, by their numbers
  DeltaBuilder alone_;  // rows that stand in the output by themselves
  EncodedRows keys_, rows_;
  std::vector<uint64_t> hashes_;  // of keys_
  /// What the times of a chunk's row say of it.
  struct RowTime {
    int64_t time_us = RowsByTime::kNoTime;  // by which it is dropped
    bool late = false;
    bool joins_none = false;
  };
  std::vector<RowTime> row_times_;

  // Of a single join: the left rows with several matches, and the pairs that they would give.
  boost::unordered_flat_map<Arrangement::Row*, PairsOfRow> several_;

  int64_t right_rows_ = 0;
  int64_t right_nulls_ = 0;
  std::pair<bool, bool> marks_state_{false, false};
};

}  // namespace

std::unique_ptr<Operator> make_join(duckdb::ClientContext& context, JoinSpec spec) {
  return std::make_unique<Join>(context, std::move(spec));
}

}  // namespace millrace::flow
