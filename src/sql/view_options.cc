#include "sql/view_options.h"

#include <charconv>

namespace millrace::sql {

ViewOptions ViewOptions::of(const catalog::Object& view) {
  ViewOptions options;
  const auto text = [&](std::string_view name) -> std::string_view {
    const auto at = view.options.find(std::string(name));
    return at == view.options.end() ? std::string_view() : at->second;
  };
  options.emit_on_window_close = text(kEmit) == kOnWindowClose;
  options.keep_late = text(kLate) != kDrop;
  int64_t ms = 0;
  const auto lateness = text(kAllowedLatenessMs);
  std::from_chars(lateness.data(), lateness.data() + lateness.size(), ms);
  options.allowed_lateness = std::chrono::milliseconds(ms);
  return options;
}

}  // namespace millrace::sql
