#pragma once

#include <string>
#include <string_view>

#include "catalog/catalog.h"
#include "catalog/replacement.h"

namespace millrace::catalog {

// A sink is an internal materialized view named `<topic>.sink`; flow writes its changelog to the
// topic `<topic>`, in the format of the sink.

inline constexpr std::string_view kSinkSuffix = ".sink";
/// Before the names of a sink's own options (format, key), and of those that its topic gets.
inline constexpr std::string_view kSinkOption = "sink.";

inline bool is_sink(const Object& object) {
  return object.kind == Kind::kMaterializedView && object.internal &&
         object.name.ends_with(kSinkSuffix);
}
inline std::string sink_view(std::string_view topic) {
  return std::string(topic) + std::string(kSinkSuffix);
}
/// The topic that the sink writes.
inline std::string sink_topic(const Object& sink) {
  return sink.name.substr(0, sink.name.size() - kSinkSuffix.size());
}
/// The sink that writes `topic`; null: none does.
inline const Object* sink_of(const Snapshot& snapshot, std::string_view topic) {
  const auto* found = snapshot.find(sink_view(topic));
  return found && is_sink(*found) ? found : nullptr;
}

/// What the user calls it.
inline std::string_view shown_kind(const Object& object) {
  return is_sink(object) ? "sink" : name_of(object.kind);
}
inline std::string shown_name(const Object& object) {
  if (is_replacement(object)) return shown_name(as_stated(object));
  return is_sink(object) ? sink_topic(object) : object.name;
}

}  // namespace millrace::catalog
