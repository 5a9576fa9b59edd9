#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/catalog.h"

namespace millrace::catalog {

// A function is a Wasm module under a name. The catalog holds what is known of it, in the object's
// options; the module's bytes are a file in the node's folder, named after their hash, which is
// also the function's version.

inline constexpr const char* kModuleHash = "hash";
inline constexpr const char* kModuleBytes = "bytes";
/// What it exports, as "kind name" with commas between: "filter keep, map redact".
inline constexpr const char* kModuleExports = "exports";

inline std::string module_hash(const Object& function) {
  const auto found = function.options.find(kModuleHash);
  return found == function.options.end() ? std::string() : found->second;
}

struct ModuleExport {
  std::string kind;  // filter, map, filter_map, expand, aggregate, scalar
  std::string name;
};
inline std::vector<ModuleExport> module_exports(const Object& function) {
  std::vector<ModuleExport> out;
  const auto found = function.options.find(kModuleExports);
  std::string_view left = found == function.options.end() ? std::string_view() : found->second;
  while (!left.empty()) {
    const auto one = left.substr(0, left.find(", "));
    left.remove_prefix(std::min(left.size(), one.size() + 2));
    const auto space = one.find(' ');
    if (space == std::string_view::npos) continue;
    out.push_back({std::string(one.substr(0, space)), std::string(one.substr(space + 1))});
  }
  return out;
}

/// "produce", "fetch", "pipeline", "source", "sink"
inline std::string_view name_of(Transform::Place place) {
  switch (place) {
    case Transform::Place::kProduce:
      return "produce";
    case Transform::Place::kFetch:
      return "fetch";
    case Transform::Place::kPipeline:
      return "pipeline";
    case Transform::Place::kSource:
      return "source";
    case Transform::Place::kSink:
      return "sink";
  }
  return "produce";
}
/// "reject", "dead_letter", "skip"
inline std::string_view name_of(Transform::OnError on_error) {
  switch (on_error) {
    case Transform::OnError::kReject:
      return "reject";
    case Transform::OnError::kDeadLetter:
      return "dead_letter";
    case Transform::OnError::kSkip:
      return "skip";
  }
  return "reject";
}

/// Whether the object's records are a topic of the broker.
inline bool has_log(const Object& object) {
  return object.kind == Kind::kTopic || object.kind == Kind::kTable ||
         object.kind == Kind::kMaterializedView;
}

}  // namespace millrace::catalog
