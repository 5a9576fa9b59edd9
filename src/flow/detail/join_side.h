#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <vector>

#include "flow/detail/arrangement.h"
#include "flow/detail/closing.h"
#include "flow/detail/evaluator.h"
#include "flow/detail/join_times.h"
#include "flow/detail/row_codec.h"

namespace millrace::flow {

/// What is known of one input of a join.
struct Side {
  Side(duckdb::ClientContext& context, const duckdb::vector<duckdb::LogicalType>& types,
       Expressions key_expressions, bool is_append_only, bool counts_matches)
      : keys(context, std::move(key_expressions)),
        key_codec({keys.types().begin(), keys.types().end()}, RowCodec::Use::kKey),
        row_codec({types.begin(), types.end()}, RowCodec::Use::kRow),
        rows(is_append_only, counts_matches),
        append_only(is_append_only),
        types(types),
        tracked(counts_matches),
        by_time(is_append_only),
        late(column_names({&keys})) {}

  void remove(Arrangement::Row& row) {
    auto& key = rows.key_of(row);
    rows.remove(row);
    if (key.first == 0) rows.remove(key);
  }

  /// Before the row is changed.
  void touch(Arrangement::Row& row) {
    if (row.touched) return;
    rows.before_change(row);
    row.touched = true;
    touched.push_back(&row);
  }

  Evaluator keys;
  RowCodec key_codec;
  RowCodec row_codec;
  Arrangement rows;
  bool append_only;
  duckdb::vector<duckdb::LogicalType> types;
  const bool tracked;                      // rows count their matches
  std::vector<Arrangement::Row*> touched;  // in this epoch: weight or matches changed
  RowsByTime by_time;                      // where the join's times are bound
  LateCollector late;
};

/// Rows of one delta chunk paired with rows of the other side.
struct Pairs {
  const Delta* delta;
  bool delta_is_left;
  std::vector<uint32_t> rows;  // of the delta
  std::vector<Arrangement::Row*> mine, others;
  std::vector<bool> fresh;       // mine was not there before
  std::vector<int64_t> weights;  // of the pair
};

}  // namespace millrace::flow
