#include "sql/detail/readers_fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "catalog/sink.h"
#include "sql/detail/definition.h"
#include "sql/detail/lexer.h"

namespace millrace::sql {

namespace {

using catalog::Column;
using catalog::Object;
using Columns = std::vector<Column>;

/// `query` as it is when `name` has these columns: a row of typed NULLs stands in its place.
std::string over(const std::string& name, const Columns& columns, const std::string& query) {
  std::string nulls;
  for (const auto& column : columns)
    nulls += fmt::format("{}CAST(NULL AS {}) AS {}", nulls.empty() ? "" : ", ", column.type,
                         quoted(column.name));
  return fmt::format("WITH {} AS (SELECT {}) SELECT * FROM (\n{}\n)", quoted(name), nulls, query);
}

class Reader {
 public:
  Reader(ViewPlanner& planner, const std::string& name, const Object& object)
      : planner_(planner), name_(name), query_(object.query), now_(planner.check(query_)) {}

  /// Whether it gives what it gives now.
  bool fits(const Columns& columns) {
    if (!now_) return false;
    const auto then = planner_.check(over(name_, columns, query_));
    return then && then->names == now_->names && then->types == now_->types;
  }

 private:
  ViewPlanner& planner_;
  const std::string name_;
  const std::string query_;
  const Result<ViewPlanner::Checked> now_;
};

/// What is said of a column that the new query does not give as it was.
struct Change {
  std::string what;
  Columns columns;  // the old ones, but for it
};

std::vector<Change> changes_of(const Columns& old, const Columns& next) {
  std::vector<Change> changes;
  for (size_t i = 0; i < old.size(); ++i) {
    const auto now = std::ranges::find(next, old[i].name, &Column::name);
    if (now != next.end() && now->type == old[i].type) continue;
    Change change{fmt::format("\"{}\"", old[i].name), old};
    if (now == next.end()) {
      change.columns.erase(change.columns.begin() + static_cast<ptrdiff_t>(i));
    } else {
      change.what += fmt::format(", which would be {} and not {}", now->type, old[i].type);
      change.columns[i].type = now->type;
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

/// The columns that both have stand in the same order: the state of readers knows them by place.
bool same_order(const Columns& old, const Columns& next) {
  size_t last = 0;
  for (const auto& column : old) {
    const auto at = std::ranges::find(next, column.name, &Column::name) - next.begin();
    if (static_cast<size_t>(at) == next.size()) continue;
    if (static_cast<size_t>(at) < last) return false;
    last = static_cast<size_t>(at);
  }
  return true;
}

/// Why the reader cannot go on; empty: it can.
std::string objection(Reader reader, const Object& old, const Object& next,
                      const std::vector<Change>& changes) {
  if (!same_order(old.columns, next.columns))
    return "needs the columns in the order that they have";
  if (reader.fits(next.columns)) return {};
  std::vector<std::string> used;
  for (const auto& change : changes)
    if (!reader.fits(change.columns)) used.push_back(change.what);
  if (!used.empty()) return fmt::format("uses {}", fmt::join(used, ", "));
  return "would have other columns, since it reads all that there are";
}

}  // namespace

Result<> check_readers_fit(ViewPlanner& planner, const catalog::Snapshot& snapshot,
                           const std::string& name, const Object& old, const Object& next) {
  if (old.columns == next.columns) return {};
  const auto changes = changes_of(old.columns, next.columns);
  std::vector<std::string> objections;
  std::set<std::string> names;  // a view and its replacement have the same
  for (const auto* object : snapshot.dependents(name)) {
    // To a pipeline and to a connector a record is bytes.
    if (object->kind == catalog::Kind::kPipeline || object->kind == catalog::Kind::kSource ||
        object->kind == catalog::Kind::kSink)
      continue;
    const auto why = objection(Reader(planner, name, *object), old, next, changes);
    if (why.empty() || !names.insert(catalog::shown_name(*object)).second) continue;
    objections.push_back(fmt::format("{} {}", catalog::shown_name(*object), why));
  }
  if (objections.empty()) return {};
  return Error{
      ErrorCode::kDependentObjects,
      fmt::format("{} \"{}\" cannot be replaced: {}", catalog::shown_kind(old),
                  catalog::shown_name(old), fmt::join(objections, "; ")),
      std::nullopt,
      fmt::format("Keep what is used as it is, or drop {} first.", fmt::join(names, ", "))};
}

Result<> check_sink_goes_on(const Object& old, const Object& next) {
  const auto own = [](const Object& sink) {
    std::map<std::string, std::string> options;
    for (const auto& [name, value] : sink.options)
      if (name.starts_with(catalog::kSinkOption)) options.emplace(name, value);
    return options;
  };
  if (own(old) != own(next))
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("sink \"{}\" cannot be replaced by one of another format, key or topic "
                    "options: its topic holds what it wrote",
                    catalog::shown_name(next)),
        std::nullopt, "Drop it and create it, or create one of another name beside it."};
  for (size_t i = 0; i < old.columns.size(); ++i) {
    const auto& was = old.columns[i];
    if (i < next.columns.size() && next.columns[i] == was) continue;
    return Error{ErrorCode::kDependentObjects,
                 fmt::format("sink \"{}\" cannot be replaced: its topic has the column \"{}\" of "
                             "type {}, which the new query does not give as number {}",
                             catalog::shown_name(next), was.name, was.type, i + 1),
                 std::nullopt, "Keep its columns as they are; further ones may follow them."};
  }
  return {};
}

Result<> check_no_cycle(const catalog::Snapshot& snapshot, const std::string& view,
                        const std::vector<std::string>& names) {
  std::set<std::string> seen;
  std::vector<std::string> to_see = names;
  while (!to_see.empty()) {
    const auto name = to_see.back();
    to_see.pop_back();
    if (!seen.insert(name).second) continue;
    const auto* object = snapshot.find(name);
    if (!object) continue;
    if (std::ranges::find(object->depends_on, view) != object->depends_on.end())
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("view \"{}\" cannot read itself, which {} does", view, name)};
    to_see.insert(to_see.end(), object->depends_on.begin(), object->depends_on.end());
  }
  return {};
}

}  // namespace millrace::sql
