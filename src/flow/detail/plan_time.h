#pragma once

#include <duckdb.hpp>

#include <optional>

#include "flow/detail/session.h"

namespace millrace::flow {

/// Which bound of SESSION a window function of the plan stands for; nullopt: it is another one.
std::optional<SessionSpec::Bound> session_bound(const duckdb::Expression& window);

/// Takes the conditions that move with the clock out of a filter's.
Expressions take_clock_conditions(Expressions& conditions);

}  // namespace millrace::flow
