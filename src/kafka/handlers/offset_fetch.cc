#include <map>

#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_reader.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kGroupError = 2;
constexpr int16_t kManyGroups = 8;
constexpr int16_t kTopicIds = 10;

using Group = OffsetFetchResponse::OffsetFetchResponseGroup;
using Partition = OffsetFetchResponse::OffsetFetchResponsePartitions;

Partition not_fetched(int32_t index, int16_t error) {
  Partition out;
  out.partition_index = index;
  out.committed_offset = -1;
  out.metadata.emplace();
  out.error_code = error;
  return out;
}

Partition fetched(broker::FetchedOffset found) {
  Partition out = not_fetched(found.at.partition, wire::kNone);
  if (found.unstable) {
    out.error_code = static_cast<int16_t>(info(ErrorCode::kUnstableOffset).kafka);
  } else if (found.committed) {
    out.committed_offset = found.committed->offset;
    out.committed_leader_epoch = found.committed->leader_epoch;
    out.metadata = std::move(found.committed->metadata);
  }
  return out;
}

/// Fills in the answers that have no error yet, in the order of the request.
void fill(Group& answer, std::vector<broker::FetchedOffset> found) {
  auto next = found.begin();
  for (auto& topic : answer.topics) {
    for (auto& partition : topic.partitions) {
      if (partition.error_code == wire::kNone) partition = fetched(std::move(*next++));
    }
  }
}

/// All offsets of a group, topic by topic.
void fill_all(const Context& context, Group& answer, std::vector<broker::FetchedOffset> found) {
  for (auto& each : found) {
    if (answer.topics.empty() || answer.topics.back().name != each.at.topic) {
      auto& topic = answer.topics.emplace_back();
      topic.name = each.at.topic;
      if (const auto known = context.broker().find(each.at.topic))
        topic.topic_id = known->object.id;
    }
    answer.topics.back().partitions.push_back(fetched(std::move(each)));
  }
}

io::Task<Group> fetch_group(Context& context, OffsetFetchRequest::OffsetFetchRequestGroup request,
                            bool require_stable) {
  Group answer;
  answer.group_id = request.group_id;
  std::optional<std::vector<broker::TopicPartition>> wanted;
  if (request.topics) {
    wanted.emplace();
    for (auto& topic : *request.topics) {
      auto& topic_answer = answer.topics.emplace_back();
      int16_t error = wire::kNone;
      if (context.version() >= kTopicIds) {
        const auto known = context.broker().find(topic.topic_id);
        if (known) topic.name = known->object.name;
        if (!known) error = wire::kUnknownTopicId;
      }
      topic_answer.name = topic.name;
      topic_answer.topic_id = topic.topic_id;
      for (const int32_t index : topic.partition_indexes) {
        topic_answer.partitions.push_back(not_fetched(index, error));
        if (error == wire::kNone) wanted->push_back({topic.name, index});
      }
    }
  }
  const bool all = !wanted;
  broker::GroupCaller caller{std::move(request.member_id).value_or(std::string()),
                             request.member_epoch, std::nullopt};
  auto found = co_await context.groups().fetch(std::move(request.group_id), std::move(caller),
                                               std::move(wanted), require_stable);
  if (!found) {
    answer.topics.clear();
    answer.error_code = group_code(found.error());
  } else if (all) {
    fill_all(context, answer, std::move(*found));
  } else {
    fill(answer, std::move(*found));
  }
  co_return answer;
}

/// The one group of the older versions, as the newer ones ask for it.
OffsetFetchRequest::OffsetFetchRequestGroup only_group(OffsetFetchRequest& request) {
  OffsetFetchRequest::OffsetFetchRequestGroup group;
  group.group_id = std::move(request.group_id);
  group.topics = std::nullopt;
  if (!request.topics) return group;
  group.topics.emplace();
  for (auto& topic : *request.topics) {
    auto& out = group.topics->emplace_back();
    out.name = std::move(topic.name);
    out.partition_indexes = std::move(topic.partition_indexes);
  }
  return group;
}

}  // namespace

io::Task<OffsetFetchResponse> offset_fetch(Context& context, OffsetFetchRequest request) {
  OffsetFetchResponse response;
  const int16_t version = context.version();
  if (version >= kManyGroups) {
    for (auto& group : request.groups) {
      note_group(context, group.group_id, false);
      auto answer = co_await fetch_group(context, std::move(group), request.require_stable);
      response.groups.push_back(std::move(answer));
    }
    co_return response;
  }
  note_group(context, request.group_id, false);
  const auto wanted = request.topics;
  auto answer = co_await fetch_group(context, only_group(request), request.require_stable);
  response.error_code = answer.error_code;
  if (answer.error_code != wire::kNone && version < kGroupError && wanted) {
    // There is no other place for the error than the partitions.
    for (const auto& topic : *wanted) {
      auto& topic_answer = answer.topics.emplace_back();
      topic_answer.name = topic.name;
      for (const int32_t index : topic.partition_indexes) {
        topic_answer.partitions.push_back(not_fetched(index, answer.error_code));
      }
    }
  }
  for (auto& topic : answer.topics) {
    auto& out = response.topics.emplace_back();
    out.name = std::move(topic.name);
    for (auto& partition : topic.partitions) {
      out.partitions.push_back({partition.partition_index, partition.committed_offset,
                                partition.committed_leader_epoch, std::move(partition.metadata),
                                partition.error_code});
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
