#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::pgwire::detail {

/// Values as PostgreSQL 15 prints them with DateStyle ISO, IntervalStyle postgres, TimeZone UTC and
/// extra_float_digits 1. Each appends to `out`.
void text_float(float value, std::string& out);
void text_float(double value, std::string& out);
void text_date(duckdb::date_t date, std::string& out);
/// Microseconds since midnight.
void text_time(int64_t micros, std::string& out);
void text_timetz(duckdb::dtime_tz_t time, std::string& out);
/// Microseconds since 1970; `zone` is "" or "+00".
void text_timestamp(int64_t micros, std::string_view zone, std::string& out);
void text_interval(duckdb::interval_t interval, std::string& out);
void text_bytea(std::string_view bytes, std::string& out);
/// One element of an array literal, quoted where PostgreSQL quotes it.
void text_array_element(std::string_view element, std::string& out);
/// A nested value as JSON: STRUCT as object, LIST and MAP with other than text keys as array (of
/// [key, value]), numbers as numbers, the rest as strings.
void json_value(const duckdb::Value& value, std::string& out);

}  // namespace millrace::pgwire::detail
