#include "kafka/detail/dispatch.h"

#include <fmt/format.h>

#include <algorithm>

#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Answer = Result<std::optional<Encoded>>;

/// Bytes that count against a client's quota.
size_t produced_bytes(const Context& context) {
  return context.header.api_key == ProduceRequest::kApiKey ? context.request_bytes : 0;
}
/// Charges the client for its request, and tells it how long it is kept waiting for it (KIP-13,
/// KIP-219): its answer goes at once, its next request is read later.
template <typename Response>
void throttle(Context& context, Response& response) {
  using broker::QuotaKind;
  const auto charge = [&](QuotaKind kind, double amount) {
    context.throttle = std::max(context.throttle, context.charge(kind, amount));
  };
  if (const size_t bytes = produced_bytes(context)) {
    charge(QuotaKind::kProducerByteRate, static_cast<double>(bytes));
  }
  const std::chrono::duration<double> busy = context.busy;
  charge(QuotaKind::kRequestPercentage, busy.count());
  if constexpr (requires { response.throttle_time_ms; }) {
    response.throttle_time_ms =
        std::max(response.throttle_time_ms, static_cast<int32_t>(context.throttle.count()));
  }
}

template <typename Response>
Result<Encoded> encode(const Context& context, Response response, int16_t version) {
  Writer out;
  write_response_header(out, context.header);
  response.write(out, version);
  return out.finish(true);
}

template <typename Request>
Result<Request> decode(Context& context, Reader& in) {
  const auto start = std::chrono::steady_clock::now();
  Request request;
  request.read(in, context.version());
  context.busy += std::chrono::steady_clock::now() - start;
  if (!in.ok()) return in.error();
  return request;
}

/// Whether the whole time of a handler is work: it looks things up. The others wait for a disk, for
/// other members or for records, and that costs nobody a thread.
enum class Work { kWhole, kPart };

template <typename Request, typename Response, io::Task<Response> (*kHandler)(Context&, Request),
          Work kWork>
io::Task<Answer> run_as(Context& context, Reader in) {
  MR_CO_TRY(Request request, decode<Request>(context, in));
  const auto start = std::chrono::steady_clock::now();
  Response response = co_await kHandler(context, std::move(request));
  if (kWork == Work::kWhole) context.busy += std::chrono::steady_clock::now() - start;
  throttle(context, response);
  MR_CO_TRY(Encoded bytes, encode(context, std::move(response), context.version()));
  co_return Answer(std::move(bytes));
}

template <typename>
struct Signature;
template <typename Res, typename Req>
struct Signature<io::Task<Res> (*)(Context&, Req)> {
  using Response = Res;
  using Request = Req;
};
/// Decodes, handles, encodes.
template <auto kHandler, Work kWork = Work::kPart>
io::Task<Answer> run(Context& context, Reader in) {
  using S = Signature<decltype(kHandler)>;
  return run_as<typename S::Request, typename S::Response, kHandler, kWork>(context, in);
}
template <auto kHandler>
io::Task<Answer> look(Context& context, Reader in) {
  return run<kHandler, Work::kWhole>(context, in);
}

io::Task<Answer> run_produce(Context& context, Reader in) {
  MR_CO_TRY(ProduceRequest request, decode<ProduceRequest>(context, in));
  MR_CO_TRY(auto response, co_await produce(context, std::move(request)));
  if (!response) {
    ProduceResponse unsent;  // its client waits too
    throttle(context, unsent);
    co_return Answer(std::nullopt);
  }
  throttle(context, *response);
  MR_CO_TRY(Encoded bytes, encode(context, std::move(*response), context.version()));
  co_return Answer(std::move(bytes));
}

struct Route {
  ApiKey key;
  io::Task<Answer> (*run)(Context&, Reader);
};

/// What is answered, in the order of the keys.
constexpr Route kRoutes[] = {
    {ApiKey::kProduce, run_produce},
    {ApiKey::kFetch, run<fetch>},
    {ApiKey::kListOffsets, look<list_offsets>},
    {ApiKey::kMetadata, look<metadata>},
    {ApiKey::kOffsetCommit, run<offset_commit>},
    {ApiKey::kOffsetFetch, look<offset_fetch>},
    {ApiKey::kFindCoordinator, look<find_coordinator>},
    {ApiKey::kJoinGroup, run<join_group>},
    {ApiKey::kHeartbeat, run<heartbeat>},
    {ApiKey::kLeaveGroup, run<leave_group>},
    {ApiKey::kSyncGroup, run<sync_group>},
    {ApiKey::kDescribeGroups, look<describe_groups>},
    {ApiKey::kListGroups, look<list_groups>},
    {ApiKey::kSaslHandshake, look<sasl_handshake>},
    {ApiKey::kApiVersions, look<api_versions>},
    {ApiKey::kCreateTopics, run<create_topics>},
    {ApiKey::kDeleteTopics, run<delete_topics>},
    {ApiKey::kDeleteRecords, run<delete_records>},
    {ApiKey::kInitProducerId, run<init_producer_id>},
    {ApiKey::kOffsetForLeaderEpoch, run<offset_for_leader_epoch>},
    {ApiKey::kAddPartitionsToTxn, run<add_partitions_to_txn>},
    {ApiKey::kAddOffsetsToTxn, run<add_offsets_to_txn>},
    {ApiKey::kEndTxn, run<end_txn>},
    {ApiKey::kWriteTxnMarkers, run<write_txn_markers>},
    {ApiKey::kTxnOffsetCommit, run<txn_offset_commit>},
    {ApiKey::kDescribeConfigs, look<describe_configs>},
    {ApiKey::kAlterConfigs, run<alter_configs>},
    {ApiKey::kAlterReplicaLogDirs, run<alter_replica_log_dirs>},
    {ApiKey::kDescribeLogDirs, look<describe_log_dirs>},
    {ApiKey::kSaslAuthenticate, run<sasl_authenticate>},
    {ApiKey::kCreatePartitions, run<create_partitions>},
    {ApiKey::kDeleteGroups, run<delete_groups>},
    {ApiKey::kElectLeaders, run<elect_leaders>},
    {ApiKey::kIncrementalAlterConfigs, run<incremental_alter_configs>},
    {ApiKey::kAlterPartitionReassignments, run<alter_partition_reassignments>},
    {ApiKey::kListPartitionReassignments, look<list_partition_reassignments>},
    {ApiKey::kOffsetDelete, run<offset_delete>},
    {ApiKey::kDescribeClientQuotas, look<describe_client_quotas>},
    {ApiKey::kAlterClientQuotas, run<alter_client_quotas>},
    {ApiKey::kDescribeQuorum, look<describe_quorum>},
    {ApiKey::kUpdateFeatures, run<update_features>},
    {ApiKey::kDescribeCluster, look<describe_cluster>},
    {ApiKey::kDescribeProducers, look<describe_producers>},
    {ApiKey::kDescribeTransactions, look<describe_transactions>},
    {ApiKey::kListTransactions, look<list_transactions>},
    {ApiKey::kConsumerGroupHeartbeat, run<consumer_group_heartbeat>},
    {ApiKey::kConsumerGroupDescribe, look<consumer_group_describe>},
    {ApiKey::kListConfigResources, look<list_config_resources>},
    {ApiKey::kDescribeTopicPartitions, look<describe_topic_partitions>},
    {ApiKey::kShareGroupHeartbeat, run<share_group_heartbeat>},
    {ApiKey::kShareGroupDescribe, look<share_group_describe>},
    {ApiKey::kShareFetch, run<share_fetch>},
    {ApiKey::kShareAcknowledge, run<share_acknowledge>},
    {ApiKey::kDescribeShareGroupOffsets, look<describe_share_group_offsets>},
    {ApiKey::kAlterShareGroupOffsets, run<alter_share_group_offsets>},
    {ApiKey::kDeleteShareGroupOffsets, run<delete_share_group_offsets>},
};

static_assert(std::ranges::is_sorted(kRoutes, {}, &Route::key));

const Route* find_route(int16_t key) {
  const auto* at = std::ranges::lower_bound(kRoutes, static_cast<ApiKey>(key), {}, &Route::key);
  return at != std::end(kRoutes) && at->key == static_cast<ApiKey>(key) ? at : nullptr;
}

io::Task<Answer> refuse(Context& context) {
  const RequestHeader& header = context.header;
  if (header.api_key == static_cast<int16_t>(ApiKey::kApiVersions)) {
    MR_CO_TRY(Encoded bytes, encode(context, api_versions_unsupported(), 0));
    co_return Answer(std::move(bytes));
  }
  if (!is_answered(header.api_key)) {
    co_return Error{ErrorCode::kUnsupportedVersion,
                    fmt::format("API key {} is not answered", header.api_key)};
  }
  co_return Error{
      ErrorCode::kUnsupportedVersion,
      fmt::format("{} version {} is not answered; versions {} to {} are", header.api->name,
                  header.api_version, header.api->version_min, header.api->version_max)};
}

/// Kafka closes the connection too.
io::Task<Answer> login_first(const Context& context) {
  co_return Error{ErrorCode::kProtocol,
                  fmt::format("{} came before the login had ended", context.header.api->name)};
}

}  // namespace

bool is_answered(int16_t api_key) { return find_route(api_key) != nullptr; }

io::Task<Answer> dispatch(Context& context, Reader in) {
  const Route* route = find_route(context.header.api_key);
  if (!route || !context.header.version_supported) return refuse(context);
  if (context.login.under_way() && route->key != ApiKey::kSaslAuthenticate) {
    return login_first(context);
  }
  context.services.requests[static_cast<size_t>(context.header.api - kApis)]->add();
  return route->run(context, in);
}

}  // namespace millrace::kafka
