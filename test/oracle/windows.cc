#include "oracle/windows.h"

#include <regex>

namespace millrace::flow {

std::string expand_windows(const std::string& query) {
  static const std::regex tumble(R"(TUMBLE\((\w+), (\w+), (INTERVAL '[^']+')\))");
  static const std::regex hop(R"(HOP\((\w+), (\w+), (INTERVAL '[^']+'), (INTERVAL '[^']+')\))");
  const auto tumbled = std::regex_replace(
      query, tumble,
      "(SELECT *, time_bucket($3, $2) AS window_start, time_bucket($3, $2) + $3 AS window_end "
      "FROM $1)");
  // From the last window that can hold the time backwards, as many as begin after time - size.
  return std::regex_replace(
      tumbled, hop,
      "(SELECT *, window_start + $4 AS window_end FROM (SELECT *, time_bucket($3, $2) - n * $3 AS "
      "window_start FROM $1 CROSS JOIN range(100) steps(n)) WHERE window_start > $2 - $4)");
}

}  // namespace millrace::flow
