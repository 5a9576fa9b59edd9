#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace::app {

/// What the shell gets; docs/cli.md says when.
enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2, kUnreachable = 3 };

enum class Output { kTable, kJson, kCsv };

/// Which node a client command talks to, as the command line says it.
struct Target {
  std::string data;   // a node's folder: its node.json says the addresses
  std::string kafka;  // "host:port"; empty: from node.json, else the default
  std::string pg;
};

/// The addresses of `target`'s node: what was given, else DATA/node.json, else the defaults of
/// `millrace serve`.
Result<Target> resolve(Target target);

/// Prints `error` to standard error as "millrace: text", with its hint; gives the exit code for it.
int fail(const Error& error);

/// Each command; `kOk` or the exit code for what went wrong, which has been told on standard error.
struct ServeArguments {
  std::map<std::string, std::string> flags;  // by option name, as given
  std::string config_file;
};
int serve(const ServeArguments& arguments);

struct SqlArguments {
  Target target;
  std::vector<std::string> statements;
  std::vector<std::string> files;
  Output output = Output::kTable;
};
int sql(const SqlArguments& arguments);

struct SubscribeArguments {
  Target target;
  std::string what;  // a name, or a query in parentheses
  bool snapshot = false;
  bool progress = false;
  std::string after;             // a token
  std::optional<int64_t> count;  // of rows
  Output output = Output::kTable;
};
int subscribe(const SubscribeArguments& arguments);

struct ApplyArguments {
  Target target;
  std::vector<std::string> paths;
  bool dry_run = false;
  Output output = Output::kTable;
};
int apply(const ApplyArguments& arguments);

struct TopicArguments {
  Target target;
  std::string action;  // list, create, describe, delete
  std::vector<std::string> names;
  int partitions = 1;
  std::vector<std::string> configs;  // key=value
  Output output = Output::kTable;
};
int topic(const TopicArguments& arguments);

struct GroupArguments {
  Target target;
  std::string action;  // list, describe, delete, reset
  std::string name;
  std::string topic;  // reset
  std::string to;     // reset: beginning, end, an offset, or a time
  bool dry_run = false;
  Output output = Output::kTable;
};
int group(const GroupArguments& arguments);

/// Prints a system table.
struct ShowArguments {
  Target target;
  std::string table;
  Output output = Output::kTable;
};
int show(const ShowArguments& arguments);

struct DeadLetterArguments {
  Target target;
  std::string action;  // list, replay
  std::string topic;   // whose dead letters
  std::string to;      // replay: instead of the topic that each letter names
  std::string reason;  // only letters whose reason holds this text
  bool from_beginning = false;
  Output output = Output::kTable;
};
int dead_letter(const DeadLetterArguments& arguments);

struct ProduceArguments {
  Target target;
  std::string topic;
  std::string key_separator;         // empty: lines have no key
  std::vector<std::string> headers;  // key=value, on every record
  std::string compression = "none";
  int partition = -1;
};
int produce(const ProduceArguments& arguments);

struct ConsumeArguments {
  Target target;
  std::string topic;
  std::string from = "end";  // beginning, end, an offset, or a time
  std::optional<int64_t> count;
  bool exit_at_end = false;
  Output output = Output::kTable;  // kTable: the value, a line each
};
int consume(const ConsumeArguments& arguments);

/// Smart modules: docs/modules.md.
struct ModuleArguments {
  Target target;
  std::string action;    // init, build, test, deploy, list, logs
  std::string name;      // init: of the module; deploy: of the function; logs: of it alone
  std::string language;  // init: cpp, rust, assemblyscript
  std::string file;      // test, deploy: the module; build: the project's folder
  std::string transform;
  std::vector<std::string> parameters;  // name=value
  std::string records, look_back, cases;
  std::string only;  // cases: of this module
  Output output = Output::kTable;
};
int module(const ModuleArguments& arguments);

}  // namespace millrace::app
