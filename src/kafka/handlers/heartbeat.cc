#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_reader.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<HeartbeatResponse> heartbeat(Context& context, HeartbeatRequest request) {
  note_group(context, request.group_id, true);
  broker::GroupCaller caller{std::move(request.member_id), request.generation_id,
                             std::move(request.group_instance_id)};
  auto heard = co_await context.groups().heartbeat(std::move(request.group_id), std::move(caller));
  HeartbeatResponse response;
  if (!heard) response.error_code = group_code(heard.error());
  co_return response;
}

}  // namespace millrace::kafka
