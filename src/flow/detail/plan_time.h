#pragma once

#include <duckdb.hpp>

#include <optional>

#include "flow/detail/session.h"

namespace millrace::flow {

/// Which bound of SESSION a window function of the plan stands for; nullopt: it is another one.
std::optional<SessionSpec::Bound> session_bound(const duckdb::Expression& window);

}  // namespace millrace::flow
