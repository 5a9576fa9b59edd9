#pragma once

#include <chrono>
#include <string_view>

#include "catalog/catalog.h"

namespace millrace::sql {

/// What a materialized view's statement says beside its query. Kept among the object's options,
/// under names that begin with "view.": they are no options of its log.
struct ViewOptions {
  static constexpr std::string_view kPrefix = "view.";
  static constexpr std::string_view kEmit = "view.emit";
  static constexpr std::string_view kOnWindowClose = "on_window_close";
  static constexpr std::string_view kAllowedLatenessMs = "view.allowed_lateness.ms";
  static constexpr std::string_view kLate = "view.late";
  static constexpr std::string_view kDrop = "drop";

  bool emit_on_window_close = false;  // EMIT ON WINDOW CLOSE
  /// How much longer than the watermark says windows stay open: allowed_lateness.
  std::chrono::milliseconds allowed_lateness{0};
  bool keep_late = true;  // rows that come too late go to <view>.late; late = 'drop': they do not

  static ViewOptions of(const catalog::Object& view);
};

}  // namespace millrace::sql
