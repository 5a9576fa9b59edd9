#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {

using Wanted = CreatePartitionsRequest::CreatePartitionsTopic;

io::Task<Result<>> grow(broker::Broker& broker, Wanted wanted, bool validate_only) {
  const auto topic = broker.find(wanted.name);
  if (!topic) {
    co_return Error{ErrorCode::kUndefinedObject,
                    fmt::format("there is no topic '{}'", wanted.name)};
  }
  if (auto refusal = refuse_unless_topic(*topic, "change")) co_return std::move(*refusal);
  if (wanted.count <= topic->object.partitions) {
    co_return Error{ErrorCode::kInvalidPartitions,
                    fmt::format("'{}' has {} partitions, and {} were asked for; they can only grow",
                                wanted.name, topic->object.partitions, wanted.count)};
  }
  catalog::Object object = topic->object;
  object.partitions = wanted.count;
  MR_CO_TRY(co_await broker.create(std::move(object), true, validate_only));
  co_return Result<>();
}

}  // namespace

io::Task<CreatePartitionsResponse> create_partitions(Context& context,
                                                     CreatePartitionsRequest request) {
  CreatePartitionsResponse response;
  for (auto& wanted : request.topics) {
    auto& answer = response.results.emplace_back();
    answer.name = wanted.name;
    auto grown = co_await grow(context.broker(), std::move(wanted), request.validate_only);
    if (!grown) {
      answer.error_code = wire_code(grown.error());
      answer.error_message = grown.error().text;
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
