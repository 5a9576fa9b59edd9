#pragma once

#include <map>
#include <string>
#include <string_view>

#include "catalog/catalog.h"

namespace millrace::catalog {

// A connector brings records from another system into a topic (kSource) or a topic's records to one
// (kSink). Its options say what the statement said: which connector, which topic, and behind
// kWithOption each option of WITH. Some of these are secret: who shows them asks is_secret().

inline constexpr const char* kConnectorOption = "connector";  // "kafka", "http"
inline constexpr const char* kTopicOption = "topic";          // of ours
inline constexpr const char* kPausedOption = "paused";
inline constexpr std::string_view kWithOption = "with.";

inline bool is_connector(const Object& object) {
  return object.kind == Kind::kSource || object.kind == Kind::kSink;
}
inline std::string option_of(const Object& object, const std::string& name) {
  const auto found = object.options.find(name);
  return found == object.options.end() ? std::string() : found->second;
}
/// What WITH said.
inline std::map<std::string, std::string> with_options(const Object& connector) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : connector.options) {
    if (name.starts_with(kWithOption)) out.emplace(name.substr(kWithOption.size()), value);
  }
  return out;
}
/// Whether an option of WITH may hold what nobody is to see: passwords, keys, headers that
/// authorize.
inline bool is_secret(std::string_view option) {
  for (const std::string_view word : {"password", "secret", "token", "headers", ".key", "jaas",
                                      "credential", "oauthbearer.config"}) {
    if (option.find(word) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace millrace::catalog
