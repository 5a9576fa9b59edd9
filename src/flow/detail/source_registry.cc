#include "flow/detail/source_registry.h"

#include <fmt/format.h>

namespace millrace::flow {

bool is_same(const broker::Topic& a, const broker::Topic& b) {
  const auto format = [](const catalog::Object& object) {
    const auto found = object.options.find("format");
    return found == object.options.end() ? std::string() : found->second;
  };
  return a.object.id == b.object.id && a.object.columns == b.object.columns &&
         a.object.watermark == b.object.watermark && a.partitions.size() == b.partitions.size() &&
         format(a.object) == format(b.object);
}

Result<std::shared_ptr<Source>> SourceRegistry::get(const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto topic = broker_.find(name);
  if (!topic) return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic {}", name)};
  auto& known = sources_[name];
  auto source = known.lock();
  if (source && is_same(source->topic(), *topic)) return source;
  std::unique_ptr<WatermarkExpression> watermark;
  if (topic->object.watermark) {
    MR_TRY(watermark, WatermarkExpression::make(engine_, topic->object));
  }
  source = std::make_shared<Source>(env_, topic, budget_, std::move(watermark));
  known = source;
  return source;
}

}  // namespace millrace::flow
