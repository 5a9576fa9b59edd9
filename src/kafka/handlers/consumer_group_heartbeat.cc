#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_reader.h"
#include "kafka/handlers/group_wait.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kMembersMakeTheirId = 1;

template <typename TopicPartitions>
broker::PartitionSet take_partitions(std::vector<TopicPartitions> topics) {
  broker::PartitionSet out;
  for (auto& topic : topics) {
    auto& partitions = out[topic.topic_id];
    partitions.insert(partitions.end(), topic.partitions.begin(), topic.partitions.end());
    std::ranges::sort(partitions);
    const auto rest = std::ranges::unique(partitions);
    partitions.erase(rest.begin(), rest.end());
    if (partitions.empty()) out.erase(topic.topic_id);
  }
  return out;
}

broker::ConsumerHeartbeat take_request(const Context& context,
                                       ConsumerGroupHeartbeatRequest request) {
  using std::chrono::milliseconds;
  broker::ConsumerHeartbeat out;
  const auto& configs = context.group_configs();
  out.session_timeout =
      milliseconds(configs.integer(request.group_id, "consumer.session.timeout.ms"));
  out.heartbeat_interval =
      milliseconds(configs.integer(request.group_id, "consumer.heartbeat.interval.ms"));
  out.group = std::move(request.group_id);
  out.member_id = std::move(request.member_id);
  out.member_epoch = request.member_epoch;
  out.instance_id = std::move(request.instance_id);
  out.rack_id = std::move(request.rack_id);
  out.rebalance_timeout_ms = request.rebalance_timeout_ms;
  out.topic_names = std::move(request.subscribed_topic_names);
  out.topic_regex = std::move(request.subscribed_topic_regex);
  out.assignor = std::move(request.server_assignor);
  if (request.topic_partitions) out.owned = take_partitions(std::move(*request.topic_partitions));
  out.client_id = context.header.client_id.value_or(std::string());
  out.client_host = client_host(context);
  out.member_id_required = context.version() >= kMembersMakeTheirId;
  return out;
}

}  // namespace

io::Task<ConsumerGroupHeartbeatResponse> consumer_group_heartbeat(
    Context& context, ConsumerGroupHeartbeatRequest request) {
  note_group(context, request.group_id, true);
  auto heartbeat = take_request(context, std::move(request));
  auto answer = co_await context.groups().heartbeat(std::move(heartbeat));
  ConsumerGroupHeartbeatResponse response;
  if (!answer) {
    response.error_code = group_code(answer.error());
    response.error_message = std::move(answer.error().text);
    co_return response;
  }
  response.member_id = std::move(answer->member_id);
  response.member_epoch = answer->member_epoch;
  response.heartbeat_interval_ms = answer->heartbeat_interval_ms;
  if (answer->assignment) {
    auto& assignment = response.assignment.emplace();
    for (auto& [topic, partitions] : *answer->assignment) {
      assignment.topic_partitions.push_back({topic, std::move(partitions)});
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
