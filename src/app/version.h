#pragma once

namespace millrace::app {
inline constexpr const char* kVersion = MR_VERSION;  // from CMakeLists.txt
}
