#include <fmt/ranges.h>

#include "app/cli.h"
#include "app/kafka_client.h"
#include "app/table_printer.h"

namespace millrace::app {

namespace {

/// Prints what became of each topic; an error stays for the end, so that the others are still told.
Result<> report(const rd_kafka_topic_result_t* const* results, size_t count, const char* done) {
  Result<> outcome;
  for (size_t i = 0; i < count; ++i) {
    const char* name = rd_kafka_topic_result_name(results[i]);
    if (auto code = rd_kafka_topic_result_error(results[i])) {
      const char* text = rd_kafka_topic_result_error_string(results[i]);
      outcome = Error{ErrorCode::kInvalidArgument,
                      fmt::format("topic \"{}\": {}", name, text ? text : rd_kafka_err2str(code))};
    } else {
      fmt::print("{} topic {}\n", done, name);
    }
  }
  return outcome;
}

Result<> create(rd_kafka_t* client, const TopicArguments& arguments) {
  std::vector<rd_kafka_NewTopic_t*> topics;
  char text[512];
  Result<> good;
  for (const auto& name : arguments.names) {
    auto* topic = rd_kafka_NewTopic_new(name.c_str(), arguments.partitions, 1, text, sizeof text);
    if (!topic) {
      good = Error{ErrorCode::kInvalidArgument, fmt::format("topic \"{}\": {}", name, text)};
      break;
    }
    topics.push_back(topic);
    for (const auto& config : arguments.configs) {
      size_t equals = config.find('=');
      if (equals == std::string::npos) {
        good = Error{ErrorCode::kInvalidConfig, fmt::format("\"{}\" is not key=value", config)};
      } else {
        rd_kafka_NewTopic_set_config(topic, config.substr(0, equals).c_str(),
                                     config.substr(equals + 1).c_str());
      }
    }
  }
  if (good) {
    auto event =
        kafka_admin(client, RD_KAFKA_ADMIN_OP_CREATETOPICS, [&](const auto* options, auto* queue) {
          rd_kafka_CreateTopics(client, topics.data(), topics.size(), options, queue);
        });
    if (event) {
      size_t count = 0;
      const auto* results = rd_kafka_CreateTopics_result_topics(
          rd_kafka_event_CreateTopics_result(event->get()), &count);
      good = report(results, count, "created");
    } else {
      good = std::move(event).error();
    }
  }
  rd_kafka_NewTopic_destroy_array(topics.data(), topics.size());
  return good;
}

Result<> remove(rd_kafka_t* client, const TopicArguments& arguments) {
  std::vector<rd_kafka_DeleteTopic_t*> topics;
  for (const auto& name : arguments.names) topics.push_back(rd_kafka_DeleteTopic_new(name.c_str()));
  auto event =
      kafka_admin(client, RD_KAFKA_ADMIN_OP_DELETETOPICS, [&](const auto* options, auto* queue) {
        rd_kafka_DeleteTopics(client, topics.data(), topics.size(), options, queue);
      });
  rd_kafka_DeleteTopic_destroy_array(topics.data(), topics.size());
  if (!event) return std::move(event).error();
  size_t count = 0;
  const auto* results =
      rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event->get()), &count);
  return report(results, count, "deleted");
}

struct Span {
  int64_t low = 0, high = 0;
};
Result<Span> span_of(rd_kafka_t* client, const std::string& topic, int32_t partition) {
  Span span;
  auto code = rd_kafka_query_watermark_offsets(client, topic.c_str(), partition, &span.low,
                                               &span.high, kKafkaTimeoutMs);
  if (code)
    return kafka_error(code, fmt::format("asking for the offsets of {}-{}", topic, partition));
  return span;
}

Result<> list(rd_kafka_t* client, const TopicArguments& arguments) {
  MR_TRY(auto metadata, kafka_metadata(client, ""));
  TextTable table({"topic", "partitions", "records"});
  table.numeric = {false, true, true};
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const auto& topic = metadata->topics[i];
    int64_t records = 0;
    for (int p = 0; p < topic.partition_cnt; ++p) {
      MR_TRY(auto span, span_of(client, topic.topic, topic.partitions[p].id));
      records += span.high - span.low;
    }
    table.add({topic.topic, std::to_string(topic.partition_cnt), std::to_string(records)});
  }
  std::ranges::sort(table.rows);
  fmt::print("{}", render(table, arguments.output));
  return {};
}

Result<TextTable> configuration(rd_kafka_t* client, const std::string& name) {
  auto* resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name.c_str());
  auto event =
      kafka_admin(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, [&](const auto* options, auto* queue) {
        rd_kafka_DescribeConfigs(client, &resource, 1, options, queue);
      });
  rd_kafka_ConfigResource_destroy(resource);
  if (!event) return std::move(event).error();
  TextTable table({"topic", "option", "value", "default"});
  table.raw_json[3] = true;
  size_t count = 0;
  const auto* resources = rd_kafka_DescribeConfigs_result_resources(
      rd_kafka_event_DescribeConfigs_result(event->get()), &count);
  for (size_t r = 0; r < count; ++r) {
    size_t entries = 0;
    const auto* configs = rd_kafka_ConfigResource_configs(resources[r], &entries);
    for (size_t i = 0; i < entries; ++i) {
      const char* value = rd_kafka_ConfigEntry_value(configs[i]);
      table.add({name, rd_kafka_ConfigEntry_name(configs[i]), value ? value : "",
                 rd_kafka_ConfigEntry_is_default(configs[i]) ? "true" : "false"});
    }
  }
  std::ranges::sort(table.rows);
  return table;
}

Result<> describe(rd_kafka_t* client, const TopicArguments& arguments) {
  TextTable partitions({"topic", "partition", "start_offset", "high_watermark"});
  partitions.numeric = {false, true, true, true};
  TextTable options({"topic", "option", "value", "default"});
  options.raw_json[3] = true;
  for (const auto& name : arguments.names) {
    MR_TRY(auto metadata, kafka_metadata(client, name));
    for (int p = 0; p < metadata->topics[0].partition_cnt; ++p) {
      MR_TRY(auto span, span_of(client, name, p));
      partitions.add(
          {name, std::to_string(p), std::to_string(span.low), std::to_string(span.high)});
    }
    MR_TRY(auto configs, configuration(client, name));
    for (auto& row : configs.rows) options.rows.push_back(std::move(row));
  }
  if (arguments.output == Output::kJson) {
    fmt::print("{{\"partitions\": {}, \"options\": {}}}\n", render(partitions, Output::kJson),
               render(options, Output::kJson));
  } else {
    fmt::print("{}\n{}", render(partitions, arguments.output), render(options, arguments.output));
  }
  return {};
}

}  // namespace

int topic(const TopicArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  // A producer's question for a topic would make it.
  auto client = kafka_connect(RD_KAFKA_CONSUMER, target->kafka);
  if (!client) return fail(client.error());
  Result<> done = arguments.action == "list"     ? list(client->get(), arguments)
                  : arguments.action == "create" ? create(client->get(), arguments)
                  : arguments.action == "delete" ? remove(client->get(), arguments)
                                                 : describe(client->get(), arguments);
  return done ? kOk : fail(done.error());
}

}  // namespace millrace::app
