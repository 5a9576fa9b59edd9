#include "sql/detail/json_scalar.h"

#include <duckdb/common/types/date.hpp>
#include <duckdb/common/types/time.hpp>
#include <duckdb/common/types/timestamp.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

namespace millrace::sql {
namespace {

constexpr int64_t kUsPerSecond = 1'000'000;
constexpr int64_t kUsPerDay = 86'400 * kUsPerSecond;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// `count` digits at the head of `text`, or -1.
int take_digits(std::string_view text, size_t count) {
  if (text.size() < count) return -1;
  int value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

/// Days since 1970-01-01 of a proleptic Gregorian date. Source: Howard Hinnant, chrono-Compatible
/// Low-Level Date Algorithms.
int32_t days_of(int year, int month, int day) {
  year -= month <= 2;
  const int era = (year >= 0 ? year : year - 399) / 400;
  const int year_of_era = year - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

struct Civil {
  int year, month, day;
};

Civil civil_of(int64_t days) {
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int day_of_era = static_cast<int>(days - era * 146'097);
  const int year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int shifted = (5 * day_of_year + 2) / 153;
  const int month = shifted < 10 ? shifted + 3 : shifted - 9;
  const int year = static_cast<int>(year_of_era + era * 400) + (month <= 2 ? 1 : 0);
  return {year, month, day_of_year - (153 * shifted + 2) / 5 + 1};
}

int days_in(int year, int month) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[static_cast<size_t>(month - 1)];
}

/// "YYYY-MM-DD" at the head of `text`, years 0001 to 9999.
bool plain_date(std::string_view text, int32_t* days) {
  if (text.size() < 10 || text[4] != '-' || text[7] != '-') return false;
  const int year = take_digits(text, 4);
  const int month = take_digits(text.substr(5), 2);
  const int day = take_digits(text.substr(8), 2);
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month)) return false;
  *days = days_of(year, month, day);
  return true;
}

/// "HH:MM[:SS[.f]]" at the head of `text`, which it shortens by what it read.
bool plain_time(std::string_view& text, int64_t* us) {
  if (text.size() < 5 || text[2] != ':') return false;
  const int hour = take_digits(text, 2);
  const int minute = take_digits(text.substr(3), 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return false;
  text.remove_prefix(5);
  int second = 0;
  int64_t fraction = 0;
  if (!text.empty() && text[0] == ':') {
    second = take_digits(text.substr(1), 2);
    if (second < 0 || second > 59) return false;
    text.remove_prefix(3);
    if (text.size() > 1 && text[0] == '.') {
      size_t digits = 0;
      for (; digits + 1 < text.size() && is_digit(text[digits + 1]); ++digits) {
        if (digits == 6) return false;  // finer than microseconds: DuckDB decides
        fraction = fraction * 10 + (text[digits + 1] - '0');
      }
      if (digits == 0) return false;
      text.remove_prefix(digits + 1);
      for (; digits < 6; ++digits) fraction *= 10;
    }
  }
  *us = ((hour * 60 + minute) * 60 + second) * kUsPerSecond + fraction;
  return true;
}

/// "", "Z", "+HH", "+HHMM" or "+HH:MM": what to subtract to get UTC.
bool plain_offset(std::string_view text, int64_t* us) {
  *us = 0;
  if (text.empty() || text == "Z" || text == "z") return true;
  if (text[0] != '+' && text[0] != '-') return false;
  const int hour = take_digits(text.substr(1), 2);
  int minute = 0;
  if (hour < 0 || hour > 15) return false;
  std::string_view rest = text.substr(3);
  if (!rest.empty() && rest[0] == ':') rest.remove_prefix(1);
  if (!rest.empty()) {
    minute = take_digits(rest, 2);
    if (minute < 0 || minute > 59 || rest.size() != 2) return false;
  }
  *us = (hour * 60 + minute) * 60 * kUsPerSecond * (text[0] == '-' ? -1 : 1);
  return true;
}

void append_two(int value, std::string& out) {
  out.push_back(static_cast<char>('0' + value / 10));
  out.push_back(static_cast<char>('0' + value % 10));
}

void append_date(const Civil& civil, std::string& out) {
  append_two(civil.year / 100, out);
  append_two(civil.year % 100, out);
  out.push_back('-');
  append_two(civil.month, out);
  out.push_back('-');
  append_two(civil.day, out);
}

void append_time(int64_t us, std::string& out) {
  const int second = static_cast<int>(us / kUsPerSecond);
  append_two(second / 3600, out);
  out.push_back(':');
  append_two(second / 60 % 60, out);
  out.push_back(':');
  append_two(second % 60, out);
  int fraction = static_cast<int>(us % kUsPerSecond);
  if (fraction == 0) return;
  std::array<char, 7> digits{'.'};
  for (size_t i = 6; i > 0; --i, fraction /= 10) digits[i] = static_cast<char>('0' + fraction % 10);
  size_t length = digits.size();
  while (digits[length - 1] == '0') --length;
  out.append(digits.data(), length);
}

}  // namespace

bool is_json_number(std::string_view text) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t from = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i > from;
  };
  if (i < text.size() && text[i] == '-') ++i;
  if (i < text.size() && text[i] == '0') {
    ++i;
  } else if (!digits()) {
    return false;
  }
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == text.size();
}

std::optional<ScaledNumber> read_scaled(std::string_view text, unsigned scale) {
  ScaledNumber result;
  if (!text.empty() && text[0] == '-') {
    result.negative = true;
    text.remove_prefix(1);
  }
  const size_t mantissa_end = std::min(text.find_first_of("eE"), text.size());
  const std::string_view mantissa = text.substr(0, mantissa_end);
  int64_t exponent = 0;
  if (mantissa_end < text.size()) {
    std::string_view digits = text.substr(mantissa_end + 1);
    if (digits[0] == '+') digits.remove_prefix(1);
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), exponent);
    // An exponent past any number's length is as good as one at it.
    if (error != std::errc()) exponent = digits[0] == '-' ? INT32_MIN : INT32_MAX;
    exponent = std::clamp<int64_t>(exponent, INT32_MIN, INT32_MAX);
  }
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  // The digits before this position, counted without the point, are kept.
  int64_t keep = static_cast<int64_t>(point) + exponent + scale;
  constexpr auto kMax = ~static_cast<unsigned __int128>(0);
  bool round_up = false;
  for (const char c : mantissa) {
    if (c == '.') continue;
    const unsigned digit = static_cast<unsigned>(c - '0');
    if (keep > 0) {
      if (result.magnitude > (kMax - digit) / 10) return std::nullopt;
      result.magnitude = result.magnitude * 10 + digit;
    } else {
      if (keep == 0) round_up = digit >= 5;
      if (digit != 0) result.exact = false;
    }
    --keep;
  }
  for (; keep > 0 && result.magnitude != 0; --keep) {
    if (result.magnitude > kMax / 10) return std::nullopt;
    result.magnitude *= 10;
  }
  if (round_up) {
    if (result.magnitude == kMax) return std::nullopt;
    ++result.magnitude;
  }
  return result;
}

bool read_timestamp(std::string_view text, int64_t* us) {
  int32_t days = 0;
  int64_t time = 0, offset = 0;
  if (plain_date(text, &days)) {
    std::string_view rest = text.substr(10);
    if (rest.empty()) {
      *us = days * kUsPerDay;
      return true;
    }
    if (rest[0] == 'T' || rest[0] == ' ' || rest[0] == 't') {
      rest.remove_prefix(1);
      if (plain_time(rest, &time) && plain_offset(rest, &offset)) {
        *us = days * kUsPerDay + time - offset;
        return true;
      }
    }
  }
  duckdb::timestamp_t stamp;
  bool has_offset = false;
  duckdb::string_t zone("", 0);
  const auto result = duckdb::Timestamp::TryConvertTimestampTZ(text.data(), text.size(), stamp,
                                                               true, has_offset, zone, nullptr);
  if (result != duckdb::TimestampCastResult::SUCCESS || zone.GetSize() != 0) return false;
  *us = stamp.value;
  return true;
}

bool read_date(std::string_view text, int32_t* days) {
  if (text.size() == 10 && plain_date(text, days)) return true;
  duckdb::date_t date;
  duckdb::idx_t position = 0;
  bool special = false;
  const auto result =
      duckdb::Date::TryConvertDate(text.data(), text.size(), position, date, special, true);
  if (result != duckdb::DateCastResult::SUCCESS) return false;
  *days = date.days;
  return true;
}

bool read_time(std::string_view text, int64_t* us) {
  std::string_view rest = text;
  if (plain_time(rest, us) && rest.empty()) return true;
  duckdb::dtime_t time;
  duckdb::idx_t position = 0;
  if (!duckdb::Time::TryConvertTime(text.data(), text.size(), position, time, true)) return false;
  *us = time.micros;
  return true;
}

bool read_base64(std::string_view text, std::string* bytes) {
  static constexpr auto kValues = [] {
    std::array<int8_t, 256> values{};
    values.fill(-1);
    constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < kAlphabet.size(); ++i)
      values[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
    return values;
  }();
  bytes->clear();
  if (text.size() % 4 != 0) return false;
  size_t length = text.size();
  for (int i = 0; i < 2 && length > 0 && text[length - 1] == '='; ++i) --length;
  uint32_t bits = 0;
  for (size_t i = 0; i < length; ++i) {
    const int value = kValues[static_cast<uint8_t>(text[i])];
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 == 3) {
      bytes->push_back(static_cast<char>(bits >> 16));
      bytes->push_back(static_cast<char>(bits >> 8));
      bytes->push_back(static_cast<char>(bits));
    }
  }
  if (length % 4 == 3) {
    bytes->push_back(static_cast<char>(bits >> 10));
    bytes->push_back(static_cast<char>(bits >> 2));
  } else if (length % 4 == 2) {
    bytes->push_back(static_cast<char>(bits >> 4));
  }
  return length % 4 != 1;
}

bool read_uuid(std::string_view text, unsigned __int128* bits) {
  if (text.size() != 36) return false;
  *bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (c != '-') return false;
      continue;
    }
    const char lower = static_cast<char>(c | 0x20);
    unsigned value = 0;
    if (is_digit(c)) {
      value = static_cast<unsigned>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = static_cast<unsigned>(lower - 'a' + 10);
    } else {
      return false;
    }
    *bits = *bits << 4 | value;
  }
  return true;
}

void write_integer(int64_t value, std::string& out) {
  std::array<char, 24> buffer;
  out.append(buffer.data(), std::to_chars(buffer.begin(), buffer.end(), value).ptr);
}

void write_unsigned(uint64_t value, std::string& out) {
  std::array<char, 24> buffer;
  out.append(buffer.data(), std::to_chars(buffer.begin(), buffer.end(), value).ptr);
}

void write_scaled(bool negative, unsigned __int128 magnitude, unsigned scale, std::string& out) {
  std::array<char, 64> buffer;
  size_t at = buffer.size();
  for (unsigned digits = 0; magnitude != 0 || digits <= scale; ++digits) {
    if (digits == scale && scale > 0) buffer[--at] = '.';
    buffer[--at] = static_cast<char>('0' + static_cast<int>(magnitude % 10));
    magnitude /= 10;
  }
  if (negative) buffer[--at] = '-';
  out.append(buffer.data() + at, buffer.size() - at);
}

template <typename T>
static void write_real(T value, std::string& out) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
  } else if (std::isinf(value)) {
    out += value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  } else {
    std::array<char, 40> buffer;
    const char* end = std::to_chars(buffer.begin(), buffer.end(), value).ptr;
    const std::string_view text(buffer.data(), static_cast<size_t>(end - buffer.data()));
    out += text;
    // A reader of JSON that tells integers from reals would lose the sign of -0.
    if (text == "-0") out += ".0";
  }
}

void write_double(double value, std::string& out) { write_real(value, out); }
void write_float(float value, std::string& out) { write_real(value, out); }

void write_timestamp(int64_t us, bool zone, std::string& out) {
  const int64_t days = us / kUsPerDay - (us % kUsPerDay < 0 ? 1 : 0);
  const Civil civil = civil_of(days);
  out.push_back('"');
  if (civil.year >= 1 && civil.year <= 9999) {
    append_date(civil, out);
    out.push_back('T');
    append_time(us - days * kUsPerDay, out);
    if (zone) out.push_back('Z');
  } else {
    out += duckdb::Timestamp::ToString(duckdb::timestamp_t(us));  // infinity, BC, year 10000
  }
  out.push_back('"');
}

void write_date(int32_t days, std::string& out) {
  const Civil civil = civil_of(days);
  out.push_back('"');
  if (civil.year >= 1 && civil.year <= 9999) {
    append_date(civil, out);
  } else {
    out += duckdb::Date::ToString(duckdb::date_t(days));
  }
  out.push_back('"');
}

void write_time(int64_t us, std::string& out) {
  out.push_back('"');
  append_time(us, out);
  out.push_back('"');
}

void write_time_tz(int64_t us, int32_t offset, std::string& out) {
  out.push_back('"');
  append_time(us, out);
  out.push_back(offset < 0 ? '-' : '+');
  const int seconds = offset < 0 ? -offset : offset;
  append_two(seconds / 3600, out);
  out.push_back(':');
  append_two(seconds / 60 % 60, out);
  if (seconds % 60 != 0) {
    out.push_back(':');
    append_two(seconds % 60, out);
  }
  out.push_back('"');
}

void write_base64(std::string_view bytes, std::string& out) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.push_back('"');
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (j < left ? static_cast<uint8_t>(bytes[i + j]) : 0u);
    out.push_back(kAlphabet[bits >> 18]);
    out.push_back(kAlphabet[bits >> 12 & 63]);
    out.push_back(left > 1 ? kAlphabet[bits >> 6 & 63] : '=');
    out.push_back(left > 2 ? kAlphabet[bits & 63] : '=');
  }
  out.push_back('"');
}

}  // namespace millrace::sql
