#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {

using Answer = DeleteTopicsResponse::DeletableTopicResult;

io::Task<Answer> drop(broker::Broker& broker, DeleteTopicsRequest::DeleteTopicState wanted) {
  Answer answer;
  answer.name = wanted.name;
  answer.topic_id = wanted.topic_id;
  const bool by_id = !wanted.topic_id.is_zero();
  if (by_id == wanted.name.has_value()) {
    answer.error_code = wire::kInvalidRequest;
    answer.error_message = "a topic is named by its name or by its id";
    co_return answer;
  }
  const auto topic = by_id ? broker.find(wanted.topic_id) : broker.find(*wanted.name);
  if (!topic) {
    answer.error_code = by_id ? wire::kUnknownTopicId : wire::kUnknownTopicOrPartition;
    answer.error_message = "there is no such topic";
    co_return answer;
  }
  if (by_id) answer.name = topic->object.name;
  answer.topic_id = topic->object.id;
  Result<> dropped;
  if (auto refusal = refuse_unless_topic(*topic, "drop")) {
    dropped = std::move(*refusal);
  } else {
    dropped = co_await broker.drop(topic->object.name);
  }
  if (!dropped) {
    answer.error_code = wire_code(dropped.error());
    answer.error_message = dropped.error().text;
  }
  co_return answer;
}

}  // namespace

io::Task<DeleteTopicsResponse> delete_topics(Context& context, DeleteTopicsRequest request) {
  // Until version 5 the request is a list of names.
  for (auto& name : request.topic_names) request.topics.emplace_back().name = std::move(name);
  DeleteTopicsResponse response;
  for (auto& wanted : request.topics) {
    response.responses.push_back(co_await drop(context.broker(), std::move(wanted)));
  }
  co_return response;
}

}  // namespace millrace::kafka
