#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <duckdb/common/types/blob.hpp>
#include <filesystem>
#include <fstream>

#include "broker/dead_letter.h"
#include "broker/transforms.h"
#include "catalog/function.h"
#include "catalog/pipeline.h"
#include "catalog/sink.h"
#include "sql/detail/column_functions.h"
#include "sql/detail/ddl.h"
#include "sql/detail/definition.h"
#include "sql/detail/errors.h"
#include "sql/detail/function_checks.h"
#include "sql/detail/function_statements.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using catalog::Object;
using catalog::Transform;

constexpr size_t kModuleBytesMax = 32u << 20;

}  // namespace

Error no_guests() {
  return Error{ErrorCode::kNotSupported, "functions in wasm cannot be run here"};
}

namespace {

Result<std::string> read_module(const CreateFunction& create, broker::Transforms& transforms) {
  constexpr std::string_view kData = "data:application/wasm;base64,";
  constexpr std::string_view kHash = "sha256:";
  const auto& source = create.source;
  if (source.starts_with(kHash)) {
    auto bytes = transforms.module_bytes(std::string_view(source).substr(kHash.size()));
    if (!bytes) {
      return Error{bytes.error().code, bytes.error().text, create.source_begin,
                   "The node keeps the modules of its functions alone."};
    }
    return bytes;
  }
  if (source.starts_with(kData)) {
    auto bytes = guarded([&]() -> Result<std::string> {
      return duckdb::Blob::FromBase64(duckdb::string_t(source.substr(kData.size())));
    });
    if (bytes) return bytes;
    return Error{ErrorCode::kInvalidText, "the module's bytes are not base64", create.source_begin};
  }
  std::error_code failed;
  const auto size = std::filesystem::file_size(source, failed);
  if (failed) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("the node cannot read {}: {}", literal(source), failed.message()),
                 create.source_begin,
                 "The path is one of the node's machine. A module from elsewhere comes as "
                 "'data:application/wasm;base64,...'."};
  }
  if (size > kModuleBytesMax) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{} has {} bytes; a module has at most {}", literal(source), size,
                             kModuleBytesMax),
                 create.source_begin};
  }
  std::ifstream file(source, std::ios::binary);
  std::string bytes(size, '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return Error{ErrorCode::kIo, fmt::format("the node cannot read {}", literal(source)),
                 create.source_begin};
  }
  return bytes;
}

std::string exports_text(const Object& function) {
  std::vector<std::string> names;
  for (const auto& each : catalog::module_exports(function)) {
    names.push_back(fmt::format("{} ({})", each.name, each.kind));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

Result<catalog::ModuleExport> find_export(const Object& function, const Transform& transform,
                                          size_t position) {
  const auto exports = catalog::module_exports(function);
  if (transform.export_name.empty() && exports.size() == 1) return exports.front();
  const auto& wanted = transform.export_name.empty() ? function.name : transform.export_name;
  const auto found = std::ranges::find(exports, wanted, &catalog::ModuleExport::name);
  if (found != exports.end()) return *found;
  const auto has = fmt::format("It has {}.", exports_text(function));
  if (transform.export_name.empty()) {
    return Error{ErrorCode::kUndefinedFunction,
                 fmt::format("function \"{}\" has several exports: say which", function.name),
                 position,
                 has + fmt::format(" Write {}.{}.", sql::quoted(function.name),
                                   sql::quoted(exports.empty() ? "" : exports[0].name))};
  }
  return Error{ErrorCode::kUndefinedFunction,
               fmt::format("function \"{}\" has no export \"{}\"", function.name, wanted), position,
               has};
}

namespace {

Result<> check_kind(const catalog::ModuleExport& exported, Transform::Place place,
                    size_t position) {
  const auto& kind = exported.kind;
  if (kind == "filter" || kind == "map" || kind == "filter_map") return {};
  const bool on_topic = place == Transform::Place::kProduce || place == Transform::Place::kFetch;
  if (!on_topic && kind == "expand") return {};
  const auto error = [&](std::string why) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("\"{}\" is of the kind {}, which cannot stand {}", exported.name, kind,
                             on_topic ? "on a topic" : "in a source or sink"),
                 position, std::move(why)};
  };
  if (kind == "scalar") {
    return error("A scalar is for SQL: CREATE FUNCTION name(types) RETURNS type LANGUAGE wasm ...");
  }
  if (!on_topic) return error("A source or sink keeps no state for its transforms.");
  return error(
      "A topic's records keep their offsets, so that each becomes one record or none: what gives "
      "several, or has state, needs a topic of its own for it: CREATE TRANSFORM.");
}

/// Where records may not be changed on their way in: others rely on what they wrote.
Result<> check_topic(const catalog::Snapshot& snapshot, const Object& topic,
                     const AlterTransforms& alter) {
  const bool on_produce = alter.transform.place == Transform::Place::kProduce;
  const auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("\"{}\" can have no transform{}: {}", topic.name,
                             on_produce ? " on produce" : "", why),
                 alter.topic_begin};
  };
  if (topic.kind != Kind::kTopic) {
    return refuse(fmt::format("it is a {}", catalog::shown_kind(topic)));
  }
  if (topic.name.starts_with("__")) return refuse("it is the node's own");
  if (!on_produce) return {};
  if (catalog::sink_of(snapshot, topic.name)) {
    return refuse("a sink writes it, and goes on where its last record says");
  }
  if (broker::is_dead_letter_topic(topic.name)) return refuse("its letters are kept as they were");
  return {};
}

/// Whether rows that are kept were made by `name`: a materialized view that calls it, itself,
/// through views, or in a watermark, which says what is late.
const Object* kept_rows_of(const catalog::Snapshot& snapshot, const std::string& name) {
  for (const auto* each : snapshot.dependents(name)) {
    if (each->kind == Kind::kMaterializedView) return each;
    if (each->kind != Kind::kView && !watermark_calls(*each, name)) continue;
    if (const auto* found = kept_rows_of(snapshot, each->name)) return found;
  }
  return nullptr;
}

/// What calls the function in SQL, and could not go on with `next`.
Result<> check_callers(const catalog::Snapshot& snapshot, const Object& function,
                       const Object& next) {
  const auto refuse = [&](const Object& user, std::string_view why) {
    const auto name = catalog::shown_name(user);
    return Error{
        ErrorCode::kDependentObjects,
        fmt::format("function \"{}\" cannot be replaced: {} \"{}\" {}", function.name,
                    catalog::shown_kind(user), name, why),
        std::nullopt,
        fmt::format("Create the new one under another name, and replace the {} by one that "
                    "calls it; or drop {} first.",
                    catalog::shown_kind(user), sql::quoted(name))};
  };
  if (const auto* view = kept_rows_of(snapshot, function.name)) {
    return refuse(*view, "keeps rows that it made");
  }
  const bool same = catalog::is_scalar(next) && catalog::is_scalar(function) &&
                    catalog::scalar_signature(next) == catalog::scalar_signature(function);
  for (const auto* user : snapshot.dependents(function.name)) {
    const bool calls = user->kind == Kind::kView || defaults_call(*user, function.name) ||
                       watermark_calls(*user, function.name);
    if (calls && !same) {
      return refuse(*user, "calls it with other types");
    }
  }
  return {};
}

/// Those whose transforms need what `next` has no more.
Result<> check_users(const catalog::Snapshot& snapshot, const Object& function,
                     const std::string& exports) {
  Object next = function;
  next.options[catalog::kModuleExports] = exports;
  for (const auto* user : snapshot.dependents(function.name)) {
    for (const auto& each : user->transforms) {
      if (each.function != function.name) continue;
      const auto found = find_export(next, each, 0);
      const bool pipeline = user->kind == Kind::kPipeline;
      // A pipeline was checked against the kinds of its steps.
      if (found && (pipeline ? found->kind == catalog::export_kind(snapshot, each)
                             : check_kind(*found, each.place, 0).has_value())) {
        continue;
      }
      return Error{
          ErrorCode::kDependentObjects,
          fmt::format("function \"{}\" cannot be replaced: {} \"{}\" uses {}.{}, which "
                      "the new module has not{}",
                      function.name, catalog::name_of(user->kind), user->name, each.function,
                      each.export_name, found ? " as that kind" : ""),
          std::nullopt,
          user->kind == Kind::kTopic
              ? fmt::format("ALTER TOPIC {} DROP TRANSFORM {}.{} first.", sql::quoted(user->name),
                            sql::quoted(each.function), sql::quoted(each.export_name))
              : "Drop or replace that first."};
    }
  }
  return {};
}

/// The scalar that CREATE FUNCTION names, in the function's definition; it is started once.
Result<> complete_scalar(const CreateFunction& create, broker::Transforms& transforms,
                         Object& function) {
  Transform step = create.scalar;
  step.function = function.name;
  MR_TRY(const auto exported, find_export(function, step, create.export_begin));
  if (exported.kind != "scalar") {
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("\"{}\" is of the kind {}; a function of SQL is a scalar", exported.name,
                    exported.kind),
        create.export_begin,
        fmt::format("The module has {}. EXPORT name chooses one.", exports_text(function))};
  }
  function.columns = create.arguments;
  function.options[catalog::kReturns] = create.returns;
  function.options[catalog::kScalarExport] = exported.name;
  for (const auto& [name, value] : step.params) {
    function.options[std::string(catalog::kScalarParam) + name] = value;
  }
  for (const auto& [name, value] : step.options) {
    function.options[std::string(catalog::kScalarLimit) + name] = value;
  }
  auto checked = transforms.check_scalar(function);
  if (checked) return {};
  auto error = std::move(checked).error();
  error.position = create.export_begin;
  return error;
}

bool same_place(const Transform& each, const AlterTransforms& alter) {
  return alter.any_place ||
         (each.place == alter.transform.place && each.group == alter.transform.group &&
          each.user == alter.transform.user);
}

/// The one of the topic's transforms that is the same export there.
std::vector<Transform>::iterator find_at_place(Object& topic, const Transform& transform) {
  return std::ranges::find_if(topic.transforms, [&](const Transform& each) {
    return each.function == transform.function && each.export_name == transform.export_name &&
           each.place == transform.place && each.group == transform.group &&
           each.user == transform.user;
  });
}

}  // namespace

Error not_owner(std::string_view what, const std::string& owner, const std::string& user) {
  return Error{ErrorCode::kNotAllowed,
               fmt::format("{} is {}'s, and only {} may change or remove it: you are {}", what,
                           sql::quoted(owner), sql::quoted(owner), sql::quoted(user))};
}

std::vector<std::string> functions_of(const std::vector<Transform>& transforms) {
  std::vector<std::string> names;
  for (const auto& each : transforms) names.push_back(each.function);
  std::ranges::sort(names);
  const auto rest = std::ranges::unique(names);
  names.erase(rest.begin(), rest.end());
  return names;
}

Result<Definitions::Outcome> Definitions::create(const CreateFunction& create,
                                                 const std::string& user, bool dry_run) {
  auto* transforms = core_.broker.transforms();
  if (!transforms) return no_guests();
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* old = snapshot->find(create.name);
  if (old && create.if_not_exists) return Outcome::kSkipped;
  if (old && (!create.or_replace || old->kind != Kind::kFunction)) {
    return Error{ErrorCode::kDuplicateObject,
                 fmt::format("{} \"{}\" already exists", catalog::shown_kind(*old),
                             catalog::shown_name(*old)),
                 std::nullopt,
                 old->kind == Kind::kFunction
                     ? "Use CREATE OR REPLACE FUNCTION, or CREATE FUNCTION IF NOT EXISTS."
                     : "Choose another name."};
  }
  if (old && old->owner != user) {
    return not_owner(fmt::format("function \"{}\"", old->name), old->owner, user);
  }
  MR_TRY(const auto bytes, read_module(create, *transforms));
  auto kept = transforms->add_module(bytes);
  if (!kept) {
    auto error = std::move(kept).error();
    error.position = create.source_begin;
    return error;
  }
  Object function;
  function.kind = Kind::kFunction;
  function.name = old ? old->name : create.name;
  function.owner = user;
  function.options = {{catalog::kModuleHash, kept->hash},
                      {catalog::kModuleBytes, std::to_string(kept->bytes)},
                      {catalog::kModuleExports, kept->exports}};
  if (!create.returns.empty()) {
    MR_TRY(planner_.check_function_name(function.name));
    MR_TRY(complete_scalar(create, *transforms, function));
  }
  function.sql = canonical_sql(function);
  if (old && old->same_definition(function)) return Outcome::kUnchanged;
  if (old) MR_TRY(check_users(*snapshot, *old, kept->exports));
  if (old) MR_TRY(check_callers(*snapshot, *old, function));
  if (dry_run) return old ? Outcome::kReplaced : Outcome::kCreated;
  MR_TRY(core_.any_shard().block_on(core_.catalog.put(std::move(function), old != nullptr)));
  transforms->functions_changed();
  return old ? Outcome::kReplaced : Outcome::kCreated;
}

Result<> Definitions::drop_function(const DropObject& drop, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* function = snapshot->find(drop.name);
  if (!function || function->kind != Kind::kFunction) {
    if (drop.if_exists && !function) return {};
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("function \"{}\" does not exist", drop.name), drop.name_begin};
  }
  if (function->owner != user) {
    return not_owner(fmt::format("function \"{}\"", function->name), function->owner, user);
  }
  std::vector<std::string> users;
  bool transforms_only = true;
  for (const auto* each : snapshot->dependents(function->name)) {
    users.push_back(
        fmt::format("{} \"{}\"", catalog::shown_kind(*each), catalog::shown_name(*each)));
    transforms_only = transforms_only && each->kind == Kind::kTopic &&
                      !defaults_call(*each, function->name) &&
                      !watermark_calls(*each, function->name);
  }
  if (!users.empty()) {
    // CASCADE would take a topic's records with it.
    return Error{ErrorCode::kDependentObjects,
                 fmt::format("function \"{}\" cannot be dropped: {} use{} it", function->name,
                             fmt::join(users, ", "), users.size() == 1 ? "s" : ""),
                 drop.name_begin,
                 transforms_only ? fmt::format("ALTER TOPIC ... DROP TRANSFORM {} first.",
                                               sql::quoted(function->name))
                                 : "Drop these, or their transforms, first."};
  }
  MR_TRY(core_.any_shard().block_on(core_.catalog.drop(function->name)));
  if (auto* transforms = core_.broker.transforms()) transforms->functions_changed();
  return {};
}

Result<> Definitions::resume(const ResumeFunction& resume, const std::string& user) {
  auto* transforms = core_.broker.transforms();
  if (!transforms) return no_guests();
  const auto snapshot = core_.catalog.snapshot();
  const auto* function = snapshot->find(resume.name);
  if (!function || function->kind != Kind::kFunction) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("function \"{}\" does not exist", resume.name), resume.name_begin};
  }
  if (function->owner != user) {
    return not_owner(fmt::format("function \"{}\"", function->name), function->owner, user);
  }
  return transforms->resume(function->name);
}

Result<Transform> Definitions::complete(Transform transform, size_t position,
                                        const std::string& user) {
  const auto snapshot = core_.catalog.snapshot();
  const auto* function = snapshot->find(transform.function);
  if (!function || function->kind != Kind::kFunction) {
    return Error{ErrorCode::kUndefinedFunction,
                 fmt::format("function \"{}\" does not exist", transform.function), position,
                 "CREATE FUNCTION name LANGUAGE wasm FROM 'path.wasm'. SHOW FUNCTIONS lists those "
                 "that there are."};
  }
  transform.function = function->name;
  MR_TRY(const auto exported, find_export(*function, transform, position));
  MR_TRY(check_kind(exported, transform.place, position));
  transform.export_name = exported.name;
  transform.owner = user;
  auto checked = core_.broker.transforms()->check(transform);
  if (checked) return transform;
  auto error = std::move(checked).error();
  error.position = position;
  return error;
}

Result<std::vector<Transform>> Definitions::without(const Object& topic,
                                                    const AlterTransforms& alter,
                                                    const std::string& user) {
  std::vector<Transform> kept, gone;
  for (const auto& each : topic.transforms) {
    const bool named =
        duckdb::StringUtil::CIEquals(each.function, alter.transform.function) &&
        (alter.transform.export_name.empty() || each.export_name == alter.transform.export_name);
    (named && same_place(each, alter) ? gone : kept).push_back(each);
  }
  if (gone.size() != 1) {
    std::vector<std::string> all;
    for (const auto& each : gone.empty() ? kept : gone) all.push_back(transform_sql(each));
    return Error{
        gone.empty() ? ErrorCode::kUndefinedObject : ErrorCode::kInvalidArgument,
        fmt::format("{} of topic \"{}\"'s transforms {} meant", gone.empty() ? "none" : "several",
                    topic.name, gone.empty() ? "is" : "are"),
        alter.begin,
        all.empty() ? "It has none." : fmt::format("There are: {}.", fmt::join(all, "; "))};
  }
  if (gone[0].owner != user) {
    return not_owner(fmt::format("the transform {}.{} of topic \"{}\"", gone[0].function,
                                 gone[0].export_name, topic.name),
                     gone[0].owner, user);
  }
  return kept;
}

Result<> Definitions::alter(const AlterTransforms& alter, const std::string& user) {
  if (!core_.broker.transforms()) return no_guests();
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* found = snapshot->find(alter.topic);
  if (!found) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("topic \"{}\" does not exist", alter.topic), alter.topic_begin};
  }
  Object topic = *found;
  if (alter.add) {
    MR_TRY(check_topic(*snapshot, topic, alter));
    MR_TRY(auto transform, complete(alter.transform, alter.begin, user));
    if (find_at_place(topic, transform) != topic.transforms.end()) {
      return Error{ErrorCode::kDuplicateObject,
                   fmt::format("topic \"{}\" has the transform {} there already", topic.name,
                               transform_sql(transform)),
                   alter.begin, "Drop it first to give it other parameters."};
    }
    topic.transforms.push_back(std::move(transform));
  } else {
    MR_TRY(topic.transforms, without(topic, alter, user));
  }
  topic.depends_on = functions_needed(*snapshot, topic);
  MR_TRY(put(topic, true, false));
  return {};
}

Result<Definitions::Outcome> Definitions::apply(const AlterTransforms& alter,
                                                const std::string& user, bool dry_run) {
  if (!core_.broker.transforms()) return no_guests();
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* found = snapshot->find(alter.topic);
  // A dry run cannot know what the statements before it would have created.
  if (dry_run && (!found || !snapshot->find(alter.transform.function))) return Outcome::kCreated;
  if (!found) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("topic \"{}\" does not exist", alter.topic), alter.topic_begin};
  }
  Object topic = *found;
  MR_TRY(check_topic(*snapshot, topic, alter));
  MR_TRY(auto transform, complete(alter.transform, alter.begin, user));
  const auto at = find_at_place(topic, transform);
  const auto outcome = at == topic.transforms.end() ? Outcome::kCreated : Outcome::kReplaced;
  if (outcome == Outcome::kCreated) {
    topic.transforms.push_back(std::move(transform));
  } else {
    transform.owner = at->owner;
    if (*at == transform) return Outcome::kUnchanged;
    if (at->owner != user) {
      return not_owner(fmt::format("the transform {}.{} of topic \"{}\"", at->function,
                                   at->export_name, topic.name),
                       at->owner, user);
    }
    *at = std::move(transform);
  }
  if (dry_run) return outcome;
  topic.depends_on = functions_needed(*snapshot, topic);
  MR_TRY(put(topic, true, false));
  return outcome;
}

}  // namespace millrace::sql
