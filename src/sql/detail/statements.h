#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "catalog/catalog.h"
#include "sql/detail/lexer.h"

namespace millrace::sql {

// The statements that are ours and not DuckDB's, parsed. Positions are byte offsets into the
// statement's text.

/// CREATE [OR REPLACE] TOPIC | TABLE | [MATERIALIZED] VIEW | SINK [IF NOT EXISTS] name ...
struct CreateObject {
  catalog::Object object;  // what the text alone says: no id, no dependencies, no view columns
  bool or_replace = false;
  bool if_not_exists = false;
  size_t query_begin = 0;      // views: where the SELECT begins
  size_t query_end = 0;        // and where it ends
  size_t watermark_begin = 0;  // topics: where the watermark's expression begins
};
/// CREATE [OR REPLACE] SOURCE [IF NOT EXISTS] name FROM connector [WITH (...)]
///     [TRANSFORM function[.export][(...)], ... [ON ERROR ...]] INTO topic
/// CREATE [OR REPLACE] SINK [IF NOT EXISTS] name INTO connector ... FROM topic
struct CreateConnector {
  catalog::Object object;  // what the text alone says: exports and topic as they are spelled
  bool or_replace = false;
  bool if_not_exists = false;
  size_t connector_begin = 0;
  size_t topic_begin = 0;
  std::vector<size_t> steps_begin;  // of the transforms
};
/// ALTER SOURCE | SINK name PAUSE | RESUME
struct PauseConnector {
  catalog::Kind kind = catalog::Kind::kSource;
  std::string name;
  size_t name_begin = 0;
  bool paused = true;
};
/// CREATE [OR REPLACE] FUNCTION [IF NOT EXISTS] name [(types) RETURNS type] LANGUAGE wasm
/// FROM 'source' [EXPORT name[(parameters)]] [WITH (limits)]
struct CreateFunction {
  std::string name;
  std::vector<catalog::Column> arguments;  // of a scalar
  std::string returns;                     // empty: it is no scalar
  catalog::Transform scalar;               // its export, if said, parameters and limits
  size_t export_begin = 0;
  std::string source;  // a path that the node reads, data:application/wasm;base64,... or sha256:...
  size_t source_begin = 0;
  bool or_replace = false;
  bool if_not_exists = false;
};
/// ALTER FUNCTION name RESUME
struct ResumeFunction {
  std::string name;
  size_t name_begin = 0;
};
/// ALTER TOPIC name ADD | DROP TRANSFORM function[.export] ...
struct AlterTransforms {
  std::string topic;
  size_t topic_begin = 0;
  bool add = true;
  catalog::Transform transform;  // no owner, and no export where none was said
  size_t begin = 0;              // of the function's name
  bool any_place = false;        // DROP without ON: wherever it stands
};
/// CREATE [OR REPLACE] TRANSFORM [IF NOT EXISTS] name FROM ... INTO ... USING ...
struct CreatePipeline {
  catalog::Object object;  // what the text alone says: exports may be open, no owner
  bool or_replace = false;
  bool if_not_exists = false;
  std::vector<std::pair<std::string, size_t>> topics;  // each that it names, and where
  std::vector<size_t> steps;                           // where each function's name stands
};
/// ALTER TRANSFORM name PAUSE | RESUME
struct AlterPipeline {
  std::string name;
  size_t name_begin = 0;
  bool paused = true;
};
/// CREATE | ALTER USER name [WITH] PASSWORD '...'
struct PutUser {
  bool create = true;
  std::string name;
  size_t name_begin = 0;
  std::string password;
  size_t password_begin = 0;
};
/// EXPLAIN TOPIC name
struct ExplainTopic {
  std::string name;
  size_t name_begin = 0;
};
/// DROP TOPIC | TABLE | [MATERIALIZED] VIEW | SOURCE | SINK | FUNCTION | TRANSFORM | USER
/// [IF EXISTS] name [CASCADE]
struct DropObject {
  catalog::Kind kind = catalog::Kind::kTopic;
  bool sink = false;  // a query's, not a connector's
  std::string name;   // of a sink: of its view
  size_t name_begin = 0;
  bool if_exists = false;
  bool cascade = false;  // what depends on it too
};
/// ALTER MATERIALIZED VIEW | SINK name PAUSE | RESUME
struct PauseView {
  std::string name;  // of a sink: of its view
  size_t name_begin = 0;
  bool sink = false;
  bool paused = true;
};
/// SHOW TOPICS | TABLES | VIEWS | SOURCES | SINKS | FUNCTIONS | TRANSFORMS | USERS | ALL
struct ShowObjects {
  enum class What {
    kTopics,
    kTables,
    kViews,
    kSources,
    kSinks,
    kFunctions,
    kTransforms,
    kUsers,
    kAll
  };
  What what = What::kAll;
};
/// SHOW CREATE [kind] name
struct ShowCreate {
  std::string name;
  size_t name_begin = 0;
};
/// DESCRIBE name, when `name` is in the catalog
struct DescribeObject {
  std::string name;
};
/// EXPLAIN [ANALYZE] [MATERIALIZED VIEW] name, when `name` is a materialized view or a sink
struct ExplainView {
  std::string name;
  bool analyze = false;
};
/// APPLY [DRY RUN] CREATE ... | ALTER TOPIC ... ADD TRANSFORM ...
struct ApplyObject {
  CreateObject create;                       // or
  std::optional<CreateFunction> function;    // or
  std::optional<CreateConnector> connector;  // or
  std::optional<CreatePipeline> pipeline;    // or
  std::optional<AlterTransforms> alter;
  bool dry_run = false;
};
/// SUBSCRIBE [TO] name | (query) [AFTER 'token'] [WITH SNAPSHOT | PROGRESS | (SNAPSHOT, PROGRESS)]
struct SubscribeTo {
  std::string name;   // or
  std::string query;  // in parentheses
  size_t begin = 0;   // of either
  bool snapshot = false;
  bool progress = false;
  std::string token;
  size_t after_begin = 0;
};
struct EndTransaction {
  bool commit = true;
};
struct BeginTransaction {};

using OurStatement =
    std::variant<CreateObject, DropObject, ShowObjects, ShowCreate, DescribeObject, ExplainView,
                 ApplyObject, PauseView, SubscribeTo, BeginTransaction, EndTransaction,
                 CreateFunction, ResumeFunction, AlterTransforms, ExplainTopic, CreateConnector,
                 PauseConnector, CreatePipeline, AlterPipeline, PutUser>;

/// Parses `sql` when it is one of ours; nothing when it is DuckDB's. `tokens` are its tokens.
/// Errors: kSyntax, kNotSupported, kTypeMismatch, each with position and hint.
Result<std::optional<OurStatement>> parse_ours(std::string_view sql,
                                               const std::vector<Token>& tokens,
                                               const catalog::Snapshot& snapshot);

}  // namespace millrace::sql
