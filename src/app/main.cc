#include <CLI/CLI.hpp>

#include "app/cli.h"
#include "app/completion.h"
#include "app/node_file.h"
#include "app/serve_options.h"
#include "app/version.h"

namespace {

using namespace millrace::app;

constexpr const char* kFooter = R"(
Exit codes: 0 done; 1 the node or a file refused (the reason is on standard error); 2 wrong usage; 3 no node answers.
A first look:  millrace serve --data ./data    then    millrace sql --data ./data -c "SHOW ALL")";

void add_target(CLI::App* command, Target& target, bool kafka, bool pg) {
  command
      ->add_option("--data", target.data,
                   "Folder of the node to talk to: its node.json says the addresses")
      ->envname("MILLRACE_DATA")
      ->option_text(fmt::format("DIR [{}, or MILLRACE_DATA]", kDefaultData));
  if (kafka)
    command->add_option("--kafka", target.kafka, "Kafka address, instead of the one in node.json")
        ->option_text("HOST:PORT");
  if (pg)
    command->add_option("--pg", target.pg, "PostgreSQL address, instead of the one in node.json")
        ->option_text("HOST:PORT");
}

void add_output(CLI::App* command, Output& output) {
  auto set = [&output](const std::string& name) {
    output = name == "json" ? Output::kJson : name == "csv" ? Output::kCsv : Output::kTable;
  };
  command->add_option_function<std::string>("-o,--output", set, "table, json or csv [table]")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->option_text("FORMAT");
}

/// What stands for an option's value in the help.
std::string placeholder(const millrace::config::Option& option) {
  using millrace::config::Type;
  switch (option.type) {
    case Type::kAddress:
      return "HOST:PORT";
    case Type::kPath:
      return "PATH";
    case Type::kBytes:
      return "SIZE";
    case Type::kInteger:
      return "N";
    case Type::kDuration:
      return "TIME";
    case Type::kBool:
      return "true|false";
    case Type::kChoice:
      return fmt::format("{}", fmt::join(option.choices, "|"));
    case Type::kText:
      break;
  }
  return "TEXT";
}

/// The commands' arguments, and which one was chosen.
struct Commands {
  ServeArguments serve;
  SqlArguments sql;
  SubscribeArguments subscribe;
  ApplyArguments apply;
  TopicArguments topic;
  GroupArguments group;
  ShowArguments show;
  DeadLetterArguments dead_letter;
  ProduceArguments produce;
  ConsumeArguments consume;
  ModuleArguments module;
  std::string shell;
  std::function<int()> chosen;

  Commands() {
    for (auto* target :
         {&sql.target, &subscribe.target, &apply.target, &topic.target, &group.target, &show.target,
          &dead_letter.target, &produce.target, &consume.target, &module.target}) {
      target->data = kDefaultData;
    }
  }
};

void add_serve(CLI::App& app, Commands& c) {
  auto* command = app.add_subcommand("serve", "Run a node");
  for (const auto& option : millrace::ServeOptions::declared()) {
    std::string name(option.name), help(option.help);
    if (!option.default_value.empty()) help += fmt::format(" [{}]", option.default_value);
    auto set = [&c, name](const std::string& value) { c.serve.flags[name] = value; };
    command->add_option_function<std::string>("--" + name, set, help)
        ->option_text(placeholder(option));
  }
  command
      ->add_option("--config", c.serve.config_file,
                   "File of `option = value` lines; flags and MILLRACE_* win over it")
      ->option_text("FILE");
  command->callback([&c] { c.chosen = [&c] { return serve(c.serve); }; });
}

void add_sql(CLI::App& app, Commands& c) {
  auto* command =
      app.add_subcommand("sql", "Run SQL statements; without -c or -f, those typed or piped in");
  add_target(command, c.sql.target, false, true);
  command->add_option("-c,--command", c.sql.statements, "Statement to run (may be given again)")
      ->option_text("STATEMENT");
  command->add_option("-f,--file", c.sql.files, "File of statements to run (may be given again)")
      ->option_text("FILE");
  add_output(command, c.sql.output);
  command->callback([&c] { c.chosen = [&c] { return sql(c.sql); }; });
}

void add_subscribe(CLI::App& app, Commands& c) {
  auto* command = app.add_subcommand("subscribe", "Print a view's rows as they change");
  auto& subscribe = c.subscribe;
  add_target(command, subscribe.target, false, true);
  command
      ->add_option("WHAT", subscribe.what,
                   "View, topic or table; or a query in parentheses: \"(SELECT …)\"")
      ->required();
  command->add_flag("-s,--snapshot", subscribe.snapshot, "Begin with the rows as they are");
  command->add_flag("--progress", subscribe.progress,
                    "Print the token of each epoch, to go on after it");
  command->add_option("--after", subscribe.after, "Go on after this token")->option_text("TOKEN");
  command->add_option("-n,--count", subscribe.count, "Stop after this many rows");
  add_output(command, subscribe.output);
  command->callback([&c] { c.chosen = [&c] { return millrace::app::subscribe(c.subscribe); }; });
}

void add_apply(CLI::App& app, Commands& c) {
  auto* command =
      app.add_subcommand("apply", "Make the catalog what .sql files declare; says what it did");
  add_target(command, c.apply.target, false, true);
  command
      ->add_option("PATH", c.apply.paths,
                   "Files, or folders whose *.sql files are taken in the order of their names")
      ->required();
  command->add_flag("--dry-run", c.apply.dry_run, "Say what would be done, do nothing");
  add_output(command, c.apply.output);
  command->callback([&c] { c.chosen = [&c] { return apply(c.apply); }; });
}

/// Which of a node's addresses an action talks to.
enum class Wire { kKafka, kPg };

/// Adds an action to a command that is made of some; chosen, it runs `run` with `arguments`.
template <typename Arguments>
CLI::App* add_action(CLI::App* command, Commands& c, Arguments& arguments,
                     int (*run)(const Arguments&), const char* action, const char* help,
                     Wire wire) {
  auto* sub = command->add_subcommand(action, help);
  add_target(sub, arguments.target, wire == Wire::kKafka, wire == Wire::kPg);
  sub->callback([&c, &arguments, run, action] {
    arguments.action = action;
    c.chosen = [&arguments, run] { return run(arguments); };
  });
  return sub;
}

void add_topic(CLI::App& app, Commands& c) {
  auto* command = app.add_subcommand("topic", "List, create, describe and delete topics");
  command->require_subcommand(1);
  const auto add = [&](const char* action, const char* help) {
    return add_action(command, c, c.topic, topic, action, help, Wire::kKafka);
  };
  add_output(add("list", "All topics"), c.topic.output);
  auto* create = add("create", "Create topics");
  create->add_option("NAME", c.topic.names, "Names")->required();
  create->add_option("-p,--partitions", c.topic.partitions, "Number of partitions")
      ->capture_default_str();
  create->add_option("-c,--config", c.topic.configs,
                     "key=value, e.g. retention.ms=60000 (may be given again)");
  auto* describe = add("describe", "Partitions, offsets and configuration of topics");
  describe->add_option("NAME", c.topic.names, "Names")->required();
  add_output(describe, c.topic.output);
  add("delete", "Delete topics and their records")
      ->add_option("NAME", c.topic.names, "Names")
      ->required();
}

void add_group(CLI::App& app, Commands& c) {
  auto* command = app.add_subcommand(
      "group", "List and describe consumer and share groups, and where they are; reset, delete");
  command->require_subcommand(1);
  const auto add = [&](const char* action, const char* help, Wire wire) {
    return add_action(command, c, c.group, group, action, help, wire);
  };
  add_output(add("list", "All groups, with their members and their lag", Wire::kPg),
             c.group.output);
  auto* describe = add("describe", "A group's members, and its offsets with their lag", Wire::kPg);
  describe->add_option("GROUP", c.group.name, "Group")->required();
  add_output(describe, c.group.output);
  add("delete", "Forget a group without members, and its offsets", Wire::kKafka)
      ->add_option("GROUP", c.group.name, "Group")
      ->required();
  auto* reset = add("reset", "Set where a group without members goes on in a topic", Wire::kKafka);
  reset->add_option("GROUP", c.group.name, "Group")->required();
  reset->add_option("--topic", c.group.topic, "Topic")->required();
  reset
      ->add_option("--to", c.group.to,
                   "beginning, end, an offset, or a time such as 2013-01-01T00:00:00Z")
      ->required();
  reset->add_flag("--dry-run", c.group.dry_run, "Say the offsets, change nothing");
  add_output(reset, c.group.output);
}

void add_show(CLI::App& app, Commands& c, const char* name, const char* help, const char* table) {
  auto* command = app.add_subcommand(name, help);
  command->require_subcommand(1);
  auto* sub = command->add_subcommand("list", help);
  add_target(sub, c.show.target, false, true);
  add_output(sub, c.show.output);
  sub->callback([&c, table] {
    c.show.table = table;
    c.chosen = [&c] { return show(c.show); };
  });
}

void add_dead_letter(CLI::App& app, Commands& c) {
  auto* command =
      app.add_subcommand("dead-letter", "List the records that were set aside; replay them");
  command->require_subcommand(1);
  const auto add = [&](const char* action, const char* help) {
    auto* sub = add_action(command, c, c.dead_letter, dead_letter, action, help, Wire::kKafka);
    sub->add_option("TOPIC", c.dead_letter.topic, "Topic whose dead letters are meant")->required();
    sub->add_option("--reason", c.dead_letter.reason, "Only those whose reason holds this text");
    add_output(sub, c.dead_letter.output);
    return sub;
  };
  add("list", "Each with its reason and where it was");
  auto* replay = add("replay", "Produce them again, as they were, to the topic that they were in");
  replay->add_option("--to", c.dead_letter.to, "Topic, instead of theirs");
  replay->add_flag("--from-beginning", c.dead_letter.from_beginning,
                   "Also those that were replayed before");
}

void add_produce(CLI::App& app, Commands& c) {
  auto* command =
      app.add_subcommand("produce", "Append the lines of standard input to a topic, a record each");
  add_target(command, c.produce.target, true, false);
  command->add_option("TOPIC", c.produce.topic, "Topic")->required();
  command->add_option("-K,--key-separator", c.produce.key_separator,
                      "What parts a line's key from its value");
  command->add_option("-H,--header", c.produce.headers,
                      "key=value, a header of every record (may be given again)");
  command->add_option("-z,--compression", c.produce.compression, "none, gzip, snappy, lz4 or zstd")
      ->capture_default_str();
  command->add_option("-p,--partition", c.produce.partition,
                      "Partition, instead of one by the key's hash");
  command->callback([&c] { c.chosen = [&c] { return produce(c.produce); }; });
}

void add_consume(CLI::App& app, Commands& c) {
  auto* command = app.add_subcommand("consume", "Print a topic's records, and those that come");
  add_target(command, c.consume.target, true, false);
  command->add_option("TOPIC", c.consume.topic, "Topic")->required();
  command
      ->add_option("--from", c.consume.from,
                   "beginning, end, an offset, or a time such as 2013-01-01T00:00:00Z")
      ->capture_default_str();
  command->add_option("-n,--count", c.consume.count, "Stop after this many records");
  command->add_flag("-e,--exit", c.consume.exit_at_end, "Stop at the end of the topic");
  add_output(command, c.consume.output);
  command->callback([&c] { c.chosen = [&c] { return consume(c.consume); }; });
}

void add_module_test(CLI::App* command, ModuleArguments& module) {
  command->add_option("FILE", module.file, "The module, compiled")->required();
  command->add_option("-t,--transform", module.transform,
                      "Which of its transforms, if it has several");
  command->add_option("-p,--param", module.parameters, "name=value (may be given again)");
  auto* records =
      command
          ->add_option("--records", module.records,
                       "File of records, a line of JSON each: key, value, headers, timestamp")
          ->option_text("FILE");
  command->add_option("--look-back", module.look_back, "File of the topic's last records")
      ->option_text("FILE");
  auto* cases =
      command
          ->add_option("--cases", module.cases, "File of cases instead, with what is to come out")
          ->option_text("FILE");
  command->add_option("--only", module.only, "Only the cases of this module")->needs(cases);
  cases->excludes(records);
  add_output(command, module.output);
}

void add_module(CLI::App& app, Commands& c) {
  auto* command = app.add_subcommand(
      "module",
      "Smart modules: begin a project, build, test, deploy; list those of a node, and their logs");
  command->require_subcommand(1);
  const auto add_here = [&](const char* action, const char* help) {
    auto* sub = command->add_subcommand(action, help);
    sub->callback([&c, action] {
      c.module.action = action;
      c.chosen = [&c] { return module(c.module); };
    });
    return sub;
  };
  auto* init = add_here("init", "Write a project: a module, its test, and the SDK");
  init->add_option("-l,--language", c.module.language, "cpp, rust or assemblyscript")
      ->required()
      ->check(CLI::IsMember({"cpp", "rust", "assemblyscript"}))
      ->option_text("LANGUAGE");
  init->add_option("NAME", c.module.name, "Name of the folder and of the module")->required();
  c.module.file = ".";
  add_here("build", "Compile a project to WebAssembly")
      ->add_option("FOLDER", c.module.file, "The project [.]");
  add_module_test(add_here("test", "Run a module on a file of records, without a node"), c.module);
  const auto add = [&](const char* action, const char* help) {
    return add_action(command, c, c.module, module, action, help, Wire::kPg);
  };
  auto* deploy = add("deploy", "Make a module a function of the node, or replace it");
  deploy->add_option("FILE", c.module.file, "The module, compiled")->required();
  deploy->add_option("--name", c.module.name, "Name of the function, instead of the file's");
  add_output(add("list", "The node's functions"), c.module.output);
  auto* logs = add("logs", "What modules logged");
  logs->add_option("NAME", c.module.name, "Of this function alone");
  add_output(logs, c.module.output);
}

int run(int argc, char** argv) {
  CLI::App app{"Millrace: a whole real-time data system in one binary", "millrace"};
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every command");
  app.set_version_flag("--version", std::string("millrace ") + kVersion);
  Commands c;
  add_serve(app, c);
  add_sql(app, c);
  add_subscribe(app, c);
  add_apply(app, c);
  add_topic(app, c);
  add_group(app, c);
  add_show(app, c, "view", "List materialized views and sinks, and how far they are", "views");
  add_show(app, c, "transaction", "List transactional ids and their transactions", "transactions");
  add_show(app, c, "quota", "List the quotas of clients", "quotas");
  add_show(app, c, "connection", "List the Kafka clients' connections", "connections");
  add_dead_letter(app, c);
  add_produce(app, c);
  add_consume(app, c);
  add_module(app, c);
  auto* version = app.add_subcommand("version", "Print the version");
  version->callback([&c] {
    c.chosen = [] {
      fmt::print("millrace {}\n", kVersion);
      return 0;
    };
  });
  auto* complete = app.add_subcommand(
      "completion", "Print a completion script: source <(millrace completion bash)");
  complete->add_option("SHELL", c.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  complete->callback([&] {
    c.chosen = [&] {
      fmt::print("{}", completion_script(c.shell, command_words(app)));
      return 0;
    };
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;
  }
  return c.chosen();
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
