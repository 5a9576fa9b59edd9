#include "app/detail/read_file.h"

#include "base/io/env.h"

namespace millrace::app {

Result<std::string> read_file(const std::string& path) {
  return io::make_real_env()->files().read_file(path);
}

}  // namespace millrace::app
