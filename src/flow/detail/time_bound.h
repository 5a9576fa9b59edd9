#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <optional>

#include "flow/detail/operators.h"

namespace millrace::flow {

/// A condition of a join: how far apart the times of two rows that join can be, for a column of
/// each input, in microseconds.
struct TimeBound {
  size_t left = 0, right = 0;
  int64_t apart = 0;
  bool null_equals_null = false;  // else a row whose time is NULL joins none
};

/// Those by which the sides of a join are dropped.
struct TimeBounds {
  std::optional<TimeBound>
      low;  // left - right >= apart: a later right row joins no earlier left row
  std::optional<TimeBound> high;  // left - right <= apart: a later left row no earlier right row
  bool interval = false;          // the times are compared with `<`, `>` or BETWEEN
};

/// What the keys and conditions of a join say of time columns; rather of one pair of them than of
/// two, and rather an interval than equality. Nothing: no bound either way.
std::optional<TimeBounds> time_bounds_of(const JoinSpec& spec);

/// `a - b` of two times.
bool is_time_difference(const duckdb::Expression& e);

/// Times at the ends of the range stay there.
int64_t add_time(int64_t a, int64_t b);

}  // namespace millrace::flow
