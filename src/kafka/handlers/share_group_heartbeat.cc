#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_reader.h"
#include "kafka/handlers/group_wait.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

io::Task<Result<broker::ShareHeartbeatAnswer>> beat(Context& context,
                                                    broker::ShareHeartbeat heartbeat) {
  if (heartbeat.epoch == 0) {
    // One name, one group, whatever its type.
    const auto other = co_await context.groups().describe(heartbeat.group);
    if (other) {
      co_return Error{ErrorCode::kGroupNotFound,
                      "group '" + heartbeat.group + "' is not a share group"};
    }
  }
  co_return co_await context.share_groups().heartbeat(std::move(heartbeat));
}

}  // namespace

io::Task<ShareGroupHeartbeatResponse> share_group_heartbeat(Context& context,
                                                            ShareGroupHeartbeatRequest request) {
  note_group(context, request.group_id, true);
  ShareGroupHeartbeatResponse response;
  broker::ShareHeartbeat heartbeat;
  heartbeat.group = std::move(request.group_id);
  heartbeat.member = request.member_id;
  heartbeat.epoch = request.member_epoch;
  heartbeat.rack = std::move(request.rack_id);
  heartbeat.topics = std::move(request.subscribed_topic_names);
  heartbeat.client_id = context.header.client_id.value_or(std::string());
  heartbeat.client_host = client_host(context);
  auto answer = co_await beat(context, std::move(heartbeat));
  if (!answer) {
    response.error_code = group_code(answer.error());
    response.error_message = std::move(answer.error().text);
    co_return response;
  }
  response.member_id = std::move(request.member_id);
  response.member_epoch = answer->epoch;
  response.heartbeat_interval_ms = answer->interval_ms;
  if (answer->assignment) {
    auto& assignment = response.assignment.emplace();
    for (auto& [topic, partitions] : *answer->assignment)
      assignment.topic_partitions.push_back({topic, std::move(partitions)});
  }
  co_return response;
}

}  // namespace millrace::kafka
