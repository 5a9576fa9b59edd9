#pragma once

#include <string_view>

namespace duckdb {
class DuckDB;
class SQLStatement;
}  // namespace duckdb

namespace millrace::sql {

/// Who binds the plain SQL: DuckDB, to run it, or the planner of standing queries. The planner is
/// given SESSION as window functions of these names over (time, gap), PARTITION BY the keys, which
/// exist to be planned alone.
enum class WindowsFor { kQuery, kView };
inline constexpr std::string_view kSessionStart = "millrace_session_start";
inline constexpr std::string_view kSessionEnd = "millrace_session_end";

/// The function that `JOIN t FOR SYSTEM_TIME AS OF e` leaves in a plan: an ASOF join with
/// `e >= millrace_system_time(t._timestamp)`. It says that t's rows as they were at e are meant;
/// evaluated, it fails.
inline constexpr std::string_view kSystemTime = "millrace_system_time";

/// Replaces TUMBLE, HOP, CUMULATE and SESSION in every FROM of `statement` with plain SQL that
/// gives all columns of their relation plus window_start and window_end. Throws as DuckDB's binder
/// does.
void rewrite_windows(duckdb::SQLStatement& statement, WindowsFor whom);

/// Registers the functions that such SQL calls. Once an instance.
void register_window_functions(duckdb::DuckDB& instance);

}  // namespace millrace::sql
