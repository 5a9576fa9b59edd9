#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sql/detail/core.h"
#include "sql/detail/planning.h"
#include "sql/detail/statements.h"

namespace millrace::sql {

/// Makes and drops objects: checks against what exists, then broker or catalog, then the host; what
/// fails half way is undone. Any thread; one definition at a time. Blocks.
class Definitions {
 public:
  Definitions(Core& core, ViewPlanner& planner) : core_(core), planner_(planner) {}

  enum class Outcome { kCreated, kReplaced, kUnchanged, kSkipped };
  /// `sql` is the statement's text. With `dry_run` nothing is changed. Errors: as a statement's.
  Result<Outcome> create(const CreateObject& create, const std::string& sql, bool dry_run);
  Result<> drop(const DropObject& drop);
  /// Durable when it succeeds. Errors: kUndefinedObject.
  Result<> pause(const PauseView& pause);

  // functions.cc: functions, and the transforms of topics. `user` is who asks.

  /// Keeps the module and declares the function. Errors: kInvalidArgument (the module), kNotFound
  /// (its source), kNotAllowed, kDependentObjects (a topic uses what the new one has not).
  Result<Outcome> create(const CreateFunction& create, const std::string& user, bool dry_run);
  /// Errors: kUndefinedObject, kNotAllowed, kDependentObjects (names the topics).
  Result<> drop_function(const DropObject& drop, const std::string& user);
  Result<> resume(const ResumeFunction& resume, const std::string& user);
  /// Adds to the topic's transforms, at the end, or takes one away. Errors: kUndefinedObject,
  /// kUndefinedFunction, kNotSupported (what cannot stand there), kNotAllowed, kDuplicateObject.
  Result<> alter(const AlterTransforms& alter, const std::string& user);
  /// Makes what the transform is at its place what the statement says, in its turn of the chain.
  Result<Outcome> apply(const AlterTransforms& alter, const std::string& user, bool dry_run);

  // connectors.cc: sources and sinks.

  /// Declares a connector and starts it, or has it go on by its new definition. Errors:
  /// kUndefinedObject (the topic), kInvalidConfig (an option), kNotAllowed, those of a transform.
  Result<Outcome> create(const CreateConnector& create, const std::string& user, bool dry_run);
  /// Errors: kUndefinedObject, kNotAllowed.
  Result<> drop_connector(const DropObject& drop, const std::string& user);
  Result<> pause(const PauseConnector& pause, const std::string& user);

  // users.cc. `user` is who asks.

  /// Makes a user, or gives one another password. Errors: kDuplicateObject, kUndefinedObject,
  /// kInvalidName, kInvalidArgument, kNotAllowed.
  Result<> put(const PutUser& put, const std::string& user);
  /// Errors: kUndefinedObject, kNotAllowed, kDependentObjects.
  Result<> drop_user(const DropObject& drop, const std::string& user);

  // pipelines.cc. `user` is who asks.

  /// Checks topics and transforms, and starts the pipeline; one that is replaced goes on where it
  /// stood. Errors: kUndefinedObject, kUndefinedFunction, kNotSupported (what cannot be right),
  /// kNotAllowed, kInvalidArgument (a cycle).
  Result<Outcome> create(const CreatePipeline& create, const std::string& user, bool dry_run);
  /// Errors: kUndefinedObject, kNotAllowed.
  Result<> drop_pipeline(const DropObject& drop, const std::string& user);
  /// Pauses it, or starts it again, also after it failed.
  Result<> alter(const AlterPipeline& alter, const std::string& user);

 private:
  /// The transform with what the statement has left open; checked.
  Result<catalog::Transform> complete(catalog::Transform transform, size_t position,
                                      const std::string& user);
  Result<catalog::Object> complete(const CreateConnector& create, const catalog::Snapshot& snapshot,
                                   const std::string& user);
  Result<const catalog::Object*> find_connector(const catalog::Snapshot& snapshot,
                                                const DropObject& which, const std::string& user);
  Result<std::vector<catalog::Transform>> without(const catalog::Object& topic,
                                                  const AlterTransforms& alter,
                                                  const std::string& user);
  Result<> check_watermark(const CreateObject& create);
  Result<> check_defaults(const catalog::Object& object);
  Result<> complete_view(catalog::Object& view, const CreateObject& create, const std::string& sql);
  Result<> check_sink(const catalog::Snapshot& snapshot, const catalog::Object& sink);
  Result<> check_replacement(const catalog::Snapshot& snapshot, const catalog::Object& old,
                             const catalog::Object& next);
  Result<> store(const catalog::Object& object, const catalog::Object* old, bool dry_run);
  Result<> serve(const catalog::Object& object, const catalog::Object* old);
  Result<> replace_beside(const catalog::Object& object, const catalog::Object* underway);
  Result<> cancel(const catalog::Object& replacement);
  Result<> drop_one(const catalog::Object& object);
  Result<> drop_tree(const std::string& name);
  Result<catalog::Object> put(const catalog::Object& object, bool replace, bool validate_only);
  Result<> remove(const catalog::Object& object);

  Core& core_;
  ViewPlanner& planner_;
  std::mutex mutex_;
};

/// The rows of SHOW TOPICS, TABLES, VIEWS, SOURCES, SINKS, FUNCTIONS, TRANSFORMS, USERS, ALL, SHOW
/// CREATE and DESCRIBE.
struct Listing {
  std::vector<std::string> names;
  std::vector<duckdb::LogicalType> types;
  std::vector<std::vector<duckdb::Value>> rows;
};
Listing show_objects(const catalog::Snapshot& snapshot, ShowObjects::What what);
Listing show_transforms(const catalog::Snapshot& snapshot);
Listing show_users(const catalog::Snapshot& snapshot);
/// The functions that an object's transforms use, sorted.
std::vector<std::string> functions_of(const std::vector<catalog::Transform>& transforms);
/// What is told to who is not the owner.
Error not_owner(std::string_view what, const std::string& owner, const std::string& user);
/// That a pipeline uses `object`, or (`cascade`) what would go with it. Errors: kDependentObjects.
Result<> check_pipelines(const catalog::Snapshot& snapshot, const catalog::Object& object,
                         bool cascade);
/// That no aggregate's pipeline reads `old` and would find its keys in other partitions.
Result<> check_pipelines(const catalog::Snapshot& snapshot, const catalog::Object& old,
                         const catalog::Object& next);
/// The whole way of a topic's record, from its producer to each of its consumers, a line a step.
std::string explain_topic(const catalog::Snapshot& snapshot, const catalog::Object& topic);
Result<Listing> show_create(const catalog::Snapshot& snapshot, const ShowCreate& show);
/// The operators of a materialized view, indented, one a line, with what they have done so far:
/// the rows of millrace.operators as EXPLAIN ANALYZE shows them.
Result<std::string> analyze_view(Host& host, const catalog::Object& view);
/// `view_columns`: gives a plain view's columns, which the catalog does not keep.
Result<Listing> describe_object(
    const catalog::Object& object,
    const std::function<Result<ViewPlanner::Checked>(const std::string&)>& view_columns);

}  // namespace millrace::sql
