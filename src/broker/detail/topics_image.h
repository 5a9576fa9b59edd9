#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"

namespace re2 {
class RE2;
}

namespace millrace::broker::detail {

/// The topics that members can be given partitions of, at one moment. Immutable; shared by all
/// groups, which look again at what they are subscribed to when there is another version.
class TopicsImage {
 public:
  struct Entry {
    std::string name;
    Uuid id;
    int32_t partitions = 0;
  };
  /// Names and ids are each unique.
  TopicsImage(uint64_t version, std::vector<Entry> entries);

  uint64_t version() const { return version_; }
  const std::vector<Entry>& list() const { return entries_; }  // by name
  /// Null: no such topic.
  const Entry* find(std::string_view name) const;
  const Entry* find(const Uuid& id) const;

 private:
  const uint64_t version_;
  std::vector<Entry> entries_;
  std::map<Uuid, size_t> by_id_;
};

/// Keeps the image of a broker's topics, made anew when they have changed. One shard.
class TopicsWatch {
 public:
  explicit TopicsWatch(const Broker& broker) : broker_(broker) {}
  /// The image as of now or, unless it must be `fresh`, as of some 100 ms ago. To find that nothing
  /// has changed takes some 10 ns a topic.
  std::shared_ptr<const TopicsImage> image(std::chrono::steady_clock::time_point now, bool fresh);

 private:
  const Broker& broker_;
  std::chrono::steady_clock::time_point looked_;
  std::vector<std::shared_ptr<const Topic>> topics_;
  std::shared_ptr<const TopicsImage> image_;
};

/// A regular expression over names of topics, in RE2's syntax as Kafka's, which takes linear time
/// whatever the pattern. A name matches as a whole.
class TopicPattern {
 public:
  /// Errors: kInvalidRegex.
  static Result<TopicPattern> parse(const std::string& text);
  ~TopicPattern();
  TopicPattern(TopicPattern&&) noexcept;
  TopicPattern& operator=(TopicPattern&&) noexcept;

  bool matches(std::string_view name) const;

 private:
  explicit TopicPattern(std::unique_ptr<re2::RE2> compiled);
  std::unique_ptr<re2::RE2> compiled_;
};

}  // namespace millrace::broker::detail
