#include "app/serve_options.h"

#include <limits>

namespace millrace {

using config::Type;

std::vector<config::Option> ServeOptions::declared() {
  return {
      {"data", Type::kPath, "", "The node's folder; made when it does not exist"},
      {"kafka", Type::kAddress, "127.0.0.1:9092", "Where Kafka clients connect"},
      {"pg", Type::kAddress, "127.0.0.1:5432",
       "Where PostgreSQL clients connect; 5433 when nothing is said and 5432 is taken"},
      {"http", Type::kAddress, "127.0.0.1:8080",
       "Where HTTP clients connect: metrics, health, subscriptions, records for sources"},
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
      {"kafka-connections-max",
       Type::kInteger,
       "10000",
       "Connections of Kafka clients at a time; more are closed at once",
       {},
       1,
       1'000'000},
      {"kafka-idle-ms",
       Type::kInteger,
       "600000",
       "After so long without a request a Kafka client's connection is closed",
       {},
       1000,
       std::numeric_limits<int32_t>::max()},
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
  options.kafka_connections_max = static_cast<size_t>(c.integer("kafka-connections-max"));
  options.kafka_idle = std::chrono::milliseconds(c.integer("kafka-idle-ms"));
  return options;
}

}  // namespace millrace
