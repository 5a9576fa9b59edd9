#include <map>

#include "kafka/handlers/configs.h"
#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {

using Wanted = CreateTopicsRequest::CreatableTopic;
using Answer = CreateTopicsResponse::CreatableTopicResult;

Answer failed(std::string name, int16_t code, std::string message) {
  Answer answer;
  answer.name = std::move(name);
  answer.error_code = code;
  answer.error_message = std::move(message);
  return answer;
}

/// The object that is asked for, or what is wrong with the request, as code and message.
struct Refusal {
  int16_t code = wire::kNone;
  std::string message;
};
Refusal read_request(const Wanted& wanted, int32_t partitions_default, catalog::Object& object) {
  object.name = wanted.name;
  object.partitions = wanted.num_partitions == -1 ? partitions_default : wanted.num_partitions;
  if (!wanted.assignments.empty()) {
    if (wanted.num_partitions != -1 || wanted.replication_factor != -1) {
      return {wire::kInvalidRequest,
              "with assignments, partitions and replication factor must be -1"};
    }
    std::map<int32_t, const std::vector<int32_t>*> by_index;
    for (const auto& a : wanted.assignments) by_index[a.partition_index] = &a.broker_ids;
    int32_t next = 0;
    for (const auto& [index, brokers] : by_index) {
      if (index != next++ || *brokers != std::vector<int32_t>{kNodeId}) next = INT32_MIN;
    }
    if (next != static_cast<int32_t>(wanted.assignments.size())) {
      return {wire::kInvalidReplicaAssignment,
              fmt::format("assignments must name partitions 0, 1, ... once, each on node {} alone",
                          kNodeId)};
    }
    object.partitions = next;
  } else if (wanted.replication_factor != -1 && wanted.replication_factor != 1) {
    return {static_cast<int16_t>(info(ErrorCode::kInvalidReplication).kafka),
            fmt::format("replication factor {}: there is one node; ask for 1 or -1",
                        wanted.replication_factor)};
  }
  if (object.partitions < 1) {
    return {static_cast<int16_t>(info(ErrorCode::kInvalidPartitions).kafka),
            fmt::format("{} partitions: at least 1 is needed", object.partitions)};
  }
  for (const auto& config : wanted.configs) {
    if (!config.value) {
      return {static_cast<int16_t>(info(ErrorCode::kInvalidConfig).kafka),
              fmt::format("configuration '{}' has no value", config.name)};
    }
    object.options[config.name] = *config.value;
  }
  return {};
}

Answer describe(const broker::Topic& topic, const std::string& name, int16_t version) {
  Answer answer;
  answer.name = name;
  answer.topic_id = topic.object.id;
  answer.num_partitions = topic.object.partitions;
  answer.replication_factor = 1;
  answer.error_message = std::nullopt;
  if (version < 5) return answer;
  auto& configs = answer.configs.emplace();
  for (auto& [option, value] : broker::effective_options(topic.object)) {
    auto& config = configs.emplace_back();
    config.config_source = topic.object.options.contains(option) ? kTopicSource : kDefaultSource;
    config.name = option;
    config.value = std::move(value);
  }
  return answer;
}

}  // namespace

io::Task<CreateTopicsResponse> create_topics(Context& context, CreateTopicsRequest request) {
  std::map<std::string, int> times;
  for (const auto& wanted : request.topics) ++times[wanted.name];

  CreateTopicsResponse response;
  for (const auto& wanted : request.topics) {
    const int seen = times[wanted.name];
    if (seen > 1) {
      response.topics.push_back(
          failed(wanted.name, wire::kInvalidRequest, "the request names this topic twice"));
      times[wanted.name] = 0;
    }
    if (seen != 1) continue;
    catalog::Object object;
    auto refusal = read_request(wanted, context.broker().options().partitions_default, object);
    if (refusal.code != wire::kNone) {
      response.topics.push_back(failed(wanted.name, refusal.code, std::move(refusal.message)));
      continue;
    }
    auto created =
        co_await context.broker().create(std::move(object), false, request.validate_only);
    response.topics.push_back(
        created ? describe(**created, wanted.name, context.version())
                : failed(wanted.name, wire_code(created.error()), created.error().text));
  }
  co_return response;
}

}  // namespace millrace::kafka
