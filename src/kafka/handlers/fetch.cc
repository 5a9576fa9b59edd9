#include "base/logging.h"
#include "broker/transforms.h"
#include "kafka/detail/error_codes.h"
#include "kafka/detail/wakeup.h"
#include "kafka/handlers/group_wait.h"
#include "kafka/handlers/handlers.h"
#include "log/bare_heads.h"
#include "log/remake.h"

namespace millrace::kafka {

namespace {

using Answer = FetchResponse::PartitionData;
using Clock = std::chrono::steady_clock;

/// A partition that closes tells no poll: each looks again after a while.
constexpr auto kLookAgain = std::chrono::seconds(1);
/// What one fetch reads into memory at the most, beside the first batch; files that are named
/// instead count nothing.
constexpr size_t kMemoryBytesMax = 8u << 20;
/// The first version whose clients know zstd.
constexpr int16_t kZstdVersion = 10;

/// What a request wants of every partition alike.
struct Terms {
  const Context* context = nullptr;  // of the connection; on other shards for what never changes
  int16_t version = 0;
  log::Isolation isolation = log::Isolation::kUncommitted;
  size_t bytes_max = 0;
  size_t memory_max = 0;
};

/// One partition of a fetch, and what was read of it. While it is read, only the partition's shard
/// touches it.
struct Part {
  broker::Partition* partition = nullptr;  // null: see error
  Offset from = 0;
  size_t bytes_max = 0;
  int16_t error = wire::kNone;
  bool looked = false;
  bool left_out = false;  // not read, since the limits were met
  log::ReadResult read;   // valid when looked and no error
};

/// How far a reader may read.
Offset readable(const broker::Partition& partition, log::Isolation isolation) {
  return isolation == log::Isolation::kCommitted ? partition.last_stable_offset()
                                                 : partition.high_watermark();
}

std::vector<Part> parts_of(const FetchSessions::Opened& opened) {
  std::vector<Part> parts;
  parts.reserve(opened.wanted.size());
  for (const auto& wanted : opened.wanted) {
    auto& part = parts.emplace_back();
    part.partition = wanted.partition.get();
    part.from = wanted.from;
    part.bytes_max = static_cast<size_t>(std::max(1, wanted.bytes_max));
    part.error = wanted.error;
  }
  return parts;
}

/// Whether another read may find what the last one did not.
bool may_have_news(const Part& part, log::Isolation isolation) {
  if (part.error != wire::kNone) return false;
  if (!part.looked || part.partition->closed()) return true;
  return part.read.bytes() == 0 && readable(*part.partition, isolation) > part.read.next_offset;
}

/// Whether a client of this version cannot decompress what was read.
bool too_new_for(std::string_view batches, int16_t version) {
  if (version >= kZstdVersion) return false;
  while (auto header = log::parse_batch_header(batches)) {
    if (header->compression() == log::Compression::kZstd) return true;
    batches.remove_prefix(std::min(header->total_bytes(), batches.size()));
  }
  return false;
}

/// Reads what the topic's transforms let through, in memory.
io::Task<Result<log::ReadResult>> read_transformed(
    broker::Partition& partition, std::shared_ptr<const broker::TopicTransforms> transforms,
    Offset from, size_t bytes_max, Terms terms) {
  const auto& context = *terms.context;
  auto* runs = context.broker().transforms();
  if (runs == nullptr) {
    co_return Error{ErrorCode::kNotSupported, "nothing here runs the topic's transforms"};
  }
  MR_CO_TRY(auto read, co_await partition.read(from, bytes_max, terms.isolation));
  broker::Fetcher fetcher{.host = client_host(context),
                          .client_id = context.header.client_id.value_or(std::string()),
                          .user = context.client.user};
  auto transforming = runs->fetched(std::move(transforms), partition.index(), std::move(fetcher),
                                    std::move(read.batches));
  MR_CO_TRY(read.batches, co_await std::move(transforming));
  // Less than was read, when a module failed at what follows.
  if (!read.batches.empty()) {
    read.next_offset = log::batch_headers(read.batches).back().last_offset() + 1;
  }
  co_return read;
}

/// Says once in a while why a fetch is refused: a Fetch answer has room for a code alone.
void tell(const broker::Partition& partition, const Terms& terms, const Error& error) {
  static std::atomic<int64_t> last{0};
  const auto now = Clock::now().time_since_epoch() / std::chrono::seconds(1);
  if (last.exchange(now) == now) return;
  logging::warn("a fetch through transforms failed", {{"topic", partition.topic()},
                                                      {"partition", partition.index()},
                                                      {"peer", terms.context->peer},
                                                      {"reason", error.text},
                                                      {"hint", error.hint}});
}

/// A consumer that gets nothing but heads of batches must see that it goes on: see
/// end_in_control().
io::Task<void> show_progress(Part& part, Terms terms) {
  auto& read = part.read;
  if (!log::may_be_bare(read.bytes())) co_return;
  if (read.file.file) {
    // As many bytes as such heads would have: one in 61 of all fetches.
    auto first = co_await part.partition->read(part.from, 1, terms.isolation);
    if (!first || !log::all_bare(first->batches)) co_return;
    auto all = co_await part.partition->read(part.from, std::min(read.bytes(), terms.memory_max),
                                             terms.isolation);
    if (!all || !log::all_bare(all->batches)) co_return;
    read = std::move(*all);
  }
  if (log::all_bare(read.batches)) log::end_in_control(read.batches);
}

/// Reads one partition: at most `bytes_max`, or one batch; nothing when 0. On its shard.
io::Task<void> read_part(Part& part, size_t bytes_max, Terms terms) {
  auto& partition = *part.partition;
  part.looked = true;
  part.read = {};
  part.read.next_offset = part.from;
  part.read.high_watermark = partition.high_watermark();
  part.read.last_stable_offset = partition.last_stable_offset();
  part.read.start_offset = partition.start_offset();
  const bool news = part.from != readable(partition, terms.isolation);
  if ((!news && !partition.closed()) || bytes_max == 0) co_return;
  auto transforms = partition.fetch_transforms();
  auto read = transforms ? co_await read_transformed(partition, transforms, part.from,
                                                     std::min(bytes_max, terms.memory_max), terms)
              : terms.version >= kZstdVersion
                  ? co_await partition.fetch(part.from, bytes_max, terms.isolation)
                  : co_await partition.read(part.from, std::min(bytes_max, terms.memory_max),
                                            terms.isolation);
  if (!read) {
    part.error = wire_code(read.error());
    if (transforms) tell(partition, terms, read.error());
  } else if (too_new_for(read->batches, terms.version)) {
    part.error = wire::kUnsupportedCompressionType;
  } else {
    part.read = std::move(*read);
    co_await show_progress(part, terms);
  }
}

/// Reads the partitions of one shard, one after the other, until the request's limit is met.
io::Task<void> read_some(std::vector<Part*> parts, Terms terms) {
  size_t bytes = 0;
  size_t memory = 0;
  for (auto* part : parts) {
    const bool full = bytes >= terms.bytes_max || memory >= terms.memory_max;
    const size_t left = std::max<size_t>(1, terms.bytes_max - std::min(bytes, terms.bytes_max));
    part->left_out = full && bytes > 0;
    co_await read_part(*part, part->left_out ? 0 : std::min(part->bytes_max, left), terms);
    bytes += part->read.bytes();
    memory += part->read.batches.size();
  }
}

/// Counts what runs beside each other.
struct Countdown {
  size_t left;
  Wakeup done;
};

io::Task<void> read_beside(io::Shard& owner, std::vector<Part*> parts, Terms terms,
                           Countdown& countdown) {
  auto reading = read_some(std::move(parts), terms);
  co_await owner.call(std::move(reading));
  if (--countdown.left == 0) countdown.done.notify();
}

/// Reads what may have something new, all shards at once: each is asked once.
io::Task<void> read_parts(Context& context, std::vector<Part>& parts, Terms terms) {
  std::vector<std::vector<Part*>> by_shard(context.services.runtime.shard_count());
  Countdown countdown{0, {}};
  for (auto& part : parts) {
    if (!may_have_news(part, terms.isolation)) continue;
    auto& those = by_shard[part.partition->shard().index()];
    if (those.empty() && &part.partition->shard() != &context.shard) ++countdown.left;
    those.push_back(&part);
  }
  for (size_t i = 0; i < by_shard.size(); ++i) {
    auto& owner = context.services.runtime.shard(i);
    if (by_shard[i].empty() || &owner == &context.shard) continue;
    auto reading = read_beside(owner, std::move(by_shard[i]), terms, countdown);
    context.shard.spawn(context.gate, std::move(reading));
  }
  auto& mine = by_shard[context.shard.index()];
  if (!mine.empty()) co_await read_some(std::move(mine), terms);
  while (countdown.left > 0) co_await countdown.done.wait();
}

struct Total {
  size_t bytes = 0;
  bool error = false;
  bool more = false;  // there is more than the limits let through
};

/// Takes off what is too much. The first batch stays whatever its size, so that a consumer never
/// sticks (KIP-74).
Total trim(std::vector<Part>& parts, Terms terms) {
  Total total;
  const size_t bytes_max = terms.bytes_max;
  for (auto& part : parts) {
    if (part.error != wire::kNone) {
      total.error = true;
      continue;
    }
    const size_t bytes = part.read.bytes();
    total.more = total.more || part.left_out;
    if (total.bytes > 0 && total.bytes + bytes > bytes_max) {
      total.more = true;
      part.read.batches = {};
      part.read.file = {};
      part.read.aborted.clear();
      part.read.next_offset = part.from;
    } else {
      total.bytes += bytes;
    }
  }
  return total;
}

/// Waits until a partition has something new, the connection ends, or `deadline`.
io::Task<void> wait_for_more(Context& context, const FetchSessions::Opened& opened,
                             const std::vector<Part>& parts, log::Isolation isolation,
                             Clock::time_point deadline) {
  auto& watcher = *context.services.watchers[context.shard.index()];
  std::list<Watcher::Interest> interests;
  for (size_t i = 0; i < parts.size(); ++i) {
    interests.emplace_back(watcher, opened.wanted[i].partition, parts[i].read.next_offset,
                           isolation, context.hurry);
  }
  // What came since it was read finds no one waiting.
  const bool news = std::ranges::any_of(parts, [&](const Part& part) {
    return readable(*part.partition, isolation) > part.read.next_offset;
  });
  if (!news) co_await context.hurry.wait_until(std::min(deadline, Clock::now() + kLookAgain));
}

Answer answer_of(Part& part, int32_t index, log::Isolation isolation) {
  Answer answer;
  answer.partition_index = index;
  answer.error_code = part.error;
  answer.records.emplace();
  answer.aborted_transactions = std::nullopt;
  answer.high_watermark = -1;
  if (part.error != wire::kNone) return answer;
  answer.high_watermark = part.read.high_watermark;
  answer.last_stable_offset = part.read.last_stable_offset;
  answer.log_start_offset = part.read.start_offset;
  answer.records->owned = std::move(part.read.batches);
  answer.records->file = std::move(part.read.file);
  if (isolation == log::Isolation::kCommitted) {
    auto& aborted = answer.aborted_transactions.emplace();
    for (const auto& transaction : part.read.aborted) {
      auto& each = aborted.emplace_back();
      each.producer_id = transaction.producer_id;
      each.first_offset = transaction.first_offset;
    }
  }
  return answer;
}

FetchResponse respond(FetchSessions& sessions, const FetchSessions::Opened& opened,
                      std::vector<Part>& parts, log::Isolation isolation) {
  FetchResponse response;
  std::vector<FetchOutcome> outcomes;
  outcomes.reserve(parts.size());
  for (const auto& part : parts) {
    if (part.error != wire::kNone) {
      outcomes.push_back({part.error});
    } else {
      outcomes.push_back(
          {part.error, part.read.high_watermark, part.read.start_offset, part.read.bytes()});
    }
  }
  const auto closed = sessions.close(opened, outcomes);
  response.error_code = closed.error;
  response.session_id = closed.session_id;
  if (closed.error != wire::kNone) return response;
  const FetchTopic* last = nullptr;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!closed.told[i]) continue;
    const auto& topic = *opened.wanted[i].topic;
    if (&topic != last) {
      last = &topic;
      auto& topic_answer = response.responses.emplace_back();
      if (opened.by_id) {
        topic_answer.topic_id = topic.id;
      } else {
        topic_answer.topic = topic.name;
      }
    }
    response.responses.back().partitions.push_back(
        answer_of(parts[i], opened.wanted[i].index, isolation));
  }
  return response;
}

/// Charges the client for what it is about to be sent. Past its quota it gets nothing yet, and asks
/// again when it has waited; but what it could not have at its rate at all, it gets, and waits.
/// Source: KIP-13, KIP-219; Kafka's request handler.
bool over_quota(Context& context, size_t bytes, double burst) {
  constexpr auto kQuota = broker::QuotaKind::kConsumerByteRate;
  const auto amount = static_cast<double>(bytes);
  const auto wait = bytes == 0 ? std::chrono::milliseconds(0) : context.charge(kQuota, amount);
  if (wait.count() == 0) return false;
  context.throttle = std::max(context.throttle, wait);
  if (amount > burst) return false;
  context.charge(kQuota, -amount);
  return true;
}

}  // namespace

io::Task<FetchResponse> fetch(Context& context, FetchRequest request) {
  auto& services = context.services;
  auto opened = services.fetch_sessions->open(request, context.version());
  if (opened.error != wire::kNone) {
    FetchResponse response;
    response.error_code = opened.error;
    co_return response;
  }
  const auto& limits = services.limits;
  Terms terms;
  terms.context = &context;
  terms.version = context.version();
  if (request.isolation_level == 1) terms.isolation = log::Isolation::kCommitted;
  const double burst = context.quotas().burst(broker::QuotaKind::kConsumerByteRate,
                                              context.client.user, context.client_id());
  terms.bytes_max = static_cast<size_t>(std::clamp(request.max_bytes, 0, limits.fetch_bytes_max));
  if (burst < static_cast<double>(terms.bytes_max)) terms.bytes_max = static_cast<size_t>(burst);
  terms.memory_max = std::max<size_t>(1, std::min(kMemoryBytesMax, services.memory->room()));
  const auto bytes_min =
      std::min(terms.bytes_max, static_cast<size_t>(std::max(0, request.min_bytes)));
  const auto deadline = Clock::now() + std::chrono::milliseconds(
                                           std::clamp(request.max_wait_ms, 0, limits.max_wait_ms));
  auto parts = parts_of(opened);
  Total total;
  while (true) {
    const auto start = Clock::now();
    co_await read_parts(context, parts, terms);
    context.busy += Clock::now() - start;
    total = trim(parts, terms);
    if (total.bytes >= bytes_min || total.error || total.more || parts.empty() || context.ending ||
        Clock::now() >= deadline) {
      break;
    }
    co_await wait_for_more(context, opened, parts, terms.isolation, deadline);
  }
  if (over_quota(context, total.bytes, burst)) {
    FetchResponse response;
    response.session_id = opened.session_id;
    co_return response;
  }
  co_return respond(*services.fetch_sessions, opened, parts, terms.isolation);
}

}  // namespace millrace::kafka
