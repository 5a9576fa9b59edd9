#include "kafka/handlers/share_requests.h"

namespace millrace::kafka {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int8_t kRecordLimit = 1;            // KIP-1206
constexpr size_t kMemoryBytesMax = 8u << 20;  // of one answer's batches, which are copied

/// The signal of a fetch that waits; null when it waits no more. Of the connection's shard.
struct Poll {
  io::Signal* hurry = nullptr;
};

std::shared_ptr<broker::ShareWaiter> waiter_of(io::Shard& shard, std::shared_ptr<Poll> poll) {
  return std::make_shared<broker::ShareWaiter>([&shard, poll = std::move(poll)] {
    shard.post([poll] {
      if (poll->hurry) poll->hurry->notify_all();
    });
  });
}

/// Lives in the connection's gate: when the connection ends, so does the member's session, and what
/// it had acquired goes to others without waiting for the locks.
io::Task<void> end_with_connection(broker::ShareGroups& groups, io::Signal& hurry,
                                   const bool& ending, std::string group, std::string member,
                                   uint64_t connection) {
  constexpr auto kLook = std::chrono::hours(1);
  while (!ending) co_await hurry.wait_until(Clock::now() + kLook);
  co_await groups.disconnected(std::move(group), std::move(member), connection);
}

std::optional<Error> check(const ShareFetchRequest& request) {
  if (!request.group_id || !is_share_member(request.member_id))
    return Error{ErrorCode::kInvalidArgument, "a share fetch needs a group and a member id"};
  if (request.is_renew_ack && (request.max_records > 0 || request.max_bytes > 0))
    return Error{ErrorCode::kInvalidArgument, "a request that renews fetches nothing"};
  return std::nullopt;
}

broker::ShareFetch take_request(const Context& context, ShareFetchRequest& request) {
  broker::ShareFetch out;
  out.group = std::move(*request.group_id);
  out.member = std::move(*request.member_id);
  out.epoch = request.share_session_epoch;
  const auto& services = context.services;
  const int32_t bytes = std::clamp(request.max_bytes, 0, services.limits.fetch_bytes_max);
  // One batch comes whatever room there is.
  out.bytes_max = std::min(static_cast<size_t>(bytes),
                           std::max<size_t>(1, std::min(kMemoryBytesMax, services.memory->room())));
  out.records_max = std::max(0, request.max_records);
  out.record_limit = request.share_acquire_mode == kRecordLimit;
  out.renews = request.is_renew_ack;
  out.parts = take_share_parts(request.topics);
  for (const auto& topic : request.forgotten_topics_data) {
    for (const int32_t partition : topic.partitions)
      out.forgotten.push_back({topic.topic_id, partition});
  }
  out.connection = connection_of(context);
  out.user = context.client.user;
  return out;
}

/// Gives the bytes of records.
size_t fill(ShareFetchResponse& response, broker::ShareFetched fetched) {
  size_t bytes = 0;
  response.acquisition_lock_timeout_ms = fetched.lock_ms;
  for (auto& part : fetched.parts) {
    auto& answer = share_answer_of(response.responses, part.id);
    if (part.error) {
      answer.error_code = wire_code(*part.error);
      answer.error_message = std::move(part.error->text);
    }
    if (part.acknowledge_error) {
      answer.acknowledge_error_code = wire_code(*part.acknowledge_error);
      answer.acknowledge_error_message = std::move(part.acknowledge_error->text);
    }
    bytes += part.batches.size();
    answer.records.owned = std::move(part.batches);
    for (const auto& range : part.acquired)
      answer.acquired_records.push_back({range.first, range.last, range.delivery_count});
  }
  return bytes;
}

/// Acquires, or waits for something to acquire, until `deadline`.
io::Task<Result<broker::ShareFetched>> fetch_or_wait(Context& context, broker::ShareFetch request,
                                                     Clock::time_point deadline) {
  auto poll = std::make_shared<Poll>();
  const auto waiter = waiter_of(context.shard, poll);
  auto& groups = context.share_groups();
  auto fetched = co_await groups.fetch(request, waiter);
  if (fetched && fetched->new_connection) {
    context.shard.spawn(context.gate,
                        end_with_connection(groups, context.hurry, context.ending, request.group,
                                            request.member, request.connection));
  }
  if (request.epoch < 0 || request.renews) co_return fetched;
  poll->hurry = &context.hurry;
  while (fetched && fetched->parts.empty() && !context.ending && Clock::now() < deadline) {
    if (waiter->woken()) {
      waiter->wait_again();
      fetched = co_await groups.fetch_again(request, waiter);
    } else {
      co_await context.hurry.wait_until(deadline);
    }
  }
  if (!waiter->leave() && fetched && fetched->parts.empty())
    fetched = co_await groups.fetch_again(request, nullptr);
  poll->hurry = nullptr;
  co_return fetched;
}

}  // namespace

io::Task<ShareFetchResponse> share_fetch(Context& context, ShareFetchRequest request) {
  ShareFetchResponse response;
  std::optional<Error> refused = check(request);
  if (!refused) {
    const auto wait = std::chrono::milliseconds(
        std::clamp(request.max_wait_ms, 0, context.services.limits.max_wait_ms));
    const auto deadline = Clock::now() + wait;
    auto fetch = take_request(context, request);
    auto fetched = co_await fetch_or_wait(context, std::move(fetch), deadline);
    if (fetched) {
      // What is acquired is the member's: past its quota it waits for its next fetch.
      const auto bytes = static_cast<double>(fill(response, std::move(*fetched)));
      context.throttle = context.charge(broker::QuotaKind::kConsumerByteRate, bytes);
    } else {
      refused = std::move(fetched).error();
    }
  }
  if (refused) {
    response.error_code = wire_code(*refused);
    response.error_message = std::move(refused->text);
  }
  co_return response;
}

}  // namespace millrace::kafka
