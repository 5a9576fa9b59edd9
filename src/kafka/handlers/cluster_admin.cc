#include "broker/group_configs.h"
#include "kafka/detail/error_codes.h"
#include "kafka/handlers/configs.h"
#include "kafka/handlers/handlers.h"

// What administrators ask of a cluster whose answer is short when it is one node: there is nothing
// to elect, to move or to upgrade.
namespace millrace::kafka {

namespace {

bool exists(const broker::Broker& broker, const std::string& name, int32_t index) {
  const auto topic = broker.find(name);
  return topic && index >= 0 && static_cast<size_t>(index) < topic->partitions.size();
}

}  // namespace

io::Task<ElectLeadersResponse> elect_leaders(Context& context, ElectLeadersRequest request) {
  ElectLeadersResponse response;
  // Null means all partitions, and of those only the ones that needed an election are told: none.
  if (!request.topic_partitions) co_return response;
  for (const auto& wanted : *request.topic_partitions) {
    auto& answer = response.replica_election_results.emplace_back();
    answer.topic = wanted.topic;
    for (const int32_t index : wanted.partitions) {
      auto& row = answer.partition_result.emplace_back();
      row.partition_id = index;
      const bool known = exists(context.broker(), wanted.topic, index);
      row.error_code = known ? wire::kElectionNotNeeded : wire::kUnknownTopicOrPartition;
      row.error_message = known ? "this node leads all partitions" : "there is no such partition";
    }
  }
  co_return response;
}

io::Task<AlterPartitionReassignmentsResponse> alter_partition_reassignments(
    Context& context, AlterPartitionReassignmentsRequest request) {
  AlterPartitionReassignmentsResponse response;
  response.error_message = std::nullopt;
  for (const auto& wanted : request.topics) {
    auto& answer = response.responses.emplace_back();
    answer.name = wanted.name;
    for (const auto& partition : wanted.partitions) {
      auto& row = answer.partitions.emplace_back();
      row.partition_index = partition.partition_index;
      row.error_message = std::nullopt;
      if (!exists(context.broker(), wanted.name, partition.partition_index)) {
        row.error_code = wire::kUnknownTopicOrPartition;
        row.error_message = "there is no such partition";
      } else if (!partition.replicas) {
        row.error_code = wire::kNoReassignmentInProgress;
        row.error_message = "no reassignment is under way";
      } else if (*partition.replicas != std::vector<int32_t>{kNodeId}) {
        row.error_code = wire::kInvalidReplicaAssignment;
        row.error_message = fmt::format("replicas can only be on node {}, the only one", kNodeId);
      }
    }
  }
  co_return response;
}

io::Task<ListPartitionReassignmentsResponse> list_partition_reassignments(
    Context&, ListPartitionReassignmentsRequest) {
  ListPartitionReassignmentsResponse response;
  response.error_message = std::nullopt;
  co_return response;
}

io::Task<DescribeQuorumResponse> describe_quorum(Context& context, DescribeQuorumRequest request) {
  DescribeQuorumResponse response;
  response.error_message = std::nullopt;
  const int64_t now = context.services.env.now_ms();
  for (const auto& wanted : request.topics) {
    auto& answer = response.topics.emplace_back();
    answer.topic_name = wanted.topic_name;
    for (const auto& partition : wanted.partitions) {
      auto& row = answer.partitions.emplace_back();
      row.partition_index = partition.partition_index;
      row.error_message = std::nullopt;
      if (wanted.topic_name != "__cluster_metadata" || partition.partition_index != 0) {
        row.error_code = wire::kUnknownTopicOrPartition;
        continue;
      }
      row.leader_id = kNodeId;
      row.leader_epoch = kLeaderEpoch;
      auto& voter = row.current_voters.emplace_back();
      voter.replica_id = kNodeId;
      voter.last_fetch_timestamp = now;
      voter.last_caught_up_timestamp = now;
    }
  }
  auto& node = response.nodes.emplace_back();
  node.node_id = kNodeId;
  auto& listener = node.listeners.emplace_back();
  listener.name = "PLAINTEXT";
  listener.host = context.services.host;
  listener.port = static_cast<uint16_t>(context.services.port);
  co_return response;
}

io::Task<UpdateFeaturesResponse> update_features(Context&, UpdateFeaturesRequest request) {
  UpdateFeaturesResponse response;
  constexpr const char* kWhy = "the levels of features come with the release and cannot be set";
  response.error_code = request.feature_updates.empty() ? wire::kNone : wire::kFeatureUpdateFailed;
  response.error_message = std::nullopt;
  if (!request.feature_updates.empty()) response.error_message = kWhy;
  for (const auto& update : request.feature_updates) {
    auto& row = response.results.emplace_back();
    row.feature = update.feature;
    row.error_code = wire::kFeatureUpdateFailed;
    row.error_message = kWhy;
  }
  co_return response;
}

io::Task<ListConfigResourcesResponse> list_config_resources(Context& context,
                                                            ListConfigResourcesRequest request) {
  ListConfigResourcesResponse response;
  const auto wanted = [&](int8_t type) {
    // Version 0 asks for client metrics alone, of which there are none.
    if (context.version() == 0) return false;
    return request.resource_types.empty() ||
           std::ranges::find(request.resource_types, type) != request.resource_types.end();
  };
  const auto add = [&](std::string name, int8_t type) {
    auto& row = response.config_resources.emplace_back();
    row.resource_name = std::move(name);
    row.resource_type = type;
  };
  if (wanted(kTopicResource)) {
    for (const auto& topic : context.broker().list()) add(topic->object.name, kTopicResource);
  }
  if (wanted(kBrokerResource)) add(std::to_string(kNodeId), kBrokerResource);
  if (wanted(kGroupResource)) {
    for (auto& group : context.group_configs().groups()) add(std::move(group), kGroupResource);
  }
  co_return response;
}

}  // namespace millrace::kafka
