#pragma once

#include <duckdb.hpp>

#include <memory>
#include <vector>

#include "flow/detail/operators.h"

namespace millrace::flow {

/// `stream JOIN table FOR SYSTEM_TIME AS OF time`. The right input is the table's versions: a row
/// of weight +1 is what its key's row is from its time on, one of weight -1 says that there is none
/// from then on.
struct TemporalSpec {
  JoinKind kind = JoinKind::kInner;  // or kLeft
  duckdb::vector<duckdb::LogicalType> left_types, right_types;
  // Pairs of keys that must be equal: the right ones are the table's key.
  Expressions left_keys, right_keys;
  std::vector<bool> null_equals_null;  // one a pair
  Expressions left_time;               // one: as of when
  size_t right_time = 0;               // the column with a version's time
};

/// Each left row once, with the version of its key that is valid at its time as far as the table
/// has been read. What comes out is never taken back.
std::unique_ptr<Operator> make_temporal_join(duckdb::ClientContext& context, TemporalSpec spec);

}  // namespace millrace::flow
