#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::wasm {

/// What a transform does with records; docs/guest-abi.md.
enum class Kind { kFilter, kMap, kFilterMap, kExpand, kAggregate, kScalar };
/// "filter", "filter_map", …
std::string_view to_string(Kind kind);
std::optional<Kind> kind_of(std::string_view name);

/// One transform that a module exports.
struct Transform {
  std::string name;
  Kind kind = Kind::kFilter;
  bool has_init = false;  // takes parameters
  bool has_look_back = false;
};

/// What a guest may use. Exceeded: that call fails, and the instance is gone.
struct Limits {
  size_t memory_bytes = size_t{64} << 20;  // at most Module::kMemoryBytesMax
  /// CPU time of one call. What runs once at an instance's start (its constructors, init,
  /// look-back) has four times as much.
  std::chrono::milliseconds time_slice{50};
  /// Output of a call: at most `output_ratio` times its input and this much more, in bytes and in
  /// records.
  size_t output_ratio = 16;
  size_t output_bytes_more = size_t{1} << 20;
  size_t output_records_more = size_t{1} << 16;
  bool operator==(const Limits&) const = default;
};

/// What a module or a chain has done since it was loaded; a snapshot.
struct Counters {
  uint64_t batches = 0;
  uint64_t failures = 0;  // batches that failed as a whole
  uint64_t records_in = 0;
  uint64_t records_out = 0;
  uint64_t record_errors = 0;
  uint64_t cpu_ns = 0;        // in the guest and in handing records over
  uint64_t memory_bytes = 0;  // the largest that an instance's memory was
  uint64_t instances = 0;     // alive now
};

/// A compiled guest module. Immutable but for its counters; any thread. The same bytes loaded twice
/// are one module. May outlive its Engine, but no longer be called then.
class Module {
 public:
  static constexpr size_t kBytesMax = size_t{32} << 20;
  static constexpr size_t kMemoryBytesMax = size_t{256} << 20;
  static constexpr uint64_t kFailuresMax = 100;

  struct Impl;  // of the room
  explicit Module(std::unique_ptr<Impl> impl);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// SHA-256 of the module's bytes, 64 hex digits.
  const std::string& hash() const;
  size_t bytes() const;
  /// By name. A module has at least one.
  const std::vector<Transform>& transforms() const;
  const Transform* find(std::string_view name) const;

  Counters counters() const;
  /// After 100 failed batches in a row: every call fails at once, until resume(). A new version of
  /// the module is another module.
  bool paused() const;
  void resume();

  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Makes a binary module of its text form (WAT). Errors: kSyntax, with the place.
Result<std::string> assemble(std::string_view text);

}  // namespace millrace::wasm
