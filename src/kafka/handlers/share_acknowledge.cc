#include "kafka/handlers/share_requests.h"

namespace millrace::kafka {

namespace {

void fail(ShareAcknowledgeResponse& response, const Error& error) {
  response.error_code = wire_code(error);
  response.error_message = error.text;
}

}  // namespace

io::Task<ShareAcknowledgeResponse> share_acknowledge(Context& context,
                                                     ShareAcknowledgeRequest request) {
  ShareAcknowledgeResponse response;
  if (!request.group_id || !is_share_member(request.member_id)) {
    fail(response, {ErrorCode::kInvalidArgument, "an acknowledgement needs a group and a member"});
    co_return response;
  }
  broker::ShareFetch wanted;
  wanted.group = std::move(*request.group_id);
  wanted.member = std::move(*request.member_id);
  wanted.epoch = request.share_session_epoch;
  wanted.renews = request.is_renew_ack;
  wanted.parts = take_share_parts(request.topics);
  wanted.connection = connection_of(context);
  auto done = co_await context.share_groups().acknowledge(std::move(wanted));
  if (!done) {
    fail(response, done.error());
    co_return response;
  }
  response.acquisition_lock_timeout_ms = done->lock_ms;
  for (auto& part : done->parts) {
    auto& answer = share_answer_of(response.responses, part.id);
    const auto& error = part.acknowledge_error ? part.acknowledge_error : part.error;
    if (!error) continue;
    answer.error_code = wire_code(*error);
    answer.error_message = error->text;
  }
  co_return response;
}

}  // namespace millrace::kafka
