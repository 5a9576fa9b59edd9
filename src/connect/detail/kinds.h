#pragma once

#include <functional>
#include <memory>

#include "connect/connectors.h"
#include "connect/detail/body.h"
#include "connect/detail/options.h"
#include "connect/detail/progress.h"
#include "connect/detail/sink.h"
#include "connect/detail/source.h"

namespace millrace::connect {

/// What a connector's options say, read once: makes what each run needs, which learns from the
/// progress when to give up. One of the two is set.
struct Recipe {
  std::function<std::unique_ptr<Source>(const Progress&)> source;
  std::function<std::unique_ptr<Sink>(const Progress&)> sink;
  bool from_latest = false;  // a sink's first run begins at the topic's end
  Backoff backoff;
  /// A source without these is fed by others, and has no thread.
  bool polls = true;
  BodyFormat format = BodyFormat::kJson;  // of what others feed
};

// One function a kind of connector. Each takes its options and calls nobody. Errors:
// kInvalidConfig.
Result<Recipe> kafka_source(Options& options, const catalog::Object& object);
Result<Recipe> kafka_sink(Options& options, const catalog::Object& object);
Result<Recipe> http_source(Options& options, const catalog::Object& object);
Result<Recipe> http_sink(Options& options, const catalog::Object& object);

/// What `object` says. Errors: kNotSupported (no such connector), kInvalidConfig.
Result<Recipe> recipe_of(const catalog::Object& object);

}  // namespace millrace::connect
