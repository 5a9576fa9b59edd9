#include "kafka/detail/fetch_sessions.h"

#include <algorithm>

#include "kafka/detail/error_codes.h"

namespace millrace::kafka {

namespace {

constexpr int32_t kInitialEpoch = 0;  // a full fetch, which makes a session
constexpr int32_t kFinalEpoch = -1;   // a full fetch without a session

int32_t epoch_after(int32_t epoch) { return epoch == INT32_MAX ? 1 : epoch + 1; }

std::string key_of(const std::string& name, const Uuid& id, bool by_id) {
  if (!by_id) return name;
  return std::string(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
}

/// Whether the client must hear of `now`, and what it then knows.
bool news(const FetchOutcome& now, Offset& high_watermark, Offset& start_offset) {
  bool told = now.bytes > 0;
  if (now.high_watermark != high_watermark) {
    told = true;
    high_watermark = now.high_watermark;
  }
  if (now.start_offset != start_offset) {
    told = true;
    start_offset = now.start_offset;
  }
  if (now.error != wire::kNone) {
    told = true;
    high_watermark = -1;  // so that the next answer without an error is told
  }
  return told;
}

void take(FetchWanted& wanted, const FetchRequest::FetchPartition& p) {
  wanted.index = p.partition;
  wanted.from = p.fetch_offset;
  wanted.bytes_max = p.partition_max_bytes;
  wanted.leader_epoch = p.current_leader_epoch;
}

}  // namespace

FetchSessions::FetchSessions(io::Env& env, const broker::Broker& broker, Limits limits)
    : env_(env), broker_(broker), limits_(limits) {}

/// Finds the partition, or says why there is none. A topic that was known by its id and has another
/// one now was made anew.
void FetchSessions::resolve(FetchWanted& wanted, bool by_id) const {
  wanted.error = wire::kNone;
  wanted.partition = nullptr;
  const auto& asked = *wanted.topic;
  const auto topic = by_id ? broker_.find(asked.id) : broker_.find(asked.name);
  if (!topic) {
    wanted.error = wire::kUnknownTopicOrPartition;
    if (by_id && asked.name.empty()) wanted.error = wire::kUnknownTopicId;
    if (by_id && !asked.name.empty() && broker_.find(asked.name)) {
      wanted.error = wire::kInconsistentTopicId;
    }
  } else if (wanted.index < 0 || static_cast<size_t>(wanted.index) >= topic->partitions.size()) {
    wanted.error = wire::kUnknownTopicOrPartition;
  } else {
    wanted.error = check_leader_epoch(wanted.leader_epoch);
    wanted.partition = topic->partitions[static_cast<size_t>(wanted.index)];
  }
}

FetchSessions::Opened FetchSessions::open(FetchRequest& request, int16_t version) {
  Opened opened;
  opened.by_id = version >= 13;
  if (request.session_epoch == kInitialEpoch || request.session_epoch == kFinalEpoch) {
    if (request.session_id != 0) {
      std::lock_guard lock(mutex_);
      remove(request.session_id);
    }
    if (request.session_epoch == kInitialEpoch) opened.kind = Opened::Kind::kFull;
    full(request, opened);
  } else {
    std::lock_guard lock(mutex_);
    incremental(request, opened);
  }
  for (auto& wanted : opened.wanted) resolve(wanted, opened.by_id);
  return opened;
}

void FetchSessions::full(FetchRequest& request, Opened& opened) const {
  for (auto& topic : request.topics) {
    auto named = std::make_shared<FetchTopic>(std::move(topic.topic), topic.topic_id);
    if (opened.by_id) {
      if (const auto found = broker_.find(named->id)) named->name = found->object.name;
    }
    for (const auto& p : topic.partitions) {
      auto& wanted = opened.wanted.emplace_back();
      wanted.topic = named;
      take(wanted, p);
    }
  }
}

void FetchSessions::incremental(FetchRequest& request, Opened& opened) {
  const auto found = sessions_.find(request.session_id);
  if (found == sessions_.end()) {
    opened.error = wire::kFetchSessionIdNotFound;
    return;
  }
  Session& session = found->second;
  if (session.epoch != request.session_epoch) {
    opened.error = wire::kInvalidFetchSessionEpoch;
    return;
  }
  if (session.by_id != opened.by_id) {
    opened.error = wire::kFetchSessionTopicIdError;
    return;
  }
  update(session, request);
  for (const auto& kept : session.parts) opened.wanted.push_back(kept.wanted);
  if (session.parts.empty()) {
    remove(session.id);
    return;
  }
  session.epoch = epoch_after(session.epoch);
  opened.kind = Opened::Kind::kIncremental;
  opened.session_id = session.id;
  opened.next_epoch = session.epoch;
  touch(session, env_.now_ms());
}

/// Takes over what an incremental request adds, changes and forgets.
void FetchSessions::update(Session& session, FetchRequest& request) {
  for (auto& topic : request.topics) {
    const auto key = key_of(topic.topic, topic.topic_id, session.by_id);
    auto& named = session.topics[key];
    if (!named || (session.by_id && named->name.empty())) {
      auto fresh = std::make_shared<FetchTopic>(std::move(topic.topic), topic.topic_id);
      const auto known = session.by_id ? broker_.find(fresh->id) : nullptr;
      if (known) fresh->name = known->object.name;
      named = std::move(fresh);
    }
    for (const auto& p : topic.partitions) {
      const auto at = session.by_key.find({key, p.partition});
      if (at != session.by_key.end()) {
        take(at->second->wanted, p);
        continue;
      }
      if (partitions_ >= limits_.partitions_max) continue;  // heard of again by the next full fetch
      auto& kept = session.parts.emplace_back();
      kept.wanted.topic = named;
      take(kept.wanted, p);
      session.by_key.emplace(Key(key, p.partition), std::prev(session.parts.end()));
      ++session.size;
      ++partitions_;
    }
  }
  for (const auto& topic : request.forgotten_topics_data) {
    const auto key = key_of(topic.topic, topic.topic_id, session.by_id);
    for (const int32_t index : topic.partitions) {
      const auto at = session.by_key.find({key, index});
      if (at == session.by_key.end()) continue;
      session.parts.erase(at->second);
      session.by_key.erase(at);
      --session.size;
      --partitions_;
    }
  }
}

FetchSessions::Closed FetchSessions::close(const Opened& opened,
                                           const std::vector<FetchOutcome>& outcomes) {
  Closed closed;
  closed.told.assign(opened.wanted.size(), true);
  if (opened.kind == Opened::Kind::kNoSession) return closed;
  std::lock_guard lock(mutex_);
  if (opened.kind == Opened::Kind::kFull) {
    if (!opened.wanted.empty()) closed.session_id = create(opened, outcomes);
    return closed;
  }
  const auto found = sessions_.find(opened.session_id);
  if (found == sessions_.end() || found->second.epoch != opened.next_epoch) {
    closed.error =
        found == sessions_.end() ? wire::kFetchSessionIdNotFound : wire::kInvalidFetchSessionEpoch;
    return closed;
  }
  Session& session = found->second;
  closed.session_id = session.id;
  for (size_t i = 0; i < opened.wanted.size(); ++i) {
    const auto& topic = *opened.wanted[i].topic;
    const auto at =
        session.by_key.find({key_of(topic.name, topic.id, session.by_id), opened.wanted[i].index});
    if (at == session.by_key.end()) continue;
    auto& kept = *at->second;
    closed.told[i] = news(outcomes[i], kept.high_watermark, kept.start_offset);
    if (outcomes[i].bytes > 0) {
      session.parts.splice(session.parts.end(), session.parts, at->second);
    }
  }
  return closed;
}

/// 0 when there is no place for it.
int32_t FetchSessions::create(const Opened& opened, const std::vector<FetchOutcome>& outcomes) {
  const int64_t now = env_.now_ms();
  if (!make_room(opened.wanted.size(), now)) return 0;
  int32_t id = 0;
  while (id == 0 || sessions_.contains(id)) {
    id = static_cast<int32_t>(env_.random() & static_cast<uint64_t>(INT32_MAX));
  }
  Session& session = sessions_[id];
  session.id = id;
  session.epoch = epoch_after(kInitialEpoch);
  session.by_id = opened.by_id;
  session.created_ms = session.used_ms = now;
  for (size_t i = 0; i < opened.wanted.size(); ++i) {
    const auto& wanted = opened.wanted[i];
    auto key = key_of(wanted.topic->name, wanted.topic->id, opened.by_id);
    session.topics[key] = wanted.topic;
    if (session.by_key.contains({key, wanted.index})) continue;
    auto& kept = session.parts.emplace_back();
    kept.wanted = wanted;
    kept.wanted.partition = nullptr;
    news(outcomes[i], kept.high_watermark, kept.start_offset);
    session.by_key.emplace(Key(std::move(key), wanted.index), std::prev(session.parts.end()));
    ++session.size;
    ++partitions_;
  }
  by_use_.emplace(now, id);
  return id;
}

/// Puts a session out if there must be room: the one that was idle longest, if it was so for long;
/// else the smallest of the old ones, if the new one is larger.
bool FetchSessions::make_room(size_t size, int64_t now) {
  while (sessions_.size() >= limits_.sessions_max || partitions_ + size > limits_.partitions_max) {
    if (by_use_.empty()) return false;
    const auto [used, id] = *by_use_.begin();
    if (now - used > limits_.idle.count()) {
      remove(id);
      continue;
    }
    const Session* smallest = nullptr;
    for (const auto& [each, session] : sessions_) {
      if (session.used_ms - session.created_ms <= limits_.idle.count()) continue;
      if (!smallest || session.size < smallest->size) smallest = &session;
    }
    if (!smallest || smallest->size >= size) return false;
    remove(smallest->id);
  }
  return true;
}

void FetchSessions::touch(Session& session, int64_t now) {
  by_use_.erase({session.used_ms, session.id});
  session.used_ms = now;
  by_use_.emplace(now, session.id);
}

void FetchSessions::remove(int32_t id) {
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return;
  partitions_ -= at->second.size;
  by_use_.erase({at->second.used_ms, id});
  sessions_.erase(at);
}

size_t FetchSessions::session_count() const {
  std::lock_guard lock(mutex_);
  return sessions_.size();
}

}  // namespace millrace::kafka
