#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace millrace {

const ErrorInfo& info(ErrorCode code) {
  static constexpr ErrorInfo kInfos[] = {
#define MR_ERROR(name, ...) {std::string_view(#name).substr(1), __VA_ARGS__},
#include "base/errors.def"
#undef MR_ERROR
  };
  return kInfos[static_cast<size_t>(code)];
}

void detail::check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "millrace: broken promise: %s at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace millrace
