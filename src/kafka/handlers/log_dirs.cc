#include <filesystem>

#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Topic = DescribeLogDirsResponse::DescribeLogDirsTopic;

void describe(const broker::Topic& topic, const std::vector<int32_t>* wanted, Topic& answer) {
  answer.name = topic.object.name;
  for (const auto& partition : topic.partitions) {
    if (wanted && std::ranges::find(*wanted, partition->index()) == wanted->end()) continue;
    auto& row = answer.partitions.emplace_back();
    row.partition_index = partition->index();
    row.partition_size = static_cast<int64_t>(partition->size_bytes());
  }
}

}  // namespace

io::Task<DescribeLogDirsResponse> describe_log_dirs(Context& context,
                                                    DescribeLogDirsRequest request) {
  DescribeLogDirsResponse response;
  auto& dir = response.results.emplace_back();
  dir.log_dir = context.broker().options().path;
  std::error_code failed;
  const auto space = std::filesystem::space(dir.log_dir, failed);
  if (!failed) {
    dir.total_bytes = static_cast<int64_t>(space.capacity);
    dir.usable_bytes = static_cast<int64_t>(space.available);
  }
  if (!request.topics) {
    for (const auto& topic : context.broker().list()) {
      describe(*topic, nullptr, dir.topics.emplace_back());
    }
    co_return response;
  }
  for (const auto& wanted : *request.topics) {
    // Topics that are not here are left out, as Kafka does.
    if (auto topic = context.broker().find(wanted.topic)) {
      describe(*topic, &wanted.partitions, dir.topics.emplace_back());
    }
  }
  co_return response;
}

io::Task<AlterReplicaLogDirsResponse> alter_replica_log_dirs(Context& context,
                                                             AlterReplicaLogDirsRequest request) {
  AlterReplicaLogDirsResponse response;
  for (const auto& dir : request.dirs) {
    // There is one folder; what is asked to be there is there already.
    const bool here = dir.path == context.broker().options().path;
    for (const auto& wanted : dir.topics) {
      auto& answer = response.results.emplace_back();
      answer.topic_name = wanted.name;
      const auto topic = context.broker().find(wanted.name);
      for (const int32_t index : wanted.partitions) {
        const bool known =
            topic && index >= 0 && static_cast<size_t>(index) < topic->partitions.size();
        auto& row = answer.partitions.emplace_back();
        row.partition_index = index;
        row.error_code = !known  ? wire::kUnknownTopicOrPartition
                         : !here ? wire::kLogDirNotFound
                                 : wire::kNone;
      }
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
