#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_wait.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<SyncGroupResponse> sync_group(Context& context, SyncGroupRequest request) {
  broker::SyncRequest sync;
  sync.group = std::move(request.group_id);
  sync.caller = {std::move(request.member_id), request.generation_id,
                 std::move(request.group_instance_id)};
  sync.protocol_type = std::move(request.protocol_type);
  sync.protocol = std::move(request.protocol_name);
  for (auto& each : request.assignments) {
    sync.assignments.push_back({std::move(each.member_id), std::move(each.assignment)});
  }
  UntilGone gone(context);
  auto answer = co_await context.groups().sync(std::move(sync), gone.token());
  SyncGroupResponse response;
  if (answer.error) {
    response.error_code = group_code(*answer.error);
    co_return response;
  }
  response.protocol_type = std::move(answer.protocol_type);
  response.protocol_name = std::move(answer.protocol);
  response.assignment = std::move(answer.assignment);
  co_return response;
}

}  // namespace millrace::kafka
