#include <algorithm>
#include <array>
#include <bit>
#include <map>

#include "flow/detail/aggregate_column.h"
#include "flow/detail/evaluator.h"

// Aggregates whose result is that of some rows of an order: the rows are kept, and ranked.

namespace millrace::flow {

/// Rows that count: those without a NULL where there must be a value.
void AggregateColumn::leave_out_nulls(duckdb::DataChunk& arguments, std::vector<uint32_t>& rows) {
  for (const size_t needed : ranked_->needed) {
    duckdb::UnifiedVectorFormat values;
    arguments.data[needed].ToUnifiedFormat(arguments.size(), values);
    if (values.validity.AllValid()) continue;
    std::erase_if(rows, [&](uint32_t row) {
      return !values.validity.RowIsValid(values.sel->get_index(row));
    });
  }
}

template <typename F>
void AggregateColumn::each_with_key(std::span<Arrangement::Row* const> rows, F&& each) {
  while (!rows.empty()) {
    const auto some = rows.first(std::min<size_t>(rows.size(), STANDARD_VECTOR_SIZE));
    rows = rows.subspan(some.size());
    if (!ranked_->by) {
      for (auto* row : some) each(*row, std::string_view());
      continue;
    }
    std::vector<const char*> bytes;
    for (auto* row : some) bytes.push_back(row->bytes());
    duckdb::DataChunk chunk;
    make_chunk(chunk, {codec_->types().begin(), codec_->types().end()}, bytes.size());
    codec_->decode(bytes, chunk);
    chunk.SetCardinality(bytes.size());
    duckdb::Vector keys(duckdb::LogicalType::BLOB);
    ranked_->sort_keys(chunk, keys);
    const auto* key = duckdb::FlatVector::GetData<duckdb::string_t>(keys);
    for (size_t i = 0; i < some.size(); ++i)
      each(*some[i], std::string_view(key[i].GetData(), key[i].GetSize()));
  }
}

namespace {

/// Sorts by weight, the greatest first.
std::array<char, 8> weight_key(int64_t weight) {
  std::array<char, 8> key;
  const uint64_t bits = std::byteswap(~static_cast<uint64_t>(weight));
  std::memcpy(key.data(), &bits, sizeof(bits));
  return key;
}

}  // namespace

/// From the weight with which the row stands there to `now`.
void AggregateColumn::rank(Arrangement::Row& row, std::string_view key, int64_t now) {
  auto& root = root_of(group_of(row));
  const int64_t before = std::exchange(row.counts().emitted, now);
  if (ranked_->by_weight) {
    const auto old_key = weight_key(before), new_key = weight_key(now);
    if (before != 0) ranks_.change(root, {old_key.data(), old_key.size()}, row, -1);
    if (now != 0) ranks_.insert(root, {new_key.data(), new_key.size()}, row, 1);
  } else if (before == 0) {
    ranks_.insert(root, key, row, now);
  } else {
    ranks_.change(root, key, row, now - before);
  }
}

/// Ranks the epoch's changes. A row's `emitted` is the weight with which it stands there.
void AggregateColumn::settle_ranked() {
  std::vector<Arrangement::Row*> changed;
  const auto weight_of = [&](const Arrangement::Row& row) {
    return layout_.distinct ? std::min<int64_t>(row.weight, 1) : row.weight;
  };
  for (auto* row : touched_)
    if (weight_of(*row) != row->counts().emitted) changed.push_back(row);
  each_with_key(changed, [&](Arrangement::Row& row, std::string_view key) {
    rank(row, key, weight_of(row));
  });
  // Where no row is ever taken back, only the first can come to show again.
  if (!layout_.append_only || ranked_->by_weight || ranked_->pick != RankedAggregate::Pick::kFirst)
    return;
  for (auto* row : changed) keep_first(group_of(*row));
}

void AggregateColumn::keep_first(Group& group) {
  auto& root = root_of(group);
  if (ranks_.weight(root) == 0) return;
  ranks_.keep_first(root);
  const auto* first = ranks_.at(root, 0);
  Group* address = &group;
  const auto* key = kept_->find(key_of(address), group.hash);
  for (auto* row = kept_->first(*key); row;) {
    auto* const other = row;
    row = kept_->next(*row);
    if (other == first) continue;
    if (other->touched)
      other->weight = other->counts().emitted = 0;  // removed with the others of the epoch
    else
      kept_->remove(*other);
  }
}

/// After loading.
void AggregateColumn::rank_kept() {
  std::vector<Arrangement::Row*> rows;
  const auto rank_some = [&] {
    each_with_key(rows, [&](Arrangement::Row& row, std::string_view key) {
      rank(row, key, std::exchange(row.counts().emitted, 0));
    });
    rows.clear();
  };
  kept_->each_row([&](Arrangement::Row& row) {
    if (row.counts().emitted != 0) rows.push_back(&row);
    if (rows.size() == STANDARD_VECTOR_SIZE) rank_some();
  });
  rank_some();
}

/// Gives each state the rows that decide its group's result.
void AggregateColumn::feed_ranked(std::span<Group* const> groups, std::span<char* const> states) {
  Feed feed(*this, scratch_);
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto root = root_of(*groups[i]);
    const int64_t rows = ranks_.weight(root);
    if (rows == 0) continue;
    if (ranked_->pick == RankedAggregate::Pick::kFirst) {
      feed.add(*ranks_.at(root, 0), states[i]);
      continue;
    }
    feed.add(*ranks_.at(root, (rows - 1) / 2), states[i]);
    if (rows % 2 == 0) feed.add(*ranks_.at(root, rows / 2), states[i]);
  }
  feed.flush();
}

/// DuckDB says what lies between two rows, or gives the one. Groups that lie equally far between
/// theirs go together: those of a size, and all where it is a row.
void AggregateColumn::finalize_quantiles(std::span<Group* const> groups, duckdb::Vector& out) {
  struct Asked {
    size_t group, quantile;
    Quantile::Place place;
  };
  const size_t each = ranked_->quantiles.size();
  std::map<double, std::vector<Asked>> by_fraction;
  for (size_t i = 0; i < groups.size(); ++i) {
    const int64_t rows = ranks_.weight(root_of(*groups[i]));
    for (size_t q = 0; q < each && rows > 0; ++q) {
      const auto place = ranked_->quantiles[q].place(rows);
      by_fraction[place.fraction].push_back({i, q, place});
    }
  }
  std::vector<duckdb::Value> found(groups.size() * each);
  const bool lists = result_type().id() == duckdb::LogicalTypeId::LIST;
  for (const auto& [fraction, all] : by_fraction) {
    const auto bound_to = ranked_->quantile_between_two(function_.bound(), fraction);
    for (std::span<const Asked> left = all; !left.empty();) {
      const auto some = left.first(std::min<size_t>(left.size(), STANDARD_VECTOR_SIZE));
      left = left.subspan(some.size());
      FreshStates states(function_, some.size(), scratch_, scratch_states_);
      Feed feed(*this, scratch_);
      for (size_t i = 0; i < some.size(); ++i) {
        const auto root = root_of(*groups[some[i].group]);
        feed.add(*ranks_.at(root, some[i].place.lower), states.addresses()[i]);
        if (some[i].place.upper != some[i].place.lower)
          feed.add(*ranks_.at(root, some[i].place.upper), states.addresses()[i]);
      }
      feed.flush();
      duckdb::Vector results(result_type(), some.size());
      function_.finalize(states.pointers(), some.size(), results, scratch_, *bound_to);
      for (size_t i = 0; i < some.size(); ++i) {
        auto value = results.GetValue(i);
        found[some[i].group * each + some[i].quantile] =
            lists ? duckdb::ListValue::GetChildren(value)[0] : std::move(value);
      }
    }
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    if (ranks_.weight(root_of(*groups[i])) == 0) {
      duckdb::FlatVector::SetNull(out, i, true);
    } else if (lists) {
      const auto from = found.begin() + static_cast<ptrdiff_t>(i * each);
      out.SetValue(i, duckdb::Value::LIST(duckdb::ListType::GetChildType(result_type()),
                                          {from, from + static_cast<ptrdiff_t>(each)}));
    } else {
      out.SetValue(i, found[i]);
    }
  }
}

}  // namespace millrace::flow
