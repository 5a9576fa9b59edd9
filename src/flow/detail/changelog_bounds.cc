#include "flow/detail/changelog_bounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace millrace::flow {

namespace {
constexpr char kColumn = '#';  // stands in no topic's name
}  // namespace

Result<std::map<size_t, int64_t>> bounds_of(const log::RecordView& commit) {
  std::map<size_t, int64_t> bounds;
  const std::string_view json = commit.value.value_or("");
  // Most views have none, and a commit may hold megabytes of late rows.
  if (json.find("\"#") == std::string_view::npos) return bounds;
  MR_TRY(const auto parsed, Commit::parse(json));
  for (const auto& epoch : parsed.epochs)
    for (const auto& [name, time_us] : epoch.watermarks) {
      if (!name.starts_with(kColumn)) continue;
      size_t column = 0;
      std::from_chars(name.data() + 1, name.data() + name.size(), column);
      const auto [at, fresh] = bounds.try_emplace(column, time_us);
      at->second = std::max(at->second, time_us);
    }
  return bounds;
}

void add_bounds(const std::vector<Frontier>& frontiers, std::map<size_t, int64_t>& written,
                EpochInputs& epoch) {
  for (const auto& [column, time_us] : frontiers) {
    const auto [at, fresh] = written.try_emplace(column, time_us);
    if (!fresh && at->second >= time_us) continue;
    at->second = time_us;
    epoch.watermarks[fmt::format("{}{}", kColumn, column)] = time_us;
  }
}

}  // namespace millrace::flow
