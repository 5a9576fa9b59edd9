#include "pgwire/detail/settings.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::pgwire::detail {
namespace {

struct Known {
  std::string_view name, value, reported;
  bool fixed = false;  // told, never set
};
constexpr Known kKnown[] = {
    {"application_name", "", "application_name"},
    {"backslash_quote", "safe_encoding", ""},
    {"bytea_output", "hex", ""},
    {"check_function_bodies", "on", ""},
    {"client_encoding", "UTF8", "client_encoding"},
    {"client_min_messages", "notice", ""},
    {"datestyle", "ISO, MDY", "DateStyle"},
    {"default_transaction_isolation", "repeatable read", ""},
    {"default_transaction_read_only", "off", "default_transaction_read_only"},
    {"escape_string_warning", "on", ""},
    {"extra_float_digits", "1", ""},
    {"idle_in_transaction_session_timeout", "0", ""},
    {"in_hot_standby", "off", "in_hot_standby", true},
    {"integer_datetimes", "on", "integer_datetimes", true},
    {"intervalstyle", "postgres", "IntervalStyle"},
    {"is_superuser", "on", "is_superuser", true},
    {"jit", "off", ""},
    {"lc_collate", "C.UTF-8", "", true},
    {"lc_ctype", "C.UTF-8", "", true},
    {"lc_messages", "C", ""},
    {"lc_monetary", "C", ""},
    {"lc_numeric", "C", ""},
    {"lc_time", "C", ""},
    {"lock_timeout", "0", ""},
    {"max_identifier_length", "63", "", true},
    {"max_index_keys", "32", "", true},
    {"quote_all_identifiers", "off", ""},
    {"row_security", "on", ""},
    {"search_path", "public", ""},
    {"server_encoding", "UTF8", "server_encoding", true},
    {"server_version", "", "server_version", true},
    {"server_version_num", "150000", "", true},
    {"session_authorization", "", "session_authorization", true},
    {"standard_conforming_strings", "on", "standard_conforming_strings"},
    {"statement_timeout", "0", ""},
    {"synchronize_seqscans", "on", ""},
    {"synchronous_commit", "on", ""},
    {"timezone", "UTC", "TimeZone"},
    {"transaction_isolation", "repeatable read", ""},
    {"transaction_read_only", "off", ""},
    {"transaction_deferrable", "off", ""},
    {"xmloption", "content", ""},
};

const Known* find(std::string_view name) {
  auto at = std::ranges::find(kKnown, name, &Known::name);
  return at == std::end(kKnown) ? nullptr : at;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return result;
}

bool is_one_of(std::string_view value, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, value) != words.end();
}

Error only(std::string_view name, std::string_view value) {
  return Error{ErrorCode::kNotSupported, fmt::format("{} can only be {}", name, value)};
}

}  // namespace

Settings::Settings(std::string_view server_version, std::string_view user) {
  for (const Known& known : kKnown) defaults_.emplace(known.name, known.value);
  defaults_.find("server_version")->second = server_version;
  defaults_.find("session_authorization")->second = user;
  values_ = defaults_;
}

bool Settings::knows(std::string_view name) { return find(name) != nullptr; }

std::string_view Settings::reported_as(std::string_view name) {
  const Known* known = find(name);
  return known ? known->reported : std::string_view();
}

const std::vector<std::string_view>& Settings::reported() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> result;
    for (const Known& known : kKnown) {
      if (!known.reported.empty()) result.push_back(known.name);
    }
    return result;
  }();
  return names;
}

Result<std::string> Settings::set(std::string_view name, std::string_view value) {
  const Known* known = find(name);
  if (!known) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("no setting is named {}", name)};
  }
  if (known->fixed) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("{} cannot be changed", name)};
  }
  std::string word = lower(value);
  std::string warning, stored(value);
  if (name == "client_encoding") {
    if (!is_one_of(word, {"utf8", "utf-8", "unicode", "sql_ascii"})) return only(name, "UTF8");
    stored = "UTF8";
  } else if (name == "datestyle") {
    if (!word.starts_with("iso")) return only(name, "ISO");
    stored = "ISO, MDY";
  } else if (name == "intervalstyle") {
    if (word != "postgres") return only(name, "postgres");
  } else if (name == "bytea_output") {
    if (word != "hex") return only(name, "hex");
  } else if (name == "standard_conforming_strings") {
    if (!is_one_of(word, {"on", "true", "1", "yes"})) return only(name, "on");
    stored = "on";
  } else if (name == "search_path") {
    // All that is ours is in the one schema, and what is DuckDB's is always found.
    if (word.find("public") == std::string::npos && !is_one_of(word, {"", "pg_catalog"})) {
      return only(name, "public");
    }
  } else if (name == "timezone") {
    if (!is_one_of(word, {"utc", "gmt", "etc/utc", "etc/gmt", "z", "zulu", "0", "local"})) {
      warning = "times are shown in UTC; TimeZone stays UTC";
    }
    stored = "UTC";
  }
  values_.find(name)->second = stored;
  return warning;
}

void Settings::set_leniently(std::string_view name, std::string_view value) {
  std::string known = lower(name);
  auto result = set(known, value);
  if (result && known != "timezone") defaults_.find(known)->second = values_.find(known)->second;
}

void Settings::reset(std::string_view name) {
  auto at = values_.find(name);
  if (at != values_.end()) at->second = defaults_.find(name)->second;
}

void Settings::reset_all() { values_ = defaults_; }

const std::string& Settings::get(std::string_view name) const {
  static const std::string none;
  auto at = values_.find(name);
  return at == values_.end() ? none : at->second;
}

}  // namespace millrace::pgwire::detail
