#include "app/serve_options.h"

namespace millrace {

using config::Type;

std::vector<config::Option> ServeOptions::declared() {
  return {
      {"data", Type::kPath, "", "The node's folder; made when it does not exist"},
      {"kafka", Type::kAddress, "127.0.0.1:9092", "Where Kafka clients connect"},
      {"pg", Type::kAddress, "127.0.0.1:5432",
       "Where PostgreSQL clients connect; 5433 when nothing is said and 5432 is taken"},
      {"http", Type::kAddress, "127.0.0.1:8080", "Where /metrics and /healthz answer"},
      {"cores", Type::kInteger, "0", "I/O threads; 0 is one a core", {}, 0, 1024},
      {"memory", Type::kBytes, "0", "What the node may use, as in 2GiB; 0 decides by the machine"},
      {"log-level",
       Type::kChoice,
       "info",
       "The least level that is logged",
       {"debug", "info", "warn", "error"}},
      {"log-format",
       Type::kChoice,
       "text",
       "Lines of text, or one JSON object a line",
       {"text", "json"}},
      {"kafka-advertised", Type::kAddress, "",
       "The address that Kafka clients are told to connect to; by default the one in use"},
      {"auto-create-topics", Type::kBool, "true",
       "Whether a Kafka client that asks for a topic that does not exist makes it"},
  };
}

Result<ServeOptions> ServeOptions::load(const config::Inputs& inputs) {
  MR_TRY(const auto c, config::Config::load(declared(), inputs));
  ServeOptions options;
  options.data = c.text("data");
  if (options.data.empty()) {
    return Error{ErrorCode::kInvalidConfig,
                 "option data: no folder is named; say --data DIR or MILLRACE_DATA=DIR"};
  }
  options.kafka = c.address("kafka");
  options.pg = c.address("pg");
  options.pg_may_move = c.source("pg") == config::Source::kDefault;
  options.http = c.address("http");
  options.cores = static_cast<size_t>(c.integer("cores"));
  options.memory_bytes = c.bytes("memory");
  const auto& level = c.text("log-level");
  options.log_level = level == "debug"  ? logging::Level::kDebug
                      : level == "info" ? logging::Level::kInfo
                      : level == "warn" ? logging::Level::kWarn
                                        : logging::Level::kError;
  options.log_format =
      c.text("log-format") == "json" ? logging::Format::kJson : logging::Format::kText;
  options.kafka_advertised = c.text("kafka-advertised");
  options.auto_create_topics = c.boolean("auto-create-topics");
  return options;
}

}  // namespace millrace
