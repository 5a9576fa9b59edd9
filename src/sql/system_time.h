#pragma once

namespace millrace::sql {

/// The function that `JOIN t FOR SYSTEM_TIME AS OF e` leaves in a plan: an ASOF join with
/// `e >= millrace_system_time(t._timestamp)`. It says that t's rows as they were at e are meant;
/// evaluated, it fails.
constexpr const char* kSystemTime = "millrace_system_time";

}  // namespace millrace::sql
