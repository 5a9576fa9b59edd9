#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pgwire/detail/settings.h"

namespace millrace::pgwire::detail {

struct Rewritten {
  std::string sql;
  std::vector<int32_t> oids;  // of its parameters, where the client must be told so
};

/// Answers, within a statement, what clients ask about the connection: current_setting('…'),
/// set_config('…', v, …) of settings that are ours, version(), pg_backend_pid(),
/// pg_is_in_recovery(), pg_get_userbyid(…). And asyncpg's question of how array types are made,
/// which it puts to pg_type: from our table of types. Nothing when the statement holds none of
/// these.
std::optional<Rewritten> rewrite(std::string_view sql, const Settings& settings, int32_t process);

}  // namespace millrace::pgwire::detail
