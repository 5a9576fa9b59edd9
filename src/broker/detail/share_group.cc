#include "broker/detail/share_group.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <limits>

#include "base/logging.h"
#include "broker/detail/share_state.h"

namespace millrace::broker::detail {

namespace {

namespace json = boost::json;

constexpr int64_t kLookMs = 10'000;  // at least so often the clock is looked at
constexpr int64_t kAgainMs = 1'000;  // after a failure

}  // namespace

ShareGroup::ShareGroup(ShareShared& shared, io::Shard& home, io::Gate& gate, std::string name)
    : shared_(shared),
      home_(home),
      gate_(gate),
      name_(std::move(name)),
      beginning_(home),
      clock_(home),
      written_(home) {}

ShareGroup::~ShareGroup() { shared_.sessions -= static_cast<int>(sessions_.size()); }

int64_t ShareGroup::now() const { return shared_.env.now_ms(); }

int64_t ShareGroup::lock_ms() const {
  return shared_.configs.integer(name_, "share.record.lock.duration.ms");
}

ShareMembers::Limits ShareGroup::member_limits() const {
  ShareMembers::Limits limits;
  limits.session_ms = shared_.configs.integer(name_, "share.session.timeout.ms");
  return limits;
}

// ---- loading, starting, stopping

void ShareGroup::load_group(std::string_view text) {
  boost::system::error_code failed;
  const auto parsed = json::parse(text, failed);
  const auto* object = failed ? nullptr : parsed.if_object();
  const auto* epoch = object ? object->if_contains("epoch") : nullptr;
  if (!epoch || !epoch->is_int64()) {
    logging::warn("a share group's record cannot be read", {{"group", name_}});
    return;
  }
  written_epoch_ = static_cast<int32_t>(epoch->as_int64());
  members_ = ShareMembers(written_epoch_);
}

void ShareGroup::load_state(SharePartitionId id, uint32_t slot,
                            std::optional<std::string_view> bytes) {
  auto& queue = queues_[id];
  if (!queue) queue = std::make_shared<ShareQueue>(shared_, home_, name_, id, 0);
  queue->loaded(slot, bytes);
}

void ShareGroup::start() {
  for (const auto& queue : all_queues()) {
    if (!queue->restore()) {
      queues_.erase(queue->id());
      continue;
    }
    const auto attached = queue->attach();  // a topic that is gone is tidied up by the clock
    queue->records().restored(queue->limits());
    static_cast<void>(attached);
  }
  home_.spawn(gate_, keep_time());
}

void ShareGroup::stop() {
  stopped_ = true;
  for (const auto& [id, queue] : queues_) {
    queue->wake_all();
    queue->detach();
  }
  clock_.notify_all();
}

std::vector<ShareGroup::Queue> ShareGroup::all_queues() const {
  std::vector<Queue> out;
  for (const auto& [id, queue] : queues_) out.push_back(queue);
  return out;
}

// ---- members

io::Task<Result<ShareHeartbeatAnswer>> ShareGroup::heartbeat(ShareHeartbeat request) {
  const auto self = shared_from_this();
  const auto lookup = [this](const std::string& name) -> std::optional<std::pair<Uuid, int32_t>> {
    const auto topic = shared_.broker.find(name);
    if (!topic || is_internal_topic(name)) return std::nullopt;
    return std::pair(topic->object.id, static_cast<int32_t>(topic->partitions.size()));
  };
  MR_CO_TRY(auto answer, members_.heartbeat(request, now(), lookup, member_limits()));
  answer.interval_ms =
      static_cast<int32_t>(shared_.configs.integer(name_, "share.heartbeat.interval.ms"));
  if (answer.epoch < 0) end_session(request.member);
  MR_CO_TRY(co_await begin(members_.assigned()));
  rearm();
  co_return answer;
}

Journal::Entry ShareGroup::group_entry() const {
  auto text = json::serialize(json::object{{"version", 1}, {"epoch", members_.epoch()}});
  return {share_group_key(name_), std::move(text)};
}

io::Task<Result<>> ShareGroup::begin(std::vector<SharePartitionId> ids) {
  const auto turn = co_await beginning_.take();
  std::vector<Queue> fresh;
  std::vector<Journal::Entry> entries;
  if (written_epoch_ != members_.epoch()) {
    written_epoch_ = members_.epoch();
    entries.push_back(group_entry());
  }
  for (const auto& id : ids) {
    if (queues_.contains(id)) continue;
    auto queue = std::make_shared<ShareQueue>(shared_, home_, name_, id, 0);
    if (!queue->attach()) continue;  // dropped just now
    MR_CO_TRY(const Offset start, co_await queue->first_offset());
    queue->reset(start);
    fresh.push_back(std::move(queue));
  }
  if (auto written = co_await persist(fresh, std::move(entries)); !written) {
    written_epoch_ = -1;
    for (const auto& queue : fresh) queue->detach();
    co_return written;
  }
  for (auto& queue : fresh) queues_[queue->id()] = queue;
  co_return Result<>();
}

// ---- sessions

namespace {
constexpr int kSessionsMax = 2000;  // of a node; Kafka's group.share.max.share.sessions
}

uint64_t ShareGroup::number_of(const std::string& member) {
  const auto [at, fresh] = numbers_.try_emplace(member, next_number_);
  if (fresh) ++next_number_;
  return at->second;
}

Result<> ShareGroup::open_session(const ShareFetch& request, bool& new_connection) {
  for (const auto& part : request.parts) {
    if (!part.acknowledgements.empty())
      return Error{ErrorCode::kInvalidArgument, "a session cannot begin with acknowledgements"};
  }
  auto at = sessions_.find(request.member);
  if (at == sessions_.end()) {
    if (shared_.sessions.fetch_add(1) >= kSessionsMax) {
      --shared_.sessions;
      return Error{ErrorCode::kShareSessionLimit,
                   fmt::format("there are {} share sessions already", kSessionsMax)};
    }
    at = sessions_.try_emplace(request.member).first;
  }
  new_connection = at->second.connection != request.connection;
  at->second = Session{.epoch = 1, .parts = {}, .connection = request.connection};
  for (const auto& part : request.parts) at->second.parts.insert(part.id);
  return {};
}

Result<> ShareGroup::check_session(const ShareFetch& request) {
  const auto at = sessions_.find(request.member);
  if (at == sessions_.end())
    return Error{ErrorCode::kShareSessionNotFound,
                 fmt::format("member '{}' has no share session", request.member)};
  Session& session = at->second;
  if (request.epoch < 0) return {};
  if (request.epoch != session.epoch)
    return Error{
        ErrorCode::kInvalidShareSessionEpoch,
        fmt::format("the share session's epoch is {}, not {}", session.epoch, request.epoch)};
  session.epoch = session.epoch == std::numeric_limits<int32_t>::max() ? 1 : session.epoch + 1;
  return {};
}

void ShareGroup::end_session(const std::string& member) {
  if (sessions_.erase(member) > 0) --shared_.sessions;
  const auto number = numbers_.find(member);
  if (number == numbers_.end()) return;
  for (const auto& [id, queue] : queues_) {
    if (queue->records().release(number->second, queue->limits())) queue->wake();
  }
  numbers_.erase(number);
  due_ = true;  // what was given up wants its letter
  clock_.notify_all();
}

io::Task<void> ShareGroup::disconnected(std::string member, uint64_t connection) {
  const auto at = sessions_.find(member);
  if (at != sessions_.end() && at->second.connection == connection) end_session(member);
  co_return;
}

// ---- records

io::Task<Result<ShareGroup::Queue>> ShareGroup::queue_of(SharePartitionId id) {
  const auto topic = shared_.broker.find(id.topic);
  if (!topic)
    co_return Error{ErrorCode::kUnknownTopicId,
                    fmt::format("there is no topic with id {}", id.topic.to_string())};
  if (!queues_.contains(id)) {
    std::vector<SharePartitionId> ids{id};
    MR_CO_TRY(co_await begin(std::move(ids)));
  }
  const auto at = queues_.find(id);
  if (at == queues_.end())
    co_return Error{ErrorCode::kUnknownPartition, fmt::format("topic \"{}\" has no partition {}",
                                                              topic->object.name, id.partition)};
  co_return at->second;
}

io::Task<void> ShareGroup::acknowledge_parts(std::string member, bool renews,
                                             std::vector<SharePart> parts, Parts& out) {
  const uint64_t number = number_of(member);
  const auto count = [this](const auto& told) { shared_.counters.acknowledged(told); };
  for (const auto& part : parts) {
    if (part.acknowledgements.empty()) continue;
    auto& answer = out[part.id];
    answer.acknowledged = true;
    const auto found = queues_.find(part.id);
    if (found == queues_.end()) {
      const bool known = shared_.broker.find(part.id.topic) != nullptr;
      answer.acknowledge_error =
          Error{known ? ErrorCode::kUnknownPartition : ErrorCode::kUnknownTopicId,
                "the group has not begun this partition"};
      continue;
    }
    const Queue queue = found->second;
    if (queue->tick()) queue->wake();
    const auto limits = queue->limits();
    auto done = queue->records().acknowledge(number, now(), lock_ms(), renews,
                                             part.acknowledgements, limits);
    if (done) std::ranges::for_each(part.acknowledgements, count);
    if (done && queue->has_dying()) done = co_await queue->bury();
    if (!done) answer.acknowledge_error = std::move(done).error();
    queue->wake_if_news();
  }
}

io::Task<void> ShareGroup::acquire_parts(const ShareFetch& request, Parts& out) {
  const auto session = sessions_.find(request.member);
  if (session == sessions_.end()) co_return;
  std::vector<SharePartitionId> ids(session->second.parts.begin(), session->second.parts.end());
  // Each fetch begins with another partition, so that none starves.
  if (!ids.empty())
    std::ranges::rotate(ids, ids.begin() + session->second.epoch % static_cast<int>(ids.size()));
  SharePartition::Acquire how;
  how.member = number_of(request.member);
  how.lock_ms = lock_ms();
  how.records_max = request.records_max;
  how.strict = request.record_limit;
  size_t bytes = 0;
  for (const auto& id : ids) {
    if (how.records_max <= 0 || bytes >= request.bytes_max) break;
    auto queue = co_await queue_of(id);
    if (!queue) {
      out[id].error = std::move(queue).error();
      continue;
    }
    auto& part = out[id];
    auto acquired = co_await (*queue)->acquire(how, request.user, request.bytes_max - bytes, part);
    if (!acquired) part.error = std::move(acquired).error();
    for (const auto& range : part.acquired) how.records_max -= range.last - range.first + 1;
    bytes += part.batches.size();
  }
}

void ShareGroup::wait_for_more(const std::string& member, std::shared_ptr<ShareWaiter> waiter) {
  if (!sessions_.contains(member) || stopped_) {
    waiter->wake();
    return;
  }
  for (const auto& queue : queues_of(member)) queue->wait(waiter);
}

std::vector<ShareGroup::Queue> ShareGroup::queues_of(const std::string& member) const {
  std::vector<Queue> out;
  const auto session = sessions_.find(member);
  if (session == sessions_.end()) return out;
  for (const auto& id : session->second.parts) {
    if (const auto queue = queues_.find(id); queue != queues_.end()) out.push_back(queue->second);
  }
  return out;
}

io::Task<Result<ShareFetched>> ShareGroup::finish(ShareFetch request,
                                                  std::shared_ptr<ShareWaiter> waiter, Parts parts,
                                                  bool fetches) {
  if (fetches) co_await acquire_parts(request, parts);
  std::vector<Queue> queues;
  for (const auto& [id, part] : parts) {
    const auto queue = queues_.find(id);
    if (queue != queues_.end()) queues.push_back(queue->second);
  }
  const auto written = co_await persist(std::move(queues));
  ShareFetched out;
  out.lock_ms = static_cast<int32_t>(lock_ms());
  for (auto& [id, part] : parts) {
    part.id = id;
    // Records that were acquired are given out all the same: what a crash would forget is that
    // they were delivered once more.
    if (!written && part.acknowledged && !part.acknowledge_error)
      part.acknowledge_error = written.error();
    if (part.acknowledged || part.error || !part.acquired.empty())
      out.parts.push_back(std::move(part));
  }
  if (request.epoch < 0) end_session(request.member);
  if (waiter && out.parts.empty()) {
    wait_for_more(request.member, std::move(waiter));
  } else if (fetches) {
    for (const auto& queue : queues_of(request.member)) queue->wake_if_news();  // the next in turn
  }
  rearm();
  co_return out;
}

io::Task<Result<ShareFetched>> ShareGroup::fetch(ShareFetch request,
                                                 std::shared_ptr<ShareWaiter> waiter) {
  const auto self = shared_from_this();
  bool new_connection = false;
  if (request.epoch == 0) {
    MR_CO_TRY(open_session(request, new_connection));
  } else {
    MR_CO_TRY(check_session(request));
    auto& session = sessions_.at(request.member);
    if (request.epoch > 0) {
      for (const auto& part : request.parts) session.parts.insert(part.id);
      for (const auto& id : request.forgotten) session.parts.erase(id);
    }
  }
  Parts parts;
  co_await acknowledge_parts(request.member, request.renews, request.parts, parts);
  const bool fetches = request.epoch >= 0 && !request.renews;
  auto out = co_await finish(std::move(request), fetches ? std::move(waiter) : nullptr,
                             std::move(parts), fetches);
  if (out) out->new_connection = new_connection;
  co_return out;
}

io::Task<Result<ShareFetched>> ShareGroup::fetch_again(ShareFetch request,
                                                       std::shared_ptr<ShareWaiter> waiter) {
  const auto self = shared_from_this();
  co_return co_await finish(std::move(request), std::move(waiter), {}, true);
}

io::Task<Result<ShareFetched>> ShareGroup::acknowledge(ShareFetch request) {
  const auto self = shared_from_this();
  if (request.epoch == 0)
    co_return Error{ErrorCode::kInvalidShareSessionEpoch, "an acknowledgement opens no session"};
  MR_CO_TRY(check_session(request));
  Parts parts;
  co_await acknowledge_parts(request.member, request.renews, request.parts, parts);
  co_return co_await finish(std::move(request), nullptr, std::move(parts), false);
}

// ---- durability

io::Task<Result<>> ShareGroup::persist(std::vector<Queue> queues,
                                       std::vector<Journal::Entry> more) {
  while (true) {
    auto entries = std::exchange(more, {});
    const auto mine = std::make_shared<SharePut>();
    std::vector<std::shared_ptr<SharePut>> before;
    uint64_t failures = 0;
    for (const auto& queue : queues) {
      failures += queue->failures();
      if (queue->last_put) before.push_back(queue->last_put);
      auto changes = queue->take_changes();
      if (!changes.empty()) queue->last_put = mine;
      for (auto& entry : changes) entries.push_back(std::move(entry));
    }
    if (!entries.empty()) {
      const auto written = co_await shared_.journal->put(std::move(entries));
      mine->done = true;
      if (!written) {
        for (const auto& queue : queues) queue->not_written();
      }
      written_.notify_all();
      if (!written) co_return written;
    }
    // Others may have taken what this caller has changed.
    for (const auto& put : before) {
      while (!put->done) co_await written_.wait_until(std::chrono::steady_clock::time_point::max());
    }
    for (const auto& queue : queues) failures -= queue->failures();
    if (failures == 0) co_return Result<>();
  }
}

// ---- time

void ShareGroup::rearm() {
  std::optional<int64_t> next = members_.next_expiry(member_limits());
  for (const auto& [id, queue] : queues_) {
    const auto event = queue->records().next_event();
    if (event && (!next || *event < *next)) next = event;
  }
  if (!next || *next >= armed_) return;
  armed_ = *next;
  clock_.notify_all();
}

io::Task<void> ShareGroup::keep_time() {
  const auto self = shared_from_this();
  while (!stopped_) {
    const int64_t begun = now();
    armed_ = begun + kLookMs;
    rearm();
    if (!due_ && armed_ > begun) {
      const auto wait = std::chrono::milliseconds(armed_ - begun);
      co_await clock_.wait_until(std::chrono::steady_clock::now() + wait);
    }
    if (stopped_) break;
    if (!due_ && now() < armed_) continue;
    due_ = false;
    co_await on_time();
  }
}

void ShareGroup::drop_queue(const Queue& queue) {
  queue->detach();
  queues_.erase(queue->id());
}

io::Task<void> ShareGroup::on_time() {
  for (const auto& member : members_.expire(now(), member_limits())) end_session(member);
  const auto queues = all_queues();
  std::vector<Queue> changed;
  std::vector<Journal::Entry> entries;
  bool failed = false;
  for (const auto& queue : queues) {
    if (!queue->attach() && !queue->partition()) {
      for (auto& entry : queue->tombstones()) entries.push_back(std::move(entry));
      drop_queue(queue);
      continue;
    }
    if (queue->tick()) queue->wake();
    if (queue->has_dying()) {
      const auto buried = co_await queue->bury();
      failed = failed || !buried;
      queue->wake();
    }
    if (queue->records().has_changes()) changed.push_back(queue);
  }
  const auto written = co_await persist(std::move(changed), std::move(entries));
  if (written && !failed) co_return;
  if (!written)
    logging::warn("the state of a share group cannot be written, trying again",
                  {{"group", name_}, {"reason", written.error().text}});
  co_await home_.sleep(std::chrono::milliseconds(kAgainMs), &gate_);
}

// ---- what there is

ShareGroupInfo ShareGroup::info() const {
  return {name_, members_.empty() ? "Empty" : "Stable", members_.epoch(), members_.list()};
}

std::vector<ShareOffset> ShareGroup::offsets() const {
  std::vector<ShareOffset> out;
  for (const auto& [id, queue] : queues_)
    out.push_back({id, queue->records().start(), queue->lag()});
  return out;
}

io::Task<Result<std::vector<Result<>>>> ShareGroup::alter_offsets(
    std::vector<ShareOffset> offsets) {
  const auto self = shared_from_this();
  if (!members_.empty())
    co_return Error{ErrorCode::kNonEmptyGroup, "the group has members; stop them first"};
  std::vector<Result<>> out;
  std::vector<Queue> changed;
  for (const auto& wanted : offsets) {
    auto queue = co_await queue_of(wanted.id);
    if (!queue) {
      out.push_back(std::move(queue).error());
      continue;
    }
    const auto& partition = (*queue)->partition();
    const Offset from = partition ? partition->start_offset() : 0;
    const Offset to = partition ? partition->high_watermark() : 0;
    (*queue)->reset(std::clamp(wanted.start, from, std::max(from, to)));
    changed.push_back(*queue);
    out.emplace_back();
  }
  MR_CO_TRY(co_await persist(std::move(changed)));
  co_return out;
}

io::Task<Result<std::vector<Result<>>>> ShareGroup::delete_offsets(std::vector<Uuid> topics) {
  const auto self = shared_from_this();
  if (!members_.empty())
    co_return Error{ErrorCode::kNonEmptyGroup, "the group has members; stop them first"};
  std::vector<Result<>> out;
  std::vector<Journal::Entry> entries;
  for (const auto& topic : topics) {
    bool any = false;
    for (const auto& queue : all_queues()) {
      if (queue->id().topic != topic) continue;
      any = true;
      for (auto& entry : queue->tombstones()) entries.push_back(std::move(entry));
      drop_queue(queue);
    }
    out.push_back(any ? Result<>()
                      : Error{ErrorCode::kUndefinedObject, "the group has not begun the topic"});
  }
  MR_CO_TRY(co_await shared_.journal->put(std::move(entries)));
  co_return out;
}

io::Task<Result<>> ShareGroup::forget() {
  const auto self = shared_from_this();
  if (!members_.empty())
    co_return Error{ErrorCode::kNonEmptyGroup, "the group has members; stop them first"};
  std::vector<Journal::Entry> entries;
  entries.push_back({share_group_key(name_), std::nullopt});
  for (const auto& queue : all_queues()) {
    for (auto& entry : queue->tombstones()) entries.push_back(std::move(entry));
  }
  co_return co_await shared_.journal->put(std::move(entries));
}

}  // namespace millrace::broker::detail
