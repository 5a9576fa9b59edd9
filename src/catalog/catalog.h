#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/io/env.h"
#include "base/io/shard.h"

namespace millrace::catalog {

enum class Kind {
  kTopic,
  kTable,
  kView,
  kMaterializedView,
  kFunction,
  kPipeline,
  kSource,
  kSink,
  kUser,  // in a name space of their own: Snapshot::find_user()
};
/// "topic", "table", "view", "materialized view", "function", "transform", "source", "sink", "user"
std::string_view name_of(Kind kind);

struct Column {
  std::string name;
  std::string type;  // SQL, as DuckDB prints it: BIGINT, STRUCT(a INTEGER, b VARCHAR)[]
  bool not_null = false;
  std::string default_sql = {};  // empty: none
  bool operator==(const Column&) const = default;
};

/// `WATERMARK FOR column AS expression`
struct Watermark {
  std::string column;
  std::string expression;  // SQL over the topic's columns
  bool operator==(const Watermark&) const = default;
};

/// What a topic's records go through on their way in (ON PRODUCE) or out (ON FETCH), on their way
/// from topics to others (a pipeline), or from and to other systems (connectors): one export of a
/// function.
struct Transform {
  enum class Place { kProduce, kFetch, kPipeline, kSource, kSink };
  /// What is done when the module fails, or says that a record does.
  enum class OnError { kReject, kDeadLetter, kSkip };
  std::string function;     // an object of kind kFunction
  std::string export_name;  // of its module
  Place place = Place::kProduce;
  std::string group = {};  // on fetch, for the consumers of this group alone; empty: for all
  std::string user = {};   // on fetch, for connections that are logged in as this user alone
  OnError on_error = OnError::kReject;
  std::map<std::string, std::string> params = {};
  std::map<std::string, std::string> options = {};  // its limits and look-back: function.h
  std::string owner = {};                           // who added it, and alone may remove it
  bool operator==(const Transform&) const = default;
};

/// One thing that exists: what its statement said, parsed.
struct Object {
  Kind kind = Kind::kTopic;
  std::string name;
  Uuid id;
  uint64_t version = 1;                  // counts its replacements
  std::vector<Column> columns;           // empty for a topic made by a Kafka client: it is raw
  std::vector<std::string> primary_key;  // tables
  std::optional<Watermark> watermark;    // topics
  std::string query;                     // views: the SELECT, as written
  std::vector<std::string> depends_on;   // names of the objects that a view reads, or that a
                                         // topic's or a pipeline's transforms use, or a
                                         // connector; sorted
  int32_t partitions = 1;                // topics
  std::map<std::string, std::string>
      options;      // topics: Kafka configuration names and ours (format, on_error, durability);
                    // functions: see function.h; pipelines: pipeline.h; connectors: connector.h;
                    // users: guard/users.h
  std::string sql;  // the statement that makes it, in one canonical spelling
  bool internal = false;  // not shown by default: changelogs, dead letters' bookkeeping
  std::string owner;      // functions, pipelines, connectors, users: who made it
  std::vector<Transform>
      transforms;  // topics, pipelines, connectors: in the order in which they are applied

  /// Same definition: all but id and version.
  bool same_definition(const Object& other) const;
};

/// Everything that exists at one moment; immutable, shared across shards.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  /// Names are case-insensitive, as in SQL; topics made by Kafka clients keep their spelling. Null:
  /// no such object.
  virtual const Object* find(std::string_view name) const = 0;
  virtual const Object* find(const Uuid& id) const = 0;
  /// By name; without users.
  virtual std::vector<const Object*> list() const = 0;
  /// Who reads `name`.
  virtual std::vector<const Object*> dependents(std::string_view name) const = 0;
  /// The user of exactly this name; null: none.
  virtual const Object* find_user(std::string_view) const { return nullptr; }
  /// By name.
  virtual std::vector<const Object*> users() const { return {}; }
  /// Grows with every change.
  virtual uint64_t version() const = 0;
};

/// What exists, as a log: every change is a record of the partition DIR/log/__catalog-0, durable
/// before it is seen. Lives on one shard; snapshot() is for any thread.
class Catalog {
 public:
  /// Replays the log. Errors: kIo, kCorruptRecord.
  static io::Task<Result<std::unique_ptr<Catalog>>> open(io::Env& env, io::Shard& shard,
                                                         std::string path);
  virtual ~Catalog() = default;

  virtual std::shared_ptr<const Snapshot> snapshot() const = 0;

  /// Adds `object` (kDuplicateObject when the name is taken), or with `replace` puts it in place of
  /// the one of its name and kind (keeping its id, version + 1). Durable when it succeeds. Gives
  /// the object as stored. Any shard.
  virtual io::Task<Result<Object>> put(Object object, bool replace) = 0;
  /// Errors: kUndefinedObject, kDependentObjects (names them).
  virtual io::Task<Result<>> drop(std::string name) = 0;
  /// Errors: kUndefinedObject, kDependentObjects (transforms that are for the user, what it owns).
  virtual io::Task<Result<>> drop_user(std::string name) = 0;

  virtual io::Task<Result<>> close() = 0;
};

}  // namespace millrace::catalog
