#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"
#include "log/record_batch.h"

namespace millrace::kafka {

namespace {

using Answer = FetchResponse::PartitionData;
using Clock = std::chrono::steady_clock;

/// One partition of a fetch, and what was read of it.
struct Part {
  int32_t index = 0;
  std::shared_ptr<broker::Partition> partition;  // null: see error
  Offset from = 0;
  size_t bytes_max = 0;
  int16_t error = wire::kNone;
  bool looked = false;
  log::ReadResult read;  // valid when looked and no error
};
struct TopicParts {
  std::string name;
  Uuid id;
  std::vector<Part> parts;
};

Part resolve(const broker::Topic* topic, const FetchRequest::FetchPartition& wanted, bool by_id) {
  Part part;
  part.index = wanted.partition;
  part.from = wanted.fetch_offset;
  part.bytes_max = static_cast<size_t>(std::max(0, wanted.partition_max_bytes));
  if (topic == nullptr) {
    part.error = by_id ? wire::kUnknownTopicId : wire::kUnknownTopicOrPartition;
  } else if (wanted.partition < 0 ||
             static_cast<size_t>(wanted.partition) >= topic->partitions.size()) {
    part.error = wire::kUnknownTopicOrPartition;
  } else {
    part.error = check_leader_epoch(wanted.current_leader_epoch);
    part.partition = topic->partitions[static_cast<size_t>(wanted.partition)];
  }
  return part;
}

std::vector<TopicParts> resolve(const broker::Broker& broker, FetchRequest& request, bool by_id) {
  std::vector<TopicParts> topics;
  for (auto& wanted : request.topics) {
    auto& topic = topics.emplace_back();
    const auto found = by_id ? broker.find(wanted.topic_id) : broker.find(wanted.topic);
    topic.name = std::move(wanted.topic);
    topic.id = wanted.topic_id;
    for (const auto& p : wanted.partitions) topic.parts.push_back(resolve(found.get(), p, by_id));
  }
  return topics;
}

/// Whether a client of this version cannot decompress what was read.
bool too_new_for(std::string_view batches, int16_t version) {
  if (version >= 10) return false;
  while (auto header = log::parse_batch_header(batches)) {
    if (header->compression() == log::Compression::kZstd) return true;
    batches.remove_prefix(std::min(header->total_bytes(), batches.size()));
  }
  return false;
}

/// Reads one partition: at most `bytes_max`, or one batch; nothing when 0.
io::Task<void> read_part(Part& part, size_t bytes_max, int16_t version) {
  const Offset end = part.partition->high_watermark();
  part.looked = true;
  part.read = {};
  part.read.next_offset = part.from;
  part.read.high_watermark = end;
  part.read.start_offset = part.partition->start_offset();
  if (part.from == end || bytes_max == 0) co_return;  // nothing new, without asking the owner
  auto read = co_await part.partition->read(part.from, bytes_max);
  if (!read) {
    part.error = wire_code(read.error());
  } else if (too_new_for(read->batches, version)) {
    part.error = wire::kUnsupportedCompressionType;
  } else {
    part.read = std::move(*read);
  }
}

struct Total {
  size_t bytes = 0;
  bool error = false;
};

/// Reads what has something new, in the order of the request, within the request's limit. The
/// first batch comes whatever its size, so that a consumer never sticks (KIP-74).
io::Task<Total> read_parts(std::vector<TopicParts>& topics, size_t bytes_max, int16_t version) {
  Total total;
  for (auto& topic : topics) {
    for (auto& part : topic.parts) {
      const bool unchanged = part.looked && part.read.batches.empty() &&
                             part.partition->high_watermark() <= part.read.next_offset;
      if (part.error == wire::kNone && !unchanged) {
        const size_t left = bytes_max - std::min(bytes_max, total.bytes);
        const size_t wanted = std::min(std::max<size_t>(1, part.bytes_max), left);
        co_await read_part(part, total.bytes == 0 ? std::max<size_t>(1, wanted) : wanted, version);
        if (total.bytes > 0 && part.read.batches.size() > left) {
          part.read.batches.clear();
          part.read.next_offset = part.from;
        }
      }
      total.bytes += part.read.batches.size();
      total.error = total.error || part.error != wire::kNone;
    }
  }
  co_return total;
}

/// Waits until a partition has something new, the connection ends, or `deadline`.
io::Task<void> wait_for_more(Context& context, std::vector<TopicParts>& topics,
                             Clock::time_point deadline) {
  auto& watcher = *context.services.watchers[context.shard.index()];
  std::list<Watcher::Interest> interests;
  for (auto& topic : topics) {
    for (auto& part : topic.parts) {
      interests.emplace_back(watcher, part.partition, part.read.next_offset, context.hurry);
    }
  }
  // What came since it was read finds no one waiting.
  const bool news = std::ranges::any_of(topics, [](const TopicParts& topic) {
    return std::ranges::any_of(topic.parts, [](const Part& part) {
      return part.partition->high_watermark() > part.read.next_offset;
    });
  });
  if (!news) co_await context.hurry.wait_until(deadline);
}

Answer answer_of(Part& part, bool read_committed) {
  Answer answer;
  answer.partition_index = part.index;
  answer.error_code = part.error;
  answer.records.emplace();
  answer.aborted_transactions = std::nullopt;
  answer.high_watermark = -1;
  if (part.error != wire::kNone) return answer;
  answer.high_watermark = part.read.high_watermark;
  answer.last_stable_offset = part.read.high_watermark;  // no transaction is ever open
  answer.log_start_offset = part.read.start_offset;
  answer.records->owned = std::move(part.read.batches);
  if (read_committed) answer.aborted_transactions.emplace();
  return answer;
}

/// Fetch sessions are declined: session id 0 in the answer makes the client name every partition
/// in every fetch. Whoever comes with a session has it from another life of the node.
int16_t check_session(const FetchRequest& request) {
  if (request.session_epoch <= 0 && request.session_id == 0) return wire::kNone;
  if (request.session_epoch == -1) return wire::kNone;  // closes its session: a full fetch
  return request.session_id == 0 ? wire::kInvalidFetchSessionEpoch : wire::kFetchSessionIdNotFound;
}

}  // namespace

io::Task<FetchResponse> fetch(Context& context, FetchRequest request) {
  FetchResponse response;
  response.error_code = check_session(request);
  if (response.error_code != wire::kNone) co_return response;

  const int16_t version = context.version();
  const auto& limits = context.services.limits;
  const auto bytes_max =
      static_cast<size_t>(std::clamp(request.max_bytes, 0, limits.fetch_bytes_max));
  const auto bytes_min = std::min(bytes_max, static_cast<size_t>(std::max(0, request.min_bytes)));
  const auto deadline = Clock::now() + std::chrono::milliseconds(
                                           std::clamp(request.max_wait_ms, 0, limits.max_wait_ms));
  auto topics = resolve(context.broker(), request, version >= 13);
  while (true) {
    const Total total = co_await read_parts(topics, bytes_max, version);
    if (total.bytes >= bytes_min || total.error || topics.empty() || context.ending ||
        Clock::now() >= deadline) {
      break;
    }
    co_await wait_for_more(context, topics, deadline);
  }

  for (auto& topic : topics) {
    auto& topic_answer = response.responses.emplace_back();
    topic_answer.topic = std::move(topic.name);
    topic_answer.topic_id = topic.id;
    for (auto& part : topic.parts) {
      topic_answer.partitions.push_back(answer_of(part, request.isolation_level == 1));
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
