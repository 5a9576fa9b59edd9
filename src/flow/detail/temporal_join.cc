#include "flow/detail/temporal_join.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "flow/detail/arrangement.h"
#include "flow/detail/closing.h"
#include "flow/detail/delta_builder.h"
#include "flow/detail/frontier_map.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

namespace {

std::vector<duckdb::LogicalType> plain(const duckdb::vector<duckdb::LogicalType>& types) {
  return {types.begin(), types.end()};
}

/// The versions of a table's rows by key, in the order of their times; of equal times the one that
/// was read last counts. Once time has passed the version after it, a version is forgotten.
class Versions {
 public:
  struct Version {
    int64_t from_us = 0;
    bool gone = false;  // there is no row from then on
    std::string row;
  };

  void add(std::string_view key, Version version) {
    auto [at, fresh] = keys_.try_emplace(std::string(key));
    auto& all = at->second;
    if (fresh) bytes_ += kKeyBytes + key.size();
    bytes_ += size_of(version);
    ++count_;
    const auto place = std::ranges::upper_bound(all, version.from_us, {}, &Version::from_us);
    all.insert(place, std::move(version));
    remember_end(at->first, all);
  }

  /// The version that is valid at the time; null: none is kept.
  const Version* find(std::string_view key, int64_t time_us) const {
    const auto found = keys_.find(key);
    if (found == keys_.end()) return nullptr;
    const auto& all = found->second;
    const auto after = std::ranges::upper_bound(all, time_us, {}, &Version::from_us);
    return after == all.begin() ? nullptr : &*std::prev(after);
  }

  /// No time before `time_us` will be asked for.
  void forget_before(int64_t time_us) {
    while (!ends_.empty() && ends_.begin()->first <= time_us) {
      const std::string key = std::move(ends_.begin()->second);
      ends_.erase(ends_.begin());
      const auto found = keys_.find(key);
      if (found != keys_.end()) forget_before(time_us, found);
    }
  }

  size_t count() const { return count_; }
  size_t bytes() const { return bytes_ + ends_.size() * kEndBytes; }

  void save(StateWriter& out) const {
    out.number(static_cast<uint64_t>(keys_.size()));
    for (const auto& [key, all] : keys_) {
      out.bytes(key);
      out.number(static_cast<uint64_t>(all.size()));
      for (const auto& version : all) {
        out.number(version.from_us);
        out.number(version.gone);
        out.bytes(version.row);
      }
    }
  }
  void load(StateReader& in) {
    std::string key;
    for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
      key = in.bytes();
      for (auto n = in.number<uint64_t>(); n > 0 && in.ok(); --n) {
        Version version;
        version.from_us = in.number<int64_t>();
        version.gone = in.number<bool>();
        version.row = in.bytes();
        add(key, std::move(version));
      }
    }
  }

 private:
  struct Hash {
    using is_transparent = void;
    using is_avalanching = void;
    size_t operator()(std::string_view key) const { return hash_bytes(key); }
  };
  using Keys = boost::unordered_flat_map<std::string, std::vector<Version>, Hash, std::equal_to<>>;
  // Beside its bytes: a key's slot of the map and its list; a node of `ends_`.
  static constexpr size_t kKeyBytes = 80, kEndBytes = 96;

  static size_t size_of(const Version& version) { return sizeof(Version) + version.row.capacity(); }

  /// When the first version ends. A key may stand there more than once.
  void remember_end(const std::string& key, const std::vector<Version>& all) {
    if (all.size() > 1)
      ends_.emplace(all[1].from_us, key);
    else if (all[0].gone)
      ends_.emplace(all[0].from_us, key);
  }

  void forget_before(int64_t time_us, Keys::iterator at) {
    auto& all = at->second;
    auto last = all.begin();
    while (last + 1 != all.end() && (last + 1)->from_us <= time_us) ++last;
    if (last->gone && last->from_us <= time_us) ++last;  // nothing is said by that, too
    for (auto version = all.begin(); version != last; ++version) bytes_ -= size_of(*version);
    count_ -= static_cast<size_t>(last - all.begin());
    all.erase(all.begin(), last);
    if (!all.empty()) return remember_end(at->first, all);
    bytes_ -= kKeyBytes + at->first.size();
    keys_.erase(at);
  }

  Keys keys_;
  std::multimap<int64_t, std::string> ends_;
  size_t count_ = 0;
  size_t bytes_ = 0;
};

/// FOR SYSTEM_TIME AS OF. An epoch's versions come before its rows. A left row behind the frontier
/// that finds no version may have missed one that was forgotten: it is late.
class TemporalJoin : public Operator {
 public:
  TemporalJoin(duckdb::ClientContext& context, TemporalSpec spec)
      : kind_(spec.kind),
        null_equals_null_(std::move(spec.null_equals_null)),
        right_time_(spec.right_time),
        left_keys_(context, std::move(spec.left_keys)),
        right_keys_(context, std::move(spec.right_keys)),
        left_time_(context, std::move(spec.left_time)),
        frontiers_(context, left_time_),
        key_codec_(plain(left_keys_.types()), RowCodec::Use::kKey),
        left_codec_(plain(spec.left_types), RowCodec::Use::kRow),
        right_codec_(plain(spec.right_types), RowCodec::Use::kRow),
        builder_({&left_codec_, &right_codec_}),
        late_(column_names({&left_keys_, &left_time_})) {}

  Result<> step(const Epoch&, std::span<const DeltaStream* const> inputs,
                DeltaStream& out) override {
    for (const auto& chunk : inputs[1]->chunks) keep(chunk, out);
    for (const auto& chunk : inputs[0]->chunks) join(chunk, out);
    for (const auto& frontier : frontiers_.map(inputs[0]->frontiers))
      passed_us_ = std::max(passed_us_, frontier.time_us);
    versions_.forget_before(passed_us_);
    out.frontiers = inputs[0]->frontiers;
    return {};
  }

  size_t state_rows() const override { return versions_.count(); }
  size_t state_bytes() const override { return versions_.bytes(); }
  uint64_t late_rows() const override { return late_.count(); }
  void take_late(std::vector<LateRows>& out) override { late_.take(out); }

  bool can_save() const override { return true; }
  void save(StateWriter& out) const override {
    out.begin("temporal join", 1);
    out.number(passed_us_);
    late_.save(out);
    versions_.save(out);
  }
  Result<> load(StateReader& in) override {
    in.begin("temporal join", 1);
    passed_us_ = in.number<int64_t>();
    late_.load(in);
    versions_.load(in);
    return in.result();
  }

  std::string describe() const override {
    return std::string(kind_ == JoinKind::kLeft ? "temporal left join" : "temporal join") +
           " on (" + left_keys_.describe() + ") = (" + right_keys_.describe() + ") as of " +
           left_time_.describe();
  }

 private:
  bool is_null(std::string_view key) const {
    for (size_t i = 0; i < null_equals_null_.size(); ++i)
      if (!null_equals_null_[i] && (key[i / 8] >> (i % 8) & 1)) return true;
    return false;
  }

  void keep(const std::shared_ptr<const Delta>& chunk, DeltaStream& out) {
    duckdb::DataChunk keys;
    const auto good = evaluate_good(chunk, 1, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk values;
      right_keys_.evaluate(rows, values);
      keys.Move(values);
    });
    const Delta& delta = *good;
    if (delta.weights.empty()) return;
    key_codec_.encode(keys, encoded_keys_);
    right_codec_.encode(delta.rows, encoded_rows_);
    duckdb::Vector values(const_cast<duckdb::Vector&>(delta.rows.data[right_time_]));
    const TimeColumn times(values, delta.weights.size());
    for (size_t i = 0; i < delta.weights.size(); ++i) {
      if (is_null(encoded_keys_[i]) || !times[i]) continue;
      const bool gone = delta.weights[i] < 0;
      versions_.add(encoded_keys_[i],
                    {*times[i], gone, gone ? std::string() : std::string(encoded_rows_[i])});
    }
  }

  void join(const std::shared_ptr<const Delta>& chunk, DeltaStream& out) {
    duckdb::DataChunk keys, moments;
    const auto good = evaluate_good(chunk, 0, out, [&](const duckdb::DataChunk& rows) {
      duckdb::DataChunk key_values, time_values;
      left_keys_.evaluate(rows, key_values);
      left_time_.evaluate(rows, time_values);
      keys.Move(key_values);
      moments.Move(time_values);
    });
    const Delta& delta = *good;
    const size_t count = delta.weights.size();
    if (count == 0) return;
    key_codec_.encode(keys, encoded_keys_);
    left_codec_.encode(delta.rows, encoded_rows_);
    const TimeColumn times(moments.data[0], count);
    duckdb::SelectionVector late(count);
    size_t late_count = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto time = times[i];
      const bool compared = time && !is_null(encoded_keys_[i]);
      const auto* version = compared ? versions_.find(encoded_keys_[i], *time) : nullptr;
      if (compared && !version && *time < passed_us_) {
        late.set_index(late_count++, i);
      } else if (version && !version->gone) {
        builder_.add({encoded_rows_[i].data(), version->row.data()}, delta.weights[i], out);
      } else if (kind_ == JoinKind::kLeft) {
        builder_.add({encoded_rows_[i].data(), nullptr}, delta.weights[i], out);
      }
    }
    builder_.flush(out);  // it points into encoded_rows_
    late_.add(delta, late, late_count);
  }

  const JoinKind kind_;
  const std::vector<bool> null_equals_null_;
  const size_t right_time_;
  Evaluator left_keys_, right_keys_, left_time_;
  FrontierMap frontiers_;
  RowCodec key_codec_, left_codec_, right_codec_;
  DeltaBuilder builder_;
  LateCollector late_;
  Versions versions_;
  int64_t passed_us_ = Closing::kNever;
  EncodedRows encoded_keys_, encoded_rows_;
};

}  // namespace

std::unique_ptr<Operator> make_temporal_join(duckdb::ClientContext& context, TemporalSpec spec) {
  return std::make_unique<TemporalJoin>(context, std::move(spec));
}

}  // namespace millrace::flow
