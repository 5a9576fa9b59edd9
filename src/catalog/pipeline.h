#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/function.h"

namespace millrace::catalog {

// A pipeline (CREATE TRANSFORM) reads topics, sends their records through its transforms, and
// writes what comes out to topics. It is an object of kind kPipeline: its transforms stand in the
// object, what else there is in the object's options.

/// Lists of topics' names, with commas between, which no such name has.
inline constexpr const char* kPipelineInputs = "inputs";
inline constexpr const char* kPipelineOutputs = "outputs";
/// Where it begins in an input: "end", "beginning", "offset N", "timestamp MS".
inline constexpr const char* kPipelineStart = "start";
inline constexpr const char* kPipelinePaused = "paused";
/// The topic of a pipeline's positions and states is named so, and after the pipeline's id.
inline constexpr std::string_view kPipelineStatePrefix = "__transform_";

inline std::string pipeline_option(const Object& pipeline, const char* name) {
  const auto found = pipeline.options.find(name);
  return found == pipeline.options.end() ? std::string() : found->second;
}
/// The names in the option `list`: kPipelineInputs or kPipelineOutputs.
inline std::vector<std::string> pipeline_topics(const Object& pipeline, const char* list) {
  std::vector<std::string> out;
  const auto all = pipeline_option(pipeline, list);
  for (size_t from = 0; from < all.size();) {
    const size_t comma = std::min(all.find(',', from), all.size());
    out.push_back(all.substr(from, comma - from));
    from = comma + 1;
  }
  return out;
}
/// What kind of export `step` is, as its function has it now; empty: there is none of that name.
inline std::string export_kind(const Snapshot& snapshot, const Transform& step) {
  const auto* function = snapshot.find(step.function);
  if (!function) return {};
  for (const auto& each : module_exports(*function)) {
    if (each.name == step.export_name) return each.kind;
  }
  return {};
}
inline std::string pipeline_state_topic(const Object& pipeline) {
  return std::string(kPipelineStatePrefix) + pipeline.id.to_string();
}

}  // namespace millrace::catalog
