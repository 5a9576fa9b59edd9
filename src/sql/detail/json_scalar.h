#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::sql {

// How our JSON spells scalars, both ways. The readers take text from outside and answer false (or
// nothing) when it is not of the type; the writers append. docs/formats.md says the spellings.

/// True when `text` is a number of RFC 8259 and nothing else.
bool is_json_number(std::string_view text);

/// A number's text as an integer of units 10^-scale.
struct ScaledNumber {
  bool negative = false;
  unsigned __int128 magnitude = 0;
  bool exact = true;  // false: digits below the scale were rounded, half away from zero
};
/// Nothing when the magnitude passes 2^128 - 1. `text` is a JSON number.
std::optional<ScaledNumber> read_scaled(std::string_view text, unsigned scale);

/// "YYYY-MM-DD[T| ]HH:MM[:SS[.f]][Z|+HH[:MM]]" and what DuckDB reads besides, as microseconds since
/// 1970 UTC; a text without an offset is UTC.
bool read_timestamp(std::string_view text, int64_t* us);
bool read_date(std::string_view text, int32_t* days);
bool read_time(std::string_view text, int64_t* us);
bool read_base64(std::string_view text, std::string* bytes);
bool read_uuid(std::string_view text, unsigned __int128* bits);

void write_integer(int64_t value, std::string& out);
void write_unsigned(uint64_t value, std::string& out);
void write_scaled(bool negative, unsigned __int128 magnitude, unsigned scale, std::string& out);
/// The shortest text that reads back as the same value; "NaN", "Infinity" and "-Infinity" as
/// strings.
void write_double(double value, std::string& out);
void write_float(float value, std::string& out);
/// Quoted. With `zone`, a Z stands at the end.
void write_timestamp(int64_t us, bool zone, std::string& out);
void write_date(int32_t days, std::string& out);
void write_time(int64_t us, std::string& out);
/// With the offset from UTC in seconds: "12:00:00+01:30".
void write_time_tz(int64_t us, int32_t offset, std::string& out);
void write_base64(std::string_view bytes, std::string& out);

}  // namespace millrace::sql
