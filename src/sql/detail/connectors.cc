#include <fmt/format.h>

#include "broker/dead_letter.h"
#include "catalog/connector.h"
#include "catalog/function.h"
#include "catalog/sink.h"
#include "sql/detail/ddl.h"
#include "sql/detail/definition.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using catalog::Object;

/// The topic that a source writes, or a sink reads.
Result<const Object*> find_topic(const catalog::Snapshot& snapshot, const CreateConnector& create) {
  const bool source = create.object.kind == Kind::kSource;
  const auto name = catalog::option_of(create.object, catalog::kTopicOption);
  const auto* topic = snapshot.find(name);
  if (!topic) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("topic \"{}\" does not exist", name),
                 create.topic_begin, fmt::format("CREATE TOPIC {} first.", quoted(name))};
  }
  const auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("a {} cannot {} \"{}\": {}", catalog::name_of(create.object.kind),
                             source ? "write" : "read", topic->name, why),
                 create.topic_begin};
  };
  const auto kind = fmt::format("it is a {}", catalog::shown_kind(*topic));
  if (!catalog::has_log(*topic) || topic->internal) return refuse(kind);
  if (topic->name.starts_with("__")) return refuse("it is the node's own");
  if (!source) return topic;
  if (topic->kind != Kind::kTopic) return refuse(kind);
  if (catalog::sink_of(snapshot, topic->name)) return refuse("the sink of a query writes it");
  if (broker::is_dead_letter_topic(topic->name)) return refuse("its letters are kept as they were");
  return topic;
}

bool names_known(const catalog::Snapshot& snapshot, const Object& connector) {
  return snapshot.find(catalog::option_of(connector, catalog::kTopicOption)) &&
         std::ranges::all_of(connector.transforms, [&](const catalog::Transform& step) {
           return snapshot.find(step.function) != nullptr;
         });
}

Error exists(const Object& old) {
  return Error{
      ErrorCode::kDuplicateObject,
      fmt::format("{} \"{}\" already exists", catalog::shown_kind(old), catalog::shown_name(old)),
      std::nullopt, "Use CREATE OR REPLACE, or CREATE ... IF NOT EXISTS."};
}

}  // namespace

/// Its topic and its functions as they are called, each checked.
Result<Object> Definitions::complete(const CreateConnector& create,
                                     const catalog::Snapshot& snapshot, const std::string& user) {
  auto object = create.object;
  MR_TRY(const auto* topic, find_topic(snapshot, create));
  object.options[catalog::kTopicOption] = topic->name;
  if (!object.transforms.empty() && !core_.broker.transforms()) {
    return Error{ErrorCode::kNotSupported, "functions in wasm cannot be run here"};
  }
  for (size_t i = 0; i < object.transforms.size(); ++i) {
    MR_TRY(object.transforms[i], complete(object.transforms[i], create.steps_begin[i], user));
  }
  object.depends_on = functions_of(object.transforms);
  object.depends_on.push_back(topic->name);
  std::ranges::sort(object.depends_on);
  object.owner = user;
  return object;
}

Result<Definitions::Outcome> Definitions::create(const CreateConnector& create,
                                                 const std::string& user, bool dry_run) {
  std::lock_guard lock(mutex_);
  auto object = create.object;
  const auto snapshot = core_.catalog.snapshot();
  const auto* old = snapshot->find(object.name);
  if (old && create.if_not_exists) return Outcome::kSkipped;
  if (old && (!create.or_replace || old->kind != object.kind)) return exists(*old);
  if (old && old->owner != user) {
    return not_owner(fmt::format("{} \"{}\"", catalog::name_of(old->kind), old->name), old->owner,
                     user);
  }
  // A dry run cannot know what the statements before it would have created.
  if (!dry_run || names_known(*snapshot, object)) {
    MR_TRY(object, complete(create, *snapshot, user));
  }
  if (old) {
    object.name = old->name;
    if (old->options.contains(catalog::kPausedOption))
      object.options[catalog::kPausedOption] = "true";
  }
  object.sql = canonical_sql(object);
  if (old && old->same_definition(object)) return Outcome::kUnchanged;
  auto* host = core_.host.load();
  if (!host) return Error{ErrorCode::kNotSupported, "there are no connectors here"};
  if (auto checked = host->check_connector(object); !checked) {
    auto error = std::move(checked).error();
    error.position = create.connector_begin;
    return error;
  }
  const auto outcome = old ? Outcome::kReplaced : Outcome::kCreated;
  if (dry_run) return outcome;
  MR_TRY(const auto stored,
         core_.any_shard().block_on(core_.catalog.put(std::move(object), old != nullptr)));
  MR_TRY(host->created(stored));
  return outcome;
}

/// Null when there is none, and none is asked for.
Result<const Object*> Definitions::find_connector(const catalog::Snapshot& snapshot,
                                                  const DropObject& which,
                                                  const std::string& user) {
  const auto* object = snapshot.find(which.name);
  if (!object && which.if_exists) return static_cast<const Object*>(nullptr);
  if (!object || object->kind != which.kind) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("{} \"{}\" does not exist", catalog::name_of(which.kind), which.name),
                 which.name_begin};
  }
  if (object->owner != user) {
    return not_owner(fmt::format("{} \"{}\"", catalog::name_of(object->kind), object->name),
                     object->owner, user);
  }
  return object;
}

Result<> Definitions::drop_connector(const DropObject& drop, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  MR_TRY(const auto* object, find_connector(*snapshot, drop, user));
  return object ? drop_one(*object) : Result<>();
}

Result<> Definitions::pause(const PauseConnector& pause, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  DropObject which;
  which.kind = pause.kind;
  which.name = pause.name;
  which.name_begin = pause.name_begin;
  MR_TRY(const auto* object, find_connector(*snapshot, which, user));
  auto next = *object;
  next.options.erase(catalog::kPausedOption);
  if (pause.paused) next.options[catalog::kPausedOption] = "true";
  auto* host = core_.host.load();
  if (!pause.paused && host) MR_TRY(host->check_connector(next));
  MR_TRY(const auto stored, core_.any_shard().block_on(core_.catalog.put(std::move(next), true)));
  return host ? host->created(stored) : Result<>();
}

}  // namespace millrace::sql
