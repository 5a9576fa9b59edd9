#include "broker/detail/topics.h"

#include <mutex>

namespace millrace::broker::detail {

Topics::Ref Topics::find(std::string_view name) const {
  std::shared_lock lock(mutex_);
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : at->second;
}

Topics::Ref Topics::find(const Uuid& id) const {
  std::shared_lock lock(mutex_);
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : at->second;
}

std::vector<Topics::Ref> Topics::list() const {
  std::shared_lock lock(mutex_);
  std::vector<Ref> out;
  out.reserve(by_name_.size());
  for (const auto& [name, topic] : by_name_) out.push_back(topic);
  return out;
}

void Topics::put(Ref topic) {
  std::unique_lock lock(mutex_);
  auto& slot = by_name_[topic->object.name];
  if (slot) by_id_.erase(slot->object.id);
  by_id_[topic->object.id] = topic;
  slot = std::move(topic);
}

void Topics::erase(const std::string& name) {
  std::unique_lock lock(mutex_);
  const auto at = by_name_.find(name);
  if (at == by_name_.end()) return;
  by_id_.erase(at->second->object.id);
  by_name_.erase(at);
}

}  // namespace millrace::broker::detail
