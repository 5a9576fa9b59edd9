#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "catalog/catalog.h"

namespace millrace::catalog {

// CREATE OR REPLACE MATERIALIZED VIEW makes the new view beside the old one: an internal view named
// `__changelog_<its id>`, with a changelog of its own, which says in kReplacesOption whose
// replacement it is. When it has caught up, the old one's object gets its definition, and says in
// kChangelogOption whose changelog it goes on with; that record in the catalog is the moment of the
// change. The replacement's object goes then.
//
// A view that others read, and a sink, keep their log, since their readers stand in it: the
// replacement says kBridgedOption, and that record in the catalog says in kBridgeOption where the
// log goes on with the new query.

inline constexpr std::string_view kChangelogPrefix = "__changelog_";
inline constexpr const char* kReplacesOption = "replaces";
inline constexpr const char* kChangelogOption = "changelog";
inline constexpr const char* kBridgedOption = "bridged";
inline constexpr const char* kBridgeOption = "bridge";

/// Where a view's log goes on with another query than before: an epoch that takes back what the old
/// one gave and the new one does not, and adds what the new one gives.
struct Bridge {
  int64_t at = 0;      // the offset of its first record
  uint64_t epoch = 0;  // its number
  std::string from;    // the replacement's id
  bool operator==(const Bridge&) const = default;

  std::string to_string() const {
    return std::to_string(at) + " " + std::to_string(epoch) + " " + from;
  }
};
/// The last one of the view's log; nullopt: it is all of one query.
inline std::optional<Bridge> bridge_of(const Object& view) {
  const auto found = view.options.find(kBridgeOption);
  if (found == view.options.end()) return std::nullopt;
  Bridge bridge;
  std::istringstream(found->second) >> bridge.at >> bridge.epoch >> bridge.from;
  return bridge;
}

inline bool is_replacement(const Object& object) {
  return object.options.contains(kReplacesOption);
}
/// The one that is on its way to the place of `view`; null: none is.
inline const Object* replacement_of(const Snapshot& snapshot, std::string_view view) {
  const auto all = snapshot.list();
  const auto found = std::ranges::find_if(all, [&](const Object* object) {
    return is_replacement(*object) && object->options.at(kReplacesOption) == view;
  });
  return found == all.end() ? nullptr : *found;
}
/// What the folders of its log are named after.
inline std::string log_name(const Object& object) {
  const auto found = object.options.find(kChangelogOption);
  return found == object.options.end() ? object.name : found->second;
}
/// Tells a view's changelog from every other, those that a view of this name had before included.
inline std::string changelog_id(const Object& object) {
  const auto name = log_name(object);
  return name.starts_with(kChangelogPrefix) ? name.substr(kChangelogPrefix.size())
                                            : object.id.to_string();
}
/// Tells a view's state from that of every other query that wrote its changelog.
inline std::string state_id(const Object& object) {
  const auto bridge = bridge_of(object);
  return bridge ? bridge->from : changelog_id(object);
}
/// What a statement has said: without what the node adds to it.
inline Object as_stated(Object object) {
  if (is_replacement(object)) {
    object.name = object.options.at(kReplacesOption);
    object.internal = object.options.contains("sink.format");
  }
  for (const char* added :
       {kReplacesOption, kChangelogOption, kBridgedOption, kBridgeOption, "paused"})
    object.options.erase(added);
  return object;
}

}  // namespace millrace::catalog
