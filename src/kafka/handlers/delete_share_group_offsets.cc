#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<DeleteShareGroupOffsetsResponse> delete_share_group_offsets(
    Context& context, DeleteShareGroupOffsetsRequest request) {
  DeleteShareGroupOffsetsResponse response;
  std::vector<Uuid> wanted;
  for (const auto& topic : request.topics) {
    const auto found = context.broker().find(topic.topic_name);
    auto& answer = response.responses.emplace_back();
    answer.topic_name = topic.topic_name;
    if (found) {
      answer.topic_id = found->object.id;
      wanted.push_back(found->object.id);
    } else {
      answer.error_code = wire::kUnknownTopicOrPartition;
    }
  }
  auto deleted = co_await context.share_groups().delete_offsets(std::move(request.group_id),
                                                                std::move(wanted));
  if (!deleted) {
    response.responses.clear();
    response.error_code = group_code(deleted.error());
    response.error_message = std::move(deleted.error().text);
    co_return response;
  }
  auto outcome = deleted->begin();
  for (auto& answer : response.responses) {
    if (answer.error_code != wire::kNone) continue;
    if (!*outcome) {
      answer.error_code = wire_code(outcome->error());
      answer.error_message = outcome->error().text;
    }
    ++outcome;
  }
  co_return response;
}

}  // namespace millrace::kafka
