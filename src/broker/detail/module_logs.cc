#include "broker/detail/transforms_impl.h"

namespace millrace::broker::detail {

namespace {
constexpr size_t kLineBytesMax = 4096;
}  // namespace

void ModuleLogs::add(const wasm::LogLine& line, TimestampMs now) {
  ModuleLogLine kept{.at = now,
                     .function = {},
                     .module = line.module.hash(),
                     .place = std::string(line.place),
                     .transform = std::string(line.transform),
                     .level = std::string(wasm::to_string(line.level)),
                     .text = std::string(line.text.substr(0, kLineBytesMax))};
  std::lock_guard lock(mutex_);
  if (lines_.size() >= lines_max_) lines_.pop_front();
  lines_.push_back(std::move(kept));
}

std::vector<ModuleLogLine> ModuleLogs::lines() const {
  std::lock_guard lock(mutex_);
  return {lines_.begin(), lines_.end()};
}

}  // namespace millrace::broker::detail
