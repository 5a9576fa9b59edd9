#pragma once

#include <string>

#include "base/result.h"

namespace millrace::app {

/// All bytes of a file that the user named. Errors: kNotFound, kIo (a folder, for one), with the
/// path and the reason.
Result<std::string> read_file(const std::string& path);

}  // namespace millrace::app
