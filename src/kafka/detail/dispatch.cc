#include "kafka/detail/dispatch.h"

#include <fmt/format.h>

#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Answer = Result<std::optional<Encoded>>;

template <typename Response>
Result<Encoded> encode(const Context& context, Response response, int16_t version) {
  Writer out;
  write_response_header(out, context.header);
  response.write(out, version);
  return out.finish(true);
}

template <typename Request>
Result<Request> decode(const Context& context, Reader& in) {
  Request request;
  request.read(in, context.version());
  if (!in.ok()) return in.error();
  return request;
}

template <typename Request, typename Response>
io::Task<Answer> run(Context& context, Reader in,
                     io::Task<Response> (*handler)(Context&, Request)) {
  MR_CO_TRY(Request request, decode<Request>(context, in));
  Response response = co_await handler(context, std::move(request));
  MR_CO_TRY(Encoded bytes, encode(context, std::move(response), context.version()));
  co_return Answer(std::move(bytes));
}

io::Task<Answer> run_produce(Context& context, Reader in) {
  MR_CO_TRY(ProduceRequest request, decode<ProduceRequest>(context, in));
  MR_CO_TRY(auto response, co_await produce(context, std::move(request)));
  if (!response) co_return Answer(std::nullopt);
  MR_CO_TRY(Encoded bytes, encode(context, std::move(*response), context.version()));
  co_return Answer(std::move(bytes));
}

io::Task<Answer> refuse(Context& context) {
  const RequestHeader& header = context.header;
  if (header.api_key == static_cast<int16_t>(ApiKey::kApiVersions)) {
    MR_CO_TRY(Encoded bytes, encode(context, api_versions_unsupported(), 0));
    co_return Answer(std::move(bytes));
  }
  if (header.api == nullptr) {
    co_return Error{ErrorCode::kUnsupportedVersion,
                    fmt::format("API key {} is not answered", header.api_key)};
  }
  co_return Error{
      ErrorCode::kUnsupportedVersion,
      fmt::format("{} version {} is not answered; versions {} to {} are", header.api->name,
                  header.api_version, header.api->version_min, header.api->version_max)};
}

}  // namespace

io::Task<Answer> dispatch(Context& context, Reader in) {
  if (!context.header.version_supported) return refuse(context);
  context.services.requests[static_cast<size_t>(context.header.api - kApis)]->add();
  switch (static_cast<ApiKey>(context.header.api_key)) {
    case ApiKey::kProduce:
      return run_produce(context, in);
    case ApiKey::kFetch:
      return run(context, in, fetch);
    case ApiKey::kListOffsets:
      return run(context, in, list_offsets);
    case ApiKey::kMetadata:
      return run(context, in, metadata);
    case ApiKey::kApiVersions:
      return run(context, in, api_versions);
    case ApiKey::kCreateTopics:
      return run(context, in, create_topics);
    case ApiKey::kDeleteTopics:
      return run(context, in, delete_topics);
    case ApiKey::kDeleteRecords:
      return run(context, in, delete_records);
    case ApiKey::kInitProducerId:
      return run(context, in, init_producer_id);
    case ApiKey::kOffsetForLeaderEpoch:
      return run(context, in, offset_for_leader_epoch);
    case ApiKey::kCreatePartitions:
      return run(context, in, create_partitions);
    case ApiKey::kDescribeConfigs:
      return run(context, in, describe_configs);
    case ApiKey::kIncrementalAlterConfigs:
      return run(context, in, incremental_alter_configs);
    case ApiKey::kDescribeCluster:
      return run(context, in, describe_cluster);
    case ApiKey::kDescribeTopicPartitions:
      return run(context, in, describe_topic_partitions);
  }
  return refuse(context);
}

}  // namespace millrace::kafka
