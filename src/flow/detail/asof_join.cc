#include <boost/intrusive/set.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <duckdb/function/create_sort_key.hpp>

#include "flow/detail/arrangement.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/frozen_slab.h"
#include "flow/detail/operators.h"

namespace millrace::flow {

namespace {

namespace bi = boost::intrusive;
using duckdb::ExpressionType;

std::vector<duckdb::LogicalType> plain(const duckdb::vector<duckdb::LogicalType>& types) {
  return {types.begin(), types.end()};
}

struct AsofKey;

/// A row of one side; the sort key of its value and its bytes stand behind it in memory.
struct AsofRow : bi::set_base_hook<bi::optimize_size<true>, bi::link_mode<bi::normal_link>> {
  int64_t weight = 0;
  int64_t emitted = 0;  // copies in the output: left, beside its match; right, beside no left row
  union {
    AsofRow* match = nullptr;  // left: the right row that stands beside it in the output
    int64_t takers;            // right: the left rows that it stands beside
  };
  AsofKey* key = nullptr;
  uint32_t value_bytes : 29 = 0;
  uint32_t is_left : 1 = false;
  uint32_t touched : 1 = false;
  uint32_t stood : 1 = false;  // right: before the epoch
  uint32_t row_bytes = 0;

  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  const char* row() const { return reinterpret_cast<const char*>(this + 1) + value_bytes; }
  std::string_view value() const { return {reinterpret_cast<const char*>(this + 1), value_bytes}; }
  std::string_view view() const { return {row(), row_bytes}; }
};

/// By value; what ties, by bytes of the row: so that which of them is taken does not depend on the
/// order of arrival.
struct AsofLess {
  using Probe = std::pair<std::string_view, std::string_view>;
  static Probe of(const AsofRow& row) { return {row.value(), row.view()}; }
  bool operator()(const AsofRow& a, const AsofRow& b) const { return of(a) < of(b); }
  bool operator()(const Probe& a, const AsofRow& b) const { return a < of(b); }
  bool operator()(const AsofRow& a, const Probe& b) const { return of(a) < b; }
};
struct ValueLess {
  bool operator()(std::string_view a, const AsofRow& b) const { return a < b.value(); }
  bool operator()(const AsofRow& a, std::string_view b) const { return a.value() < b; }
};
using AsofTree = bi::set<AsofRow, bi::compare<AsofLess>, bi::constant_time_size<false>>;

struct AsofKey {
  std::string key;
  AsofTree left, right;
};

/// ASOF join. Both sides are kept by key, in the order of the values that are compared. A left row
/// that comes or goes costs O(log rows); a right row, besides, as many left rows as lie between it
/// and the next right row. Where right rows are kept that no left row takes, each knows how many
/// do.
class AsofJoin : public Operator {
 public:
  AsofJoin(duckdb::ClientContext& context, AsofSpec spec)
      : kind_(spec.kind),
        keeps_left_(kind_ == JoinKind::kLeft || kind_ == JoinKind::kFull),
        keeps_right_(kind_ == JoinKind::kRight || kind_ == JoinKind::kFull),
        backward_(spec.comparison == ExpressionType::COMPARE_GREATERTHANOREQUALTO ||
                  spec.comparison == ExpressionType::COMPARE_GREATERTHAN),
        equal_(spec.comparison == ExpressionType::COMPARE_GREATERTHANOREQUALTO ||
               spec.comparison == ExpressionType::COMPARE_LESSTHANOREQUALTO),
        null_equals_null_(std::move(spec.null_equals_null)),
        left_(context, std::move(spec.left_keys), spec.left_types),
        right_(context, std::move(spec.right_keys), spec.right_types),
        builder_(kind_ == JoinKind::kSemi || kind_ == JoinKind::kAnti
                     ? std::vector<const RowCodec*>{&left_.rows}
                     : std::vector<const RowCodec*>{&left_.rows, &right_.rows}) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[0]->chunks) take(chunk, true, out);
    for (const auto& chunk : inputs[1]->chunks) take(chunk, false, out);
    for (auto& [row, key] : touched_right_) {
      if (row->weight < 0) return too_many_retracted();
      // One that came and went in this epoch too: it ends the stretch of the row before it.
      if (row->weight == 0 || !row->stood) touch_neighbours(*row, *key);
    }
    for (auto& [row, key] : touched_right_)
      if (row->weight == 0) key->right.erase(key->right.iterator_to(*row));
    for (auto& [row, key] : touched_left_) {
      if (row->weight < 0) return too_many_retracted();
      settle(*row, *key, out);
    }
    if (keeps_right_)
      for (auto& [row, key] : touched_right_) settle_right(*row, out);
    builder_.flush(out);
    clean();
    return {};
  }

  size_t state_rows() const override { return rows_; }
  size_t state_bytes() const override {
    return slab_.memory_bytes() + keys_.size() * (sizeof(AsofKey) + sizeof(std::string) * 2);
  }

  bool can_save() const override { return true; }
  void freeze() override {
    Operator::freeze();
    frozen_.freeze();
  }
  void save(StateWriter& out) const override { out.begin("asof", 2); }
  bool save_some(StateWriter& out, size_t bytes) override {
    return Operator::save_some(out, bytes) &&
           frozen_.save_some(out, bytes, [](std::span<void* const> rows, StateWriter& to) {
             for (const void* row : rows) save(*static_cast<const AsofRow*>(row), to);
           });
  }
  Result<> load(StateReader& in) override {
    in.begin("asof", 2);
    std::string value;
    while (in.number<uint8_t>() == FrozenSlab::kPiece) {
      const bool is_left = in.number<bool>();
      auto& key = find_or_add(in.bytes());
      const auto weight = in.number<int64_t>();
      value = in.bytes();
      auto& row = make_row(key, is_left, value, in.bytes());
      row.weight = weight;
      (is_left ? key.left : key.right).insert(row);
    }
    for (auto& [name, key] : keys_) {
      for (auto& row : key->left) {
        row.emitted = row.weight;
        row.match = match_of(row, *key);
        if (row.match) ++row.match->takers;
      }
      for (auto& row : key->right) {
        row.stood = true;
        row.emitted = alone(row);
      }
    }
    return in.result();
  }

  std::string describe() const override {
    static constexpr std::array kComparisons{"<", "<=", ">", ">="};
    std::string text = kind_ == JoinKind::kLeft    ? "asof left join"
                       : kind_ == JoinKind::kRight ? "asof right join"
                       : kind_ == JoinKind::kFull  ? "asof full join"
                       : kind_ == JoinKind::kSemi  ? "asof semi join"
                       : kind_ == JoinKind::kAnti  ? "asof anti join"
                                                   : "asof join";
    return text + " on (" + left_.keys.describe() + ") " +
           kComparisons[static_cast<size_t>(2 * backward_ + equal_)] + " (" +
           right_.keys.describe() + ")";
  }

 private:
  struct Side {
    Side(duckdb::ClientContext& context, Expressions expressions,
         const duckdb::vector<duckdb::LogicalType>& types)
        : keys(context, std::move(expressions)),
          key_codec({keys.types().begin(), keys.types().end() - 1}, RowCodec::Use::kKey),
          rows(plain(types), RowCodec::Use::kRow) {}
    Evaluator keys;      // the keys, and the value that is compared
    RowCodec key_codec;  // of the keys
    RowCodec rows;
  };

  static Error too_many_retracted() {
    return {ErrorCode::kInternal, "more copies of a row are retracted than there were"};
  }

  bool is_null(std::string_view key) const {
    for (size_t i = 0; i < null_equals_null_.size(); ++i)
      if (!null_equals_null_[i] && (key[i / 8] >> (i % 8) & 1)) return true;
    return false;
  }

  void take(const std::shared_ptr<const Delta>& chunk, bool is_left, DeltaStream& out) {
    Side& side = is_left ? left_ : right_;
    duckdb::DataChunk keys;
    const auto good =
        evaluate_good(chunk, is_left ? 0 : 1, out, [&](const duckdb::DataChunk& rows) {
          duckdb::DataChunk values;
          side.keys.evaluate(rows, values);
          keys.Move(values);
        });
    const size_t count = good->weights.size();
    if (count == 0) return;
    side.key_codec.encode(keys, encoded_keys_);
    side.rows.encode(good->rows, encoded_rows_);
    duckdb::Vector values(duckdb::LogicalType::BLOB);
    duckdb::UnifiedVectorFormat nulls;
    keys.data.back().ToUnifiedFormat(count, nulls);
    duckdb::CreateSortKeyHelpers::CreateSortKey(
        keys.data.back(), count,
        {duckdb::OrderType::ASCENDING, duckdb::OrderByNullType::NULLS_LAST}, values);
    values.Flatten(count);
    for (size_t i = 0; i < count; ++i) {
      if (is_null(encoded_keys_[i]) || !nulls.validity.RowIsValid(nulls.sel->get_index(i))) {
        // It meets nothing.
        if (is_left) put(encoded_rows_[i].data(), nullptr, good->weights[i], out);
        if (!is_left && keeps_right_)
          builder_.add({nullptr, encoded_rows_[i].data()}, good->weights[i], out);
        continue;
      }
      const auto& value = duckdb::FlatVector::GetData<duckdb::string_t>(values)[i];
      add({value.GetData(), value.GetSize()}, i, is_left, good->weights[i]);
    }
    builder_.flush(out);  // it points into encoded_rows_
  }

  void add(std::string_view value, size_t i, bool is_left, int64_t weight) {
    auto& key = find_or_add(encoded_keys_[i]);
    auto& tree = is_left ? key.left : key.right;
    AsofTree::insert_commit_data place;
    auto [row, fresh] =
        tree.insert_check(AsofLess::Probe{value, encoded_rows_[i]}, AsofLess{}, place);
    if (fresh)
      row = tree.insert_commit(make_row(key, is_left, value, encoded_rows_[i]), place);
    else if (auto* out = frozen_.thaw(&*row))
      save(*row, *out);
    row->weight += weight;
    touch(*row, key, is_left ? touched_left_ : touched_right_);
  }

  AsofKey& find_or_add(std::string_view key) {
    const auto found = keys_.find(key);
    if (found != keys_.end()) return *found->second;
    auto made = std::make_unique<AsofKey>();
    made->key = key;
    AsofKey& added = *made;
    keys_.emplace(added.key, std::move(made));
    return added;
  }

  using Touched = std::vector<std::pair<AsofRow*, AsofKey*>>;
  void touch(AsofRow& row, AsofKey& key, Touched& touched) {
    if (row.touched) return;
    row.touched = true;
    touched.emplace_back(&row, &key);
    touched_keys_.insert(key.key);
  }

  /// The left rows that may take `row`, or have: those on its side of the next right row.
  void touch_neighbours(AsofRow& row, AsofKey& key) {
    const auto at = key.right.iterator_to(row);
    std::string_view from, until;
    bool from_start = false, to_end = false;
    if (backward_) {
      from = row.value();
      const auto next = std::next(at);
      to_end = next == key.right.end();
      if (!to_end) until = next->value();
    } else {
      until = row.value();
      from_start = at == key.right.begin();
      if (!from_start) from = std::prev(at)->value();
    }
    auto left = from_start ? key.left.begin() : key.left.lower_bound(from, ValueLess{});
    for (; left != key.left.end() && (to_end || left->value() <= until); ++left)
      touch(*left, key, touched_left_);
  }

  /// The right row that the left row takes, or null.
  AsofRow* match_of(const AsofRow& row, AsofKey& key) const {
    // Backward, the last row before a place; forward, the first one from it on.
    const bool behind_equals = backward_ == equal_;
    const auto at = behind_equals ? key.right.upper_bound(row.value(), ValueLess{})
                                  : key.right.lower_bound(row.value(), ValueLess{});
    if (backward_) return at == key.right.begin() ? nullptr : &*std::prev(at);
    return at == key.right.end() ? nullptr : &*at;
  }

  void put(const char* left, const AsofRow* match, int64_t weight, DeltaStream& out) {
    if (weight == 0) return;
    if (kind_ == JoinKind::kSemi || kind_ == JoinKind::kAnti) {
      if ((match != nullptr) == (kind_ == JoinKind::kSemi)) builder_.add({left}, weight, out);
    } else if (match || keeps_left_) {
      builder_.add({left, match ? match->row() : nullptr}, weight, out);
    }
  }

  void settle(AsofRow& row, AsofKey& key, DeltaStream& out) {
    AsofRow* match = match_of(row, key);
    if (match == row.match) {
      put(row.row(), match, row.weight - row.emitted, out);
    } else {
      put(row.row(), row.match, -row.emitted, out);
      put(row.row(), match, row.weight, out);
    }
    if (row.emitted > 0) count_taker(row.match, key, -1);
    if (row.weight > 0) count_taker(match, key, 1);
    row.match = match;
    row.emitted = row.weight;
  }

  void count_taker(AsofRow* taken, AsofKey& key, int64_t by) {
    if (!taken || !keeps_right_) return;
    taken->takers += by;
    touch(*taken, key, touched_right_);
  }

  /// Copies of a right row that stand beside no left row: of equal ones one is taken.
  static int64_t alone(const AsofRow& row) { return row.weight - (row.takers > 0 ? 1 : 0); }
  void settle_right(AsofRow& row, DeltaStream& out) {
    const int64_t now = alone(row);
    if (now != row.emitted) builder_.add({nullptr, row.row()}, now - row.emitted, out);
    row.emitted = now;
  }

  void clean() {
    for (auto& [row, key] : touched_left_) {
      row->touched = false;
      if (row->weight > 0) continue;
      key->left.erase(key->left.iterator_to(*row));
      free_row(*row);
    }
    for (auto& [row, key] : touched_right_) {
      row->touched = false;
      row->stood = row->weight > 0;
      if (row->weight == 0) free_row(*row);
    }
    for (const auto& key : touched_keys_) {
      const auto at = keys_.find(key);
      if (at->second->left.empty() && at->second->right.empty()) keys_.erase(at);
    }
    touched_keys_.clear();
    touched_left_.clear();
    touched_right_.clear();
  }

  static void save(const AsofRow& row, StateWriter& out) {
    out.number(FrozenSlab::kPiece);
    out.number(static_cast<bool>(row.is_left));
    out.bytes(row.key->key);
    out.number(row.weight);
    out.bytes(row.value());
    out.bytes(row.view());
  }

  AsofRow& make_row(AsofKey& key, bool is_left, std::string_view value, std::string_view row) {
    auto* made = std::construct_at(
        static_cast<AsofRow*>(slab_.allocate(sizeof(AsofRow) + value.size() + row.size())));
    made->key = &key;
    made->is_left = is_left;
    if (!is_left) made->takers = 0;
    MR_CHECK(value.size() < uint32_t{1} << 29);
    made->value_bytes = static_cast<uint32_t>(value.size());
    made->row_bytes = static_cast<uint32_t>(row.size());
    std::memcpy(made->bytes(), value.data(), value.size());
    std::memcpy(made->bytes() + value.size(), row.data(), row.size());
    ++rows_;
    return *made;
  }
  void free_row(AsofRow& row) {
    --rows_;
    slab_.release(&row, sizeof(AsofRow) + row.value_bytes + row.row_bytes);
  }

  const JoinKind kind_;
  const bool keeps_left_, keeps_right_;
  const bool backward_, equal_;  // >=, >; and >=, <=
  std::vector<bool> null_equals_null_;
  Side left_, right_;
  DeltaBuilder builder_;
  Slab slab_;
  FrozenSlab frozen_{slab_};
  size_t rows_ = 0;
  boost::unordered_flat_map<std::string_view, std::unique_ptr<AsofKey>> keys_;  // by their `key`

  EncodedRows encoded_keys_, encoded_rows_;
  Touched touched_left_, touched_right_;
  boost::unordered_flat_set<std::string> touched_keys_;
};

}  // namespace

std::unique_ptr<Operator> make_asof_join(duckdb::ClientContext& context, AsofSpec spec) {
  return std::make_unique<AsofJoin>(context, std::move(spec));
}

}  // namespace millrace::flow
