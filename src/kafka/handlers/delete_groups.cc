#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<DeleteGroupsResponse> delete_groups(Context& context, DeleteGroupsRequest request) {
  DeleteGroupsResponse response;
  for (auto& id : request.groups_names) {
    auto& out = response.results.emplace_back();
    out.group_id = id;
    auto removed = co_await context.groups().remove(id);
    if (!removed && removed.error().code == ErrorCode::kGroupNotFound) {
      removed = co_await context.share_groups().remove(id);
    }
    if (!removed) out.error_code = group_code(removed.error());
  }
  co_return response;
}

}  // namespace millrace::kafka
