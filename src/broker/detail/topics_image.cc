#include "broker/detail/topics_image.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>

namespace millrace::broker::detail {

namespace {

/// Of one compiled pattern; a pattern that needs more is refused.
constexpr int64_t kPatternBytesMax = 1 << 20;
constexpr auto kLookInterval = std::chrono::milliseconds(100);

}  // namespace

TopicsImage::TopicsImage(uint64_t version, std::vector<Entry> entries)
    : version_(version), entries_(std::move(entries)) {
  std::ranges::sort(entries_, {}, &Entry::name);
  for (size_t i = 0; i < entries_.size(); ++i) by_id_.emplace(entries_[i].id, i);
}

const TopicsImage::Entry* TopicsImage::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(entries_, name, {}, &Entry::name);
  return at != entries_.end() && at->name == name ? &*at : nullptr;
}

const TopicsImage::Entry* TopicsImage::find(const Uuid& id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &entries_[at->second];
}

std::shared_ptr<const TopicsImage> TopicsWatch::image(std::chrono::steady_clock::time_point now,
                                                      bool fresh) {
  if (image_ && !fresh && now - looked_ < kLookInterval) return image_;
  looked_ = now;
  auto topics = broker_.list();
  // A topic that changes is another object.
  if (image_ && topics == topics_) return image_;
  std::vector<TopicsImage::Entry> entries;
  entries.reserve(topics.size());
  for (const auto& topic : topics) {
    entries.push_back({.name = topic->object.name,
                       .id = topic->object.id,
                       .partitions = static_cast<int32_t>(topic->partitions.size())});
  }
  topics_ = std::move(topics);
  image_ = std::make_shared<TopicsImage>(image_ ? image_->version() + 1 : 1, std::move(entries));
  return image_;
}

Result<TopicPattern> TopicPattern::parse(const std::string& text) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kPatternBytesMax);
  auto compiled = std::make_unique<RE2>(text, options);
  if (!compiled->ok()) {
    return Error{ErrorCode::kInvalidRegex,
                 fmt::format("SubscribedTopicRegex '{}' is not a valid regular expression: {}",
                             text, compiled->error())};
  }
  return TopicPattern(std::move(compiled));
}

TopicPattern::TopicPattern(std::unique_ptr<re2::RE2> compiled) : compiled_(std::move(compiled)) {}
TopicPattern::~TopicPattern() = default;
TopicPattern::TopicPattern(TopicPattern&&) noexcept = default;
TopicPattern& TopicPattern::operator=(TopicPattern&&) noexcept = default;

bool TopicPattern::matches(std::string_view name) const {
  return RE2::FullMatch({name.data(), name.size()}, *compiled_);
}

}  // namespace millrace::broker::detail
