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

// Of a function of SQL, which is one scalar of its module: its arguments are the object's columns.
inline constexpr const char* kReturns = "returns";  // the result's type
inline constexpr const char* kScalarExport = "export";
inline constexpr std::string_view kScalarParam = "param.";  // before the names of its parameters
inline constexpr std::string_view kScalarLimit = "limit.";  // before those of its limits
// Limits and look-back, as Transform::options has them: whole numbers.
inline constexpr const char* kMemoryLimit = "memory_bytes";
inline constexpr const char* kTimeSliceLimit = "time_slice_ms";
inline constexpr const char* kExpansionLimit = "expansion";
inline constexpr const char* kLookBackRecords = "look_back_records";
inline constexpr const char* kLookBackMs = "look_back_ms";

inline bool is_scalar(const Object& object) {
  return object.kind == Kind::kFunction && object.options.contains(kReturns);
}
/// A scalar with its parameters and limits, as a step.
inline Transform scalar_step(const Object& function) {
  Transform step{.function = function.name, .export_name = function.options.at(kScalarExport)};
  for (const auto& [name, value] : function.options) {
    if (name.starts_with(kScalarParam)) step.params[name.substr(kScalarParam.size())] = value;
    if (name.starts_with(kScalarLimit)) step.options[name.substr(kScalarLimit.size())] = value;
  }
  return step;
}
/// "(VARCHAR, DOUBLE) RETURNS DOUBLE"
inline std::string scalar_signature(const Object& function) {
  std::string types;
  for (const auto& argument : function.columns) {
    types += (types.empty() ? "" : ", ") + argument.type;
  }
  return "(" + types + ") RETURNS " + function.options.at(kReturns);
}

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
