#include <algorithm>

#include "broker/detail/transforms_impl.h"

namespace millrace::broker {

using catalog::Transform;

TopicTransforms::TopicTransforms(const catalog::Object& topic)
    : topic_(topic.name), all_(topic.transforms), ready_(std::make_unique<Ready>()) {
  const auto options = effective_options(topic);
  if (const auto config = to_log_config(options)) {
    ready_->inflated_bytes_max = log::intake_rules(*config, false).inflated_bytes_max;
    ready_->keys_required = config->cleanup_compact;
  }
}
TopicTransforms::~TopicTransforms() = default;

std::shared_ptr<const TopicTransforms> TopicTransforms::of(const catalog::Object& topic) {
  if (topic.transforms.empty()) return nullptr;
  return std::shared_ptr<const TopicTransforms>(new TopicTransforms(topic));
}

bool TopicTransforms::any(Transform::Place place) const {
  return std::ranges::find(all_, place, &Transform::place) != all_.end();
}

std::vector<Transform> TopicTransforms::steps(Transform::Place place, std::string_view group,
                                              std::string_view user) const {
  std::vector<Transform> out;
  std::ranges::copy_if(all_, std::back_inserter(out), [&](const Transform& each) {
    return each.place == place && (each.group.empty() || each.group == group) &&
           (each.user.empty() || each.user == user);
  });
  return out;
}

}  // namespace millrace::broker
