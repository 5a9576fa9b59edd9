#include "oracle/windows.h"

#include <fmt/format.h>

#include <regex>

namespace millrace::flow {

namespace {

/// `keys`: ", k, l" or nothing.
std::string session(const std::string& rel, const std::string& time, const std::string& gap,
                    const std::string& keys) {
  static const std::regex key(R"(\w+)");
  const auto same = [&](const char* a, const char* b) {
    std::string text = "true";
    for (std::sregex_iterator at(keys.begin(), keys.end(), key), end; at != end; ++at)
      text += fmt::format(" AND {1}.{0} IS NOT DISTINCT FROM {2}.{0}", at->str(), a, b);
    return text;
  };
  const auto first = fmt::format(
      "SELECT max(b.{1}) FROM {0} b WHERE {3} AND b.{1} <= r.{1} AND NOT EXISTS (SELECT 1 FROM {0} "
      "p WHERE {4} AND p.{1} < b.{1} AND p.{1} + {2} >= b.{1})",
      rel, time, gap, same("b", "r"), same("p", "b"));
  const auto last = fmt::format(
      "SELECT min(l.{1}) + {2} FROM {0} l WHERE {3} AND l.{1} >= r.{1} AND NOT EXISTS (SELECT 1 "
      "FROM {0} n WHERE {4} AND n.{1} > l.{1} AND l.{1} + {2} >= n.{1})",
      rel, time, gap, same("l", "r"), same("n", "l"));
  return fmt::format("(SELECT r.*, ({}) AS window_start, ({}) AS window_end FROM {} r)", first,
                     last, rel);
}

std::string expand_sessions(std::string query) {
  static const std::regex form(R"(SESSION\((\w+), (\w+), (INTERVAL '[^']+')((, \w+)*)\))");
  std::smatch found;
  while (std::regex_search(query, found, form))
    query = found.prefix().str() + session(found[1], found[2], found[3], found[4]) +
            found.suffix().str();
  return query;
}

}  // namespace

std::string expand_windows(const std::string& query) {
  static const std::regex tumble(R"(TUMBLE\((\w+), (\w+), (INTERVAL '[^']+')\))");
  static const std::regex cumulate(
      R"(CUMULATE\((\w+), (\w+), (INTERVAL '[^']+'), (INTERVAL '[^']+')\))");
  static const std::regex hop(R"(HOP\((\w+), (\w+), (INTERVAL '[^']+'), (INTERVAL '[^']+')\))");
  const auto tumbled = std::regex_replace(
      expand_sessions(query), tumble,
      "(SELECT *, time_bucket($3, $2) AS window_start, time_bucket($3, $2) + $3 AS window_end "
      "FROM $1)");
  const auto cumulated = std::regex_replace(
      tumbled, cumulate,
      "(SELECT * EXCLUDE (n), window_start + n * $3 AS window_end FROM (SELECT *, time_bucket($4, "
      "$2) AS "
      "window_start FROM $1) CROSS JOIN range(1, 101) steps(n) WHERE window_start + n * $3 > $2 "
      "AND window_start + n * $3 <= window_start + $4)");
  // From the last window that can hold the time backwards, as many as begin after time - size.
  return std::regex_replace(
      cumulated, hop,
      "(SELECT *, window_start + $4 AS window_end FROM (SELECT $1.*, time_bucket($3, $2) - n * $3 "
      "AS "
      "window_start FROM $1 CROSS JOIN range(100) steps(n)) WHERE window_start > $2 - $4)");
}

}  // namespace millrace::flow
