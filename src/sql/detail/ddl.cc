#include "sql/detail/ddl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <set>

#include "base/logging.h"
#include "catalog/connector.h"
#include "catalog/function.h"
#include "catalog/sink.h"
#include "sql/detail/column_functions.h"
#include "sql/detail/definition.h"
#include "sql/detail/errors.h"
#include "sql/detail/parse.h"
#include "sql/detail/readers_fit.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using catalog::Object;

/// `text` from `begin` on, what stands before it blanked: positions in it are the statement's.
std::string keep_from(const std::string& text, size_t begin) {
  return std::string(begin, ' ') + text.substr(begin);
}

Result<> check_names(const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const auto& name : names) {
    if (name.empty()) {
      return Error{ErrorCode::kInvalidName, "a column of the view has no name", std::nullopt,
                   "Name it: SELECT expression AS name."};
    }
    if (!seen.insert(duckdb::StringUtil::Lower(name)).second) {
      return Error{ErrorCode::kInvalidName, fmt::format("the view has two columns \"{}\"", name),
                   std::nullopt, "Give one another name: SELECT expression AS name."};
    }
  }
  return {};
}

/// Refuses expressions that nobody named: the name that DuckDB makes up is no name to rely on.
Result<> check_named(const std::string& query) {
  return guarded([&]() -> Result<> {
    auto select = parse_select(query);
    if (select->node->type != duckdb::QueryNodeType::SELECT_NODE) return {};
    for (const auto& item : select->node->Cast<duckdb::SelectNode>().select_list) {
      const auto kind = item->GetExpressionClass();
      if (!item->GetAlias().empty() || kind == duckdb::ExpressionClass::COLUMN_REF ||
          kind == duckdb::ExpressionClass::STAR) {
        continue;
      }
      const auto text = item->ToString();
      if (text.find("COLUMNS(") != std::string::npos || text.find(".*") != std::string::npos) {
        continue;
      }
      Error error{ErrorCode::kInvalidName, fmt::format("the column {} has no name", text),
                  std::nullopt, fmt::format("Name it: {} AS name.", text)};
      if (item->GetQueryLocation().IsValid()) error.position = item->GetQueryLocation().GetIndex();
      return error;
    }
    return {};
  });
}

Error dependents_error(const Object& object, const std::vector<const Object*>& dependents,
                       std::string_view what) {
  std::set<std::string> names;  // a view and its replacement have the same
  for (const auto* dependent : dependents) names.insert(catalog::shown_name(*dependent));
  return Error{ErrorCode::kDependentObjects,
               fmt::format("{} \"{}\" cannot be {}: {} read{} it", catalog::name_of(object.kind),
                           object.name, what, fmt::join(names, ", "), names.size() == 1 ? "s" : ""),
               std::nullopt,
               fmt::format("Drop {} first{}.", fmt::join(names, ", "),
                           what == "dropped" ? ", or say CASCADE" : "")};
}

bool keeps_columns(const Object& old, const Object& next) {
  return std::ranges::all_of(old.columns, [&](const catalog::Column& column) {
    const auto found = std::ranges::find(next.columns, column.name, &catalog::Column::name);
    return found != next.columns.end() && found->type == column.type;
  });
}

/// A table's stored rows stay readable: its key and its columns as they were, further ones nullable
/// and at the end. What was NOT NULL may become nullable.
Result<> check_keeps_rows(const Object& old, const Object& next) {
  const auto refused = [&](const std::string& what) {
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("table \"{}\" cannot be replaced: {} would lose rows", old.name, what),
        std::nullopt,
        "Create a new table and copy the rows with INSERT INTO ... SELECT; new nullable columns at "
        "the end can be added here."};
  };
  if (old.primary_key != next.primary_key) return refused("another primary key");
  for (size_t i = 0; i < next.columns.size(); ++i) {
    const auto& column = next.columns[i];
    const auto named = fmt::format("column \"{}\"", column.name);
    if (i >= old.columns.size()) {
      if (column.not_null) return refused(fmt::format("a new NOT NULL {}", named));
      continue;
    }
    const auto& was = old.columns[i];
    if (was.name != column.name) return refused(fmt::format("{} in another one's place", named));
    if (was.type != column.type) return refused(fmt::format("another type of {}", named));
    if (column.not_null && !was.not_null) return refused(fmt::format("NOT NULL for {}", named));
  }
  if (next.columns.size() < old.columns.size()) {
    return refused(fmt::format("dropping column \"{}\"", old.columns[next.columns.size()].name));
  }
  return {};
}

/// A topic's dead letters go to a topic, whose name must be one as well.
Result<> check_dead_letter_name(const Object& topic) {
  constexpr std::string_view kSuffix = ".dead_letter";
  if (topic.kind != Kind::kTopic || topic.columns.empty() || topic.name.ends_with(kSuffix) ||
      !broker::check_topic_name(topic.name)) {
    return {};
  }
  const auto options = broker::effective_options(topic);
  const auto on_error = options.find("on_error");
  if (on_error != options.end() && on_error->second != "dead_letter") return {};
  if (broker::check_topic_name(topic.name + std::string(kSuffix))) return {};
  return Error{
      ErrorCode::kInvalidName,
      fmt::format("the topic's name leaves no room for \"{}\", where records go that do not "
                  "fit its columns",
                  kSuffix),
      std::nullopt, "Choose a shorter name, or say WITH (on_error = 'reject') or 'skip'."};
}

Error written_by_sink(const std::string& topic, std::string_view what) {
  return Error{ErrorCode::kDependentObjects,
               fmt::format("topic \"{}\" cannot be {}: a sink writes it", topic, what),
               std::nullopt, fmt::format("Use DROP SINK {}.", quoted(topic))};
}

std::map<std::string, std::string> topic_options_of(const Object& sink) {
  std::map<std::string, std::string> options;
  for (const auto& [name, value] : sink.options) {
    if (!name.starts_with(catalog::kSinkOption)) continue;
    const auto own = name.substr(catalog::kSinkOption.size());
    if (own != "format" && own != "key") options[own] = value;
  }
  return options;
}

Error being_replaced(std::string_view view, std::string_view what) {
  return Error{
      ErrorCode::kDependentObjects,
      fmt::format("materialized view \"{}\" is being replaced: it cannot be {} now", view, what),
      std::nullopt,
      fmt::format("Wait until millrace.views shows it as live, or end it by DROP or by "
                  "CREATE OR REPLACE with the query that it has: SHOW CREATE {}.",
                  quoted(std::string(view)))};
}

/// A view under a name of its own that will take the place of `view`, which is there already.
Object replacement_for(const Object& view, const catalog::Snapshot& snapshot) {
  auto next = view;
  next.id = Uuid::random();
  next.name = std::string(catalog::kChangelogPrefix) + next.id.to_string();
  next.internal = true;
  next.options[catalog::kReplacesOption] = view.name;
  if (catalog::is_sink(view) || !snapshot.dependents(view.name).empty()) {
    next.options[catalog::kBridgedOption] = "true";
  }
  return next;
}

}  // namespace

Result<> Definitions::check_watermark(const CreateObject& create) {
  const auto& watermark = create.object.watermark;
  if (!watermark) return {};
  // Bound over the columns as they will be, written as a row of typed NULLs.
  std::string columns;
  for (const auto& column : create.object.columns) {
    if (!columns.empty()) columns += ", ";
    columns += fmt::format("CAST(NULL AS {}) AS {}", column.type, quoted(column.name));
  }
  constexpr std::string_view kSelect = "SELECT ";
  const auto padding =
      create.watermark_begin > kSelect.size() ? create.watermark_begin - kSelect.size() : 0;
  const auto query = fmt::format("{}{}{} FROM (SELECT {})", std::string(padding, ' '), kSelect,
                                 watermark->expression, columns);
  MR_TRY(auto checked, planner_.check(query));
  const auto type = checked.types.at(0).id();
  if (checked.types.size() != 1 ||
      (type != duckdb::LogicalTypeId::TIMESTAMP && type != duckdb::LogicalTypeId::TIMESTAMP_TZ)) {
    return Error{ErrorCode::kTypeMismatch,
                 fmt::format("the watermark is {}; it must be TIMESTAMP or TIMESTAMPTZ",
                             checked.types.at(0).ToString()),
                 create.watermark_begin,
                 fmt::format("For example: WATERMARK FOR {0} AS {0} - INTERVAL '5 seconds'.",
                             watermark->column)};
  }
  return {};
}

Result<> Definitions::check_defaults(const Object& object) {
  for (const auto& column : object.columns) {
    if (column.default_sql.empty()) continue;
    auto checked =
        planner_.check(fmt::format("SELECT CAST(({}) AS {})", column.default_sql, column.type));
    if (checked) continue;
    auto error = std::move(checked).error();
    error.text = fmt::format("the default of column \"{}\": {}", column.name, error.text);
    error.position.reset();  // of the query above
    return error;
  }
  return {};
}

Result<> Definitions::complete_view(Object& view, const CreateObject& create,
                                    const std::string& sql) {
  const auto query = keep_from(sql.substr(0, create.query_end), create.query_begin);
  MR_TRY(auto checked, planner_.check(query));
  if (std::ranges::find(checked.depends_on, view.name) != checked.depends_on.end()) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("view \"{}\" cannot read itself", view.name), create.query_begin};
  }
  view.depends_on = std::move(checked.depends_on);
  const auto snapshot = core_.catalog.snapshot();
  MR_TRY(check_no_cycle(*snapshot, view.name, view.depends_on));
  for (const auto& name : view.depends_on) {
    if (catalog::replacement_of(*snapshot, name)) return being_replaced(name, "read by a new view");
  }
  MR_TRY(check_names(checked.names));
  if (view.kind == Kind::kView) return {};
  MR_TRY(check_named(query));
  for (size_t i = 0; i < checked.names.size(); ++i) {
    view.columns.push_back({checked.names[i], checked.types[i].ToString(), false, {}});
  }
  return {};
}

Result<> Definitions::check_sink(const catalog::Snapshot& snapshot, const Object& sink) {
  const auto topic = catalog::sink_topic(sink);
  if (const auto* taken = snapshot.find(topic)) {
    return Error{
        ErrorCode::kDuplicateObject,
        fmt::format("{} \"{}\" already exists", catalog::name_of(taken->kind), taken->name),
        std::nullopt, "A sink makes its topic itself: choose another name, or drop it."};
  }
  MR_TRY(broker::check_topic_name(topic));
  const auto format = sink.options.at("sink.format");
  if (format != "plain" && format != "upsert" && format != "debezium") {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("the sink's format {} is not known", literal(format)), std::nullopt,
                 "A sink's format is 'plain', 'upsert' or 'debezium'."};
  }
  MR_TRY(broker::to_log_config(topic_options_of(sink)));
  const auto key = sink.options.find("sink.key");
  if (key == sink.options.end()) {
    if (format != "upsert") return {};
    return Error{ErrorCode::kInvalidConfig, "a sink of format 'upsert' needs a key", std::nullopt,
                 "Name the columns that tell rows apart: WITH (format = 'upsert', key = 'a, b')."};
  }
  for (auto name : duckdb::StringUtil::Split(key->second, ',')) {
    duckdb::StringUtil::Trim(name);
    if (std::ranges::find(sink.columns, name, &catalog::Column::name) != sink.columns.end())
      continue;
    return Error{ErrorCode::kUndefinedColumn,
                 fmt::format("the key's column \"{}\" is none of the query's", name)};
  }
  return {};
}

Result<> Definitions::check_replacement(const catalog::Snapshot& snapshot, const Object& old,
                                        const Object& next) {
  if (old.kind != next.kind) {
    return Error{ErrorCode::kDuplicateObject,
                 fmt::format("\"{}\" is a {}", old.name, catalog::name_of(old.kind)), std::nullopt,
                 "Drop it first, or choose another name."};
  }
  MR_TRY(check_pipelines(snapshot, old, next));
  if (catalog::is_sink(next)) {
    MR_TRY(check_sink_goes_on(old, next));
    return check_readers_fit(planner_, snapshot, catalog::sink_topic(old), old, next);
  }
  if (old.kind == Kind::kMaterializedView) {
    return check_readers_fit(planner_, snapshot, old.name, old, next);
  }
  auto dependents = snapshot.dependents(old.name);
  // To a pipeline a record is bytes.
  std::erase_if(dependents, [](const Object* each) { return each->kind == Kind::kPipeline; });
  // What reads a view is planned over its query, so another query may break it.
  if (!dependents.empty() && (old.kind == Kind::kView || !keeps_columns(old, next))) {
    return dependents_error(old, dependents, "replaced");
  }
  if (old.kind == Kind::kTable) MR_TRY(check_keeps_rows(old, next));
  if (old.kind == Kind::kTopic && next.partitions < old.partitions) {
    return Error{ErrorCode::kInvalidPartitions,
                 fmt::format("topic \"{}\" has {} partitions; they cannot become fewer", old.name,
                             old.partitions)};
  }
  return {};
}

Result<Object> Definitions::put(const Object& object, bool replace, bool validate_only) {
  auto& shard = core_.any_shard();
  if (catalog::has_log(object)) {
    MR_TRY(auto topic, shard.block_on(core_.broker.create(object, replace, validate_only)));
    return topic && !validate_only ? topic->object : object;
  }
  if (validate_only) return object;
  return shard.block_on(core_.catalog.put(object, replace));
}

Result<> Definitions::remove(const Object& object) {
  auto& shard = core_.any_shard();
  if (catalog::has_log(object)) return shard.block_on(core_.broker.drop(object.name));
  return shard.block_on(core_.catalog.drop(object.name));
}

Result<> Definitions::serve(const Object& object, const Object* old) {
  auto* host = core_.host.load();
  if (!host || !catalog::has_log(object)) return {};
  auto served = host->created(object);
  if (served) return {};
  // Undo: the statement fails, so nothing of it may stay.
  auto undone = old ? Result<>(put(*old, true, false) ? Result<>{} : Error{}) : remove(object);
  if (undone && old) undone = host->created(*old);
  if (!undone) {
    logging::error("a definition could not be undone", {{"object", object.name}});
  }
  return served;
}

Result<> Definitions::store(const Object& object, const Object* old, bool dry_run) {
  auto* host = core_.host.load();
  if (object.kind == Kind::kMaterializedView && host) MR_TRY(host->check_view(object));
  if (dry_run) {
    MR_TRY(put(object, old != nullptr, true));
    return {};
  }
  if (old && host && catalog::has_log(*old)) MR_TRY(host->dropping(*old));
  auto stored = put(object, old != nullptr, false);
  if (!stored) {
    if (old && host && catalog::has_log(*old)) {
      auto again = host->created(*old);
      if (!again) logging::error("an object is not served any more", {{"object", old->name}});
    }
    return std::move(stored).error();
  }
  return serve(*stored, old);
}

Result<> Definitions::cancel(const Object& replacement) {
  auto dropped = drop_one(replacement);
  // It may have taken its place this moment.
  if (!dropped && dropped.error().code != ErrorCode::kUndefinedObject) return dropped;
  return {};
}

/// The view that is there goes on until the new one has caught up: flow puts that in its place.
Result<> Definitions::replace_beside(const Object& object, const Object* underway) {
  MR_TRY(core_.host.load()->check_view(object));
  if (underway) MR_TRY(cancel(*underway));
  MR_TRY(auto stored, put(replacement_for(object, *core_.catalog.snapshot()), false, false));
  return serve(stored, nullptr);
}

Result<Definitions::Outcome> Definitions::create(const CreateObject& create, const std::string& sql,
                                                 bool dry_run) {
  std::lock_guard lock(mutex_);
  auto object = create.object;
  const auto snapshot = core_.catalog.snapshot();
  const auto* old = snapshot->find(object.name);
  if (old && create.if_not_exists) return Outcome::kSkipped;
  if (old && !create.or_replace) {
    return Error{ErrorCode::kDuplicateObject,
                 fmt::format("{} \"{}\" already exists", catalog::shown_kind(*old),
                             catalog::shown_name(*old)),
                 std::nullopt, "Use CREATE OR REPLACE, or CREATE ... IF NOT EXISTS."};
  }
  if (old && catalog::sink_of(*snapshot, old->name)) return written_by_sink(old->name, "replaced");
  if (old) object.name = old->name;
  if (old && old->kind == Kind::kTopic && object.kind == Kind::kTopic) {
    // They are policy: ALTER TOPIC alone changes them.
    object.transforms = old->transforms;
  }
  object.sql = canonical_sql(object);
  MR_TRY(check_dead_letter_name(object));
  if (object.kind == Kind::kTopic || object.kind == Kind::kTable) {
    auto checked = check_watermark(create);
    if (checked) checked = check_defaults(object);
    // A dry run cannot know what the statements before it would have created.
    const bool unknown = !checked && checked.error().code == ErrorCode::kUndefinedFunction;
    if (dry_run && unknown) return old ? Outcome::kReplaced : Outcome::kCreated;
    MR_TRY(std::move(checked));
    object.depends_on = functions_needed(*snapshot, object);
  }
  if (object.kind == Kind::kView || object.kind == Kind::kMaterializedView) {
    auto completed = complete_view(object, create, sql);
    // A dry run cannot know what the statements before it would have created.
    const bool unknown = !completed && completed.error().code == ErrorCode::kUndefinedObject;
    if (dry_run && unknown) return old ? Outcome::kReplaced : Outcome::kCreated;
    MR_TRY(std::move(completed));
  }
  const auto* next = old ? catalog::replacement_of(*snapshot, old->name) : nullptr;
  if (next && catalog::as_stated(*next).same_definition(object)) return Outcome::kUnchanged;
  if (old && catalog::as_stated(*old).same_definition(object)) {
    if (next && !dry_run) MR_TRY(cancel(*next));
    return Outcome::kUnchanged;
  }
  if (old) MR_TRY(check_replacement(*snapshot, *old, object));
  if (!old && catalog::is_sink(object)) MR_TRY(check_sink(*snapshot, object));
  if (old && old->kind == Kind::kMaterializedView && core_.host.load() && !dry_run) {
    MR_TRY(replace_beside(object, next));
  } else {
    MR_TRY(store(object, old, dry_run));
  }
  return old ? Outcome::kReplaced : Outcome::kCreated;
}

Result<> Definitions::drop(const DropObject& drop) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* object = snapshot->find(drop.name);
  if (!object) {
    if (drop.if_exists) return {};
    return Error{
        ErrorCode::kUndefinedObject,
        drop.sink ? fmt::format("there is no sink of the topic \"{}\"",
                                drop.name.substr(0, drop.name.rfind('.')))
                  : fmt::format("{} \"{}\" does not exist", catalog::name_of(drop.kind), drop.name),
        drop.name_begin};
  }
  if (object->kind != drop.kind || catalog::is_sink(*object) != drop.sink) {
    const std::string kind(catalog::shown_kind(*object));
    const auto name = catalog::shown_name(*object);
    return Error{ErrorCode::kTypeMismatch, fmt::format("\"{}\" is a {}", name, kind),
                 drop.name_begin,
                 fmt::format("Use DROP {} {}.", duckdb::StringUtil::Upper(kind), quoted(name))};
  }
  if (catalog::sink_of(*snapshot, object->name)) return written_by_sink(object->name, "dropped");
  MR_TRY(check_pipelines(*snapshot, *object, drop.cascade));
  if (drop.cascade) return drop_tree(object->name);
  const auto* topic = drop.sink ? snapshot->find(catalog::sink_topic(*object)) : nullptr;
  for (const auto* each : {object, topic}) {
    const auto dependents = each ? snapshot->dependents(each->name) : std::vector<const Object*>();
    if (!dependents.empty()) return dependents_error(*each, dependents, "dropped");
  }
  return drop_one(*object);
}

Result<> Definitions::drop_tree(const std::string& name) {
  const auto snapshot = core_.catalog.snapshot();
  const auto* object = snapshot->find(name);
  if (!object) return {};  // it went with another one
  for (const auto* dependent : snapshot->dependents(name)) MR_TRY(drop_tree(dependent->name));
  if (catalog::is_sink(*object)) {
    for (const auto* dependent : snapshot->dependents(catalog::sink_topic(*object)))
      MR_TRY(drop_tree(dependent->name));
  }
  return drop_one(*object);
}

Result<> Definitions::drop_one(const Object& object) {
  auto* host = core_.host.load();
  if (const auto now = core_.catalog.snapshot();
      const auto* next = catalog::replacement_of(*now, object.name)) {
    MR_TRY(cancel(*next));
  }
  const bool served = host && (catalog::has_log(object) || catalog::is_connector(object));
  if (served) MR_TRY(host->dropping(object));
  auto removed = remove(object);
  if (!removed && served) {
    auto again = host->created(object);
    if (!again) logging::error("an object is not served any more", {{"object", object.name}});
  }
  if (!removed || !catalog::is_sink(object)) return removed;
  const auto snapshot = core_.catalog.snapshot();
  const auto* topic = snapshot->find(catalog::sink_topic(object));
  return topic ? remove(*topic) : removed;
}

Result<> Definitions::pause(const PauseView& pause) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* object = snapshot->find(pause.name);
  if (!object || object->kind != Kind::kMaterializedView ||
      catalog::is_sink(*object) != pause.sink) {
    return Error{
        ErrorCode::kUndefinedObject,
        fmt::format("there is no {} of that name", pause.sink ? "sink" : "materialized view"),
        pause.name_begin};
  }
  if (catalog::replacement_of(*snapshot, object->name)) {
    return being_replaced(object->name, pause.paused ? "paused" : "resumed");
  }
  auto next = *object;
  next.options.erase("paused");
  if (pause.paused) next.options["paused"] = "true";
  // The log stays as it is: only the catalog says it.
  MR_TRY(auto stored, core_.any_shard().block_on(core_.catalog.put(std::move(next), true)));
  auto* host = core_.host.load();
  return host ? host->created(stored) : Result<>();
}

}  // namespace millrace::sql
