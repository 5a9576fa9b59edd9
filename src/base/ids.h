#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

/// The position of a record in its partition, from 0.
using Offset = int64_t;
/// Milliseconds since 1970-01-01 UTC, as Kafka's record timestamps.
using TimestampMs = int64_t;

/// 16 random bytes that name an object for ever (Kafka's topic id). All zero means none.
struct Uuid {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Uuid&) const = default;
  bool is_zero() const { return *this == Uuid{}; }
  /// Version 4, from the system's randomness.
  static Uuid random();
  /// 8-4-4-4-12 hex digits.
  std::string to_string() const;
  static Result<Uuid> parse(std::string_view text);
};

}  // namespace millrace
