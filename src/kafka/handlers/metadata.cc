#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {

using TopicMetadata = MetadataResponse::MetadataResponseTopic;
using PartitionMetadata = MetadataResponse::MetadataResponsePartition;

struct Options {
  int16_t version;
  bool create;
  bool operations;
};

TopicMetadata describe(const broker::Topic& topic, std::string name, const Options& options) {
  TopicMetadata answer;
  answer.name = std::move(name);
  answer.topic_id = topic.object.id;
  answer.is_internal = topic.object.internal;
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    answer.partitions.push_back(describe_partition<PartitionMetadata>(static_cast<int32_t>(i)));
  }
  if (options.operations) answer.topic_authorized_operations = kTopicOperations;
  return answer;
}

io::Task<TopicMetadata> by_name(broker::Broker& broker, std::string name, Options options) {
  if (auto topic = broker.find(name)) co_return describe(*topic, name, options);
  TopicMetadata answer;
  answer.name = name;
  answer.error_code = wire::kUnknownTopicOrPartition;
  if (!options.create) co_return answer;

  catalog::Object object;
  object.name = name;
  object.partitions = broker.options().partitions_default;
  auto created = co_await broker.create(std::move(object), false, false);
  if (created) co_return describe(**created, name, options);
  if (created.error().code == ErrorCode::kDuplicateObject) {
    // Another connection was first; or the name is a view's, which has no log, or differs from
    // another's only in case, which SQL does not allow.
    if (auto topic = broker.find(name)) co_return describe(*topic, name, options);
    answer.error_code = wire::kInvalidTopic;
  } else {
    answer.error_code = wire_code(created.error());
  }
  co_return answer;
}

TopicMetadata by_id(const broker::Broker& broker, const Uuid& id, const Options& options) {
  if (auto topic = broker.find(id)) return describe(*topic, topic->object.name, options);
  TopicMetadata answer;
  answer.error_code = wire::kUnknownTopicId;
  answer.topic_id = id;
  if (options.version >= 12) answer.name = std::nullopt;
  return answer;
}

}  // namespace

io::Task<MetadataResponse> metadata(Context& context, MetadataRequest request) {
  const int16_t version = context.version();
  broker::Broker& broker = context.broker();
  MetadataResponse response;
  auto& node = response.brokers.emplace_back();
  node.node_id = kNodeId;
  node.host = context.services.host;
  node.port = context.services.port;
  response.cluster_id = context.services.cluster_id;
  response.controller_id = kNodeId;
  if (request.include_cluster_authorized_operations) {
    response.cluster_authorized_operations = kClusterOperations;
  }

  const Options options{version,
                        request.allow_auto_topic_creation && broker.options().auto_create_topics,
                        request.include_topic_authorized_operations};
  // Null means all topics; in version 0, which has no null, an empty list does.
  if (!request.topics || (version == 0 && request.topics->empty())) {
    for (const auto& topic : broker.list()) {
      response.topics.push_back(describe(*topic, topic->object.name, options));
    }
    co_return response;
  }
  for (auto& wanted : *request.topics) {
    if (!wanted.topic_id.is_zero()) {
      response.topics.push_back(by_id(broker, wanted.topic_id, options));
    } else {
      response.topics.push_back(
          co_await by_name(broker, std::move(wanted.name).value_or(std::string()), options));
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
