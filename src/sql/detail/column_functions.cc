#include "sql/detail/column_functions.h"

#include <algorithm>
#include <duckdb/common/string_util.hpp>
#include <set>

#include "catalog/function.h"
#include "sql/detail/ddl.h"
#include "sql/detail/errors.h"
#include "sql/detail/parse.h"

namespace millrace::sql {
namespace {

using catalog::Object;

/// The names of all functions in `expression`; none when it cannot be read.
std::set<std::string> called_in(const std::string& expression) {
  auto names = guarded([&]() -> Result<std::set<std::string>> {
    return function_names(*parse_select("SELECT " + expression));
  });
  return names ? *names : std::set<std::string>();
}

bool calls(const std::string& expression, const std::string& function) {
  return std::ranges::any_of(called_in(expression), [&](const std::string& name) {
    return duckdb::StringUtil::CIEquals(name, function);
  });
}

}  // namespace

bool defaults_call(const Object& object, const std::string& function) {
  return std::ranges::any_of(object.columns, [&](const catalog::Column& column) {
    return !column.default_sql.empty() && calls(column.default_sql, function);
  });
}

bool watermark_calls(const Object& object, const std::string& function) {
  return object.watermark && calls(object.watermark->expression, function);
}

std::vector<std::string> functions_needed(const catalog::Snapshot& snapshot, const Object& object) {
  std::set<std::string> called;
  for (const auto& column : object.columns) {
    if (!column.default_sql.empty()) called.merge(called_in(column.default_sql));
  }
  if (object.watermark) called.merge(called_in(object.watermark->expression));
  auto names = functions_of(object.transforms);
  for (const auto& name : called) {
    const auto* function = snapshot.find(name);
    if (function && catalog::is_scalar(*function)) names.push_back(function->name);
  }
  std::ranges::sort(names);
  const auto rest = std::ranges::unique(names);
  names.erase(rest.begin(), rest.end());
  return names;
}

}  // namespace millrace::sql
