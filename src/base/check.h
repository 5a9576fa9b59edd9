#pragma once

namespace millrace::detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}

/// Ends the process, in release too, when one of our own promises is broken. Never for bytes from
/// outside.
#define MR_CHECK(condition)     \
  (static_cast<bool>(condition) \
       ? void()                 \
       : ::millrace::detail::check_failed(#condition, __FILE__, __LINE__))
