#include <fmt/format.h>

#include "base/logging.h"
#include "broker/detail/groups_impl.h"

// Committed offsets: the journal first, then memory. Offsets that transactions stage are records of
// their own; ending the transaction turns them into committed ones in one batch.
namespace millrace::broker::detail {

namespace {

constexpr size_t kGroupsAtOnce = 256;  // are looked at before others have their turn

}  // namespace

Result<GroupsImpl::Entry*> GroupsImpl::check_commit(const std::string& group,
                                                    const GroupCaller& caller, bool transactional) {
  Entry* entry = find(group);
  if (!entry) {
    if (caller.generation < 0) return &find_or_make(group);
    return Error{transactional ? ErrorCode::kIllegalGeneration : ErrorCode::kGroupNotFound,
                 fmt::format("there is no group {}", group)};
  }
  auto checked = entry->group->check_commit(caller, transactional, Clock::now());
  if (!checked) {
    Error error = checked.error();
    // Transactions know one word for it. Source: Kafka's OffsetMetadataManager.
    if (transactional && error.code == ErrorCode::kStaleMemberEpoch) {
      error.code = ErrorCode::kIllegalGeneration;
    }
    return error;
  }
  return entry;
}

GroupsImpl::Checked GroupsImpl::check_offsets(std::vector<OffsetToCommit> offsets) {
  Checked checked;
  const TimestampMs now = env_.now_ms();
  std::shared_ptr<const Topic> topic;
  for (auto& each : offsets) {
    if (!topic || topic->object.name != each.at.topic) topic = broker_.find(each.at.topic);
    if (!topic) {
      checked.outcomes.push_back(
          Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic {}", each.at.topic)});
    } else if (each.metadata.size() > options_.metadata_bytes_max) {
      checked.outcomes.push_back(
          Error{ErrorCode::kOffsetMetadataTooLarge,
                fmt::format("the metadata of an offset of {} has {} bytes: {} are allowed",
                            each.at.topic, each.metadata.size(), options_.metadata_bytes_max)});
    } else {
      checked.outcomes.emplace_back();
      KeptOffset kept;
      kept.committed = {each.offset, each.leader_epoch, std::move(each.metadata), now};
      kept.topic_id = topic->object.id;
      checked.kept.emplace_back(std::move(each.at), std::move(kept));
    }
  }
  return checked;
}

bool GroupsImpl::is_current(const TopicPartition& at, const KeptOffset& kept) const {
  const auto topic = broker_.find(at.topic);
  return topic && topic->object.id == kept.topic_id;
}

io::Task<Result<GroupsImpl::Outcomes>> GroupsImpl::commit_here(
    std::string group, GroupCaller caller, std::vector<OffsetToCommit> offsets) {
  Inside inside(gate_);
  if (!inside) co_return stopping();
  MR_CO_TRY(Entry * entry, check_commit(group, caller, false));
  auto checked = check_offsets(std::move(offsets));
  std::vector<Journal::Entry> entries;
  for (auto& [at, kept] : checked.kept) {
    kept.order = writes_begun_;
    entries.push_back({offset_key(group, at), offset_value(kept)});
  }
  ++entry->writes;  // keeps the entry where it is
  auto written = co_await write(std::move(entries));
  --entry->writes;
  if (written) {
    for (auto& [at, kept] : checked.kept) {
      entry->offsets.committed.insert_or_assign(std::move(at), std::move(kept));
    }
  }
  forget_if_idle(group);
  if (!written) co_return written.error();
  co_return std::move(checked.outcomes);
}

io::Task<Result<std::vector<FetchedOffset>>> GroupsImpl::fetch_here(
    std::string group, GroupCaller caller, std::optional<std::vector<TopicPartition>> wanted,
    bool require_stable) {
  std::vector<FetchedOffset> found;
  const Entry* entry = find(group);
  if (entry) MR_CO_TRY(entry->group->check_fetch(caller));
  auto add = [&](const TopicPartition& at, const KeptOffset* kept) {
    auto& each = found.emplace_back();
    each.at = at;
    each.unstable = require_stable && entry && entry->offsets.is_pending(at);
    if (kept && is_current(at, *kept)) each.committed = kept->committed;
  };
  if (wanted) {
    for (const auto& at : *wanted) {
      const KeptOffset* kept = nullptr;
      if (entry) {
        const auto has = entry->offsets.committed.find(at);
        if (has != entry->offsets.committed.end()) kept = &has->second;
      }
      add(at, kept);
    }
  } else if (entry) {
    for (const auto& [at, kept] : entry->offsets.committed) {
      if (is_current(at, kept)) add(at, &kept);
    }
  }
  co_return found;
}

io::Task<Result<GroupsImpl::Outcomes>> GroupsImpl::delete_offsets_here(
    std::string group, std::vector<TopicPartition> offsets) {
  Inside inside(gate_);
  if (!inside) co_return stopping();
  co_await settle();
  Entry* entry = find(group);
  if (!entry) {
    co_return Error{ErrorCode::kGroupNotFound, fmt::format("there is no group {}", group)};
  }
  Outcomes outcomes;
  std::vector<TopicPartition> which;
  for (auto& at : offsets) {
    const auto subscribed = entry->group->subscribed(at.topic);
    if (!subscribed) {
      co_return Error{ErrorCode::kNonEmptyGroup,
                      fmt::format("group {} has members, and what they use is not known", group)};
    }
    if (*subscribed) {
      outcomes.push_back(
          Error{ErrorCode::kGroupSubscribed,
                fmt::format("members of group {} are subscribed to {}", group, at.topic)});
    } else {
      outcomes.emplace_back();
      which.push_back(std::move(at));
    }
  }
  MR_CO_TRY(co_await forget_offsets(std::move(group), std::move(which), false));
  co_return outcomes;
}

io::Task<Result<>> GroupsImpl::forget_offsets(std::string group, std::vector<TopicPartition> which,
                                              bool group_too) {
  Entry* entry = find(group);
  if (!entry) co_return Result<>();
  std::vector<Journal::Entry> entries;
  for (const auto& at : which) {
    if (entry->offsets.committed.contains(at)) {
      entries.push_back({offset_key(group, at), std::nullopt});
    }
    for (const auto& [producer, staged] : entry->offsets.staged) {
      if (staged.offsets.contains(at)) {
        entries.push_back({staged_key(producer, group, at), std::nullopt});
      }
    }
  }
  const auto forgotten = entry->group;
  if (group_too) {
    for (auto& each : forgotten->tombstones()) entries.push_back(std::move(each));
  }
  const uint64_t order = writes_begun_;
  ++entry->writes;
  auto written = co_await write(std::move(entries));
  --entry->writes;
  if (!written) co_return written;
  auto& offsets = entry->offsets;
  for (const auto& at : which) {
    const auto kept = offsets.committed.find(at);
    if (kept != offsets.committed.end() && kept->second.order < order) {
      offsets.committed.erase(kept);
    }
    for (auto& [producer, staged] : offsets.staged) staged.offsets.erase(at);
  }
  std::erase_if(offsets.staged, [](const auto& each) { return each.second.offsets.empty(); });
  // A member may have come, or an offset, while the tombstones were written: then the group stays,
  // and what it has is written anew by what made it.
  if (group_too && entry->group == forgotten && forgotten->empty() && offsets.empty() &&
      entry->writes == 0) {
    entries_.erase(group);
  }
  co_return Result<>();
}

// ---- transactions

void GroupsImpl::stage(int64_t producer_id, int16_t epoch, const std::string& group,
                       TopicPartition at, KeptOffset kept) {
  auto& staged = find_or_make(group).offsets.staged[producer_id];
  staged.producer_epoch = std::max(staged.producer_epoch, epoch);
  staged.offsets.insert_or_assign(std::move(at), std::move(kept));
  staged_[producer_id].insert(group);
}

io::Task<Result<GroupsImpl::Outcomes>> GroupsImpl::stage_offsets_here(
    int64_t producer_id, int16_t producer_epoch, std::string group, GroupCaller caller,
    std::vector<OffsetToCommit> offsets) {
  Inside inside(gate_);
  if (!inside) co_return stopping();
  if (group.empty()) {
    co_return Error{ErrorCode::kInvalidGroup, "a group's id is at least one character"};
  }
  MR_CO_TRY(Entry * entry, check_commit(group, caller, true));
  const auto before = entry->offsets.staged.find(producer_id);
  if (before != entry->offsets.staged.end() && before->second.producer_epoch > producer_epoch) {
    co_return Error{
        ErrorCode::kInvalidProducerEpoch,
        fmt::format("group {}: a newer producer {} has staged offsets", group, producer_id)};
  }
  auto checked = check_offsets(std::move(offsets));
  std::vector<Journal::Entry> entries;
  for (auto& [at, kept] : checked.kept) {
    kept.order = writes_begun_;
    entries.push_back({staged_key(producer_id, group, at), staged_value(kept, producer_epoch)});
  }
  ++entry->writes;
  auto written = co_await write(std::move(entries));
  --entry->writes;
  if (written) {
    for (auto& [at, kept] : checked.kept) {
      stage(producer_id, producer_epoch, group, std::move(at), std::move(kept));
    }
  }
  forget_if_idle(group);
  if (!written) co_return written.error();
  co_return std::move(checked.outcomes);
}

io::Task<Result<>> GroupsImpl::finish_transaction_here(int64_t producer_id, bool commit) {
  Inside inside(gate_);
  if (!inside) co_return stopping();
  co_await settle();
  const auto in = staged_.find(producer_id);
  if (in == staged_.end()) co_return Result<>();
  std::vector<Journal::Entry> entries;
  struct Committed {
    std::string group;
    TopicPartition at;
    KeptOffset kept;
  };
  std::vector<Committed> committed;
  const std::set<std::string> groups = in->second;
  for (const auto& group : groups) {
    const Entry* entry = find(group);
    if (!entry) continue;
    const auto staged = entry->offsets.staged.find(producer_id);
    if (staged == entry->offsets.staged.end()) continue;
    for (const auto& [at, kept] : staged->second.offsets) {
      entries.push_back({staged_key(producer_id, group, at), std::nullopt});
      const auto now = entry->offsets.committed.find(at);
      const bool newer = now != entry->offsets.committed.end() && now->second.order > kept.order;
      if (!commit || newer) continue;
      auto& each = committed.emplace_back(group, at, kept);
      each.kept.order = writes_begun_;
      entries.push_back({offset_key(group, at), offset_value(each.kept)});
    }
  }
  MR_CO_TRY(co_await write(std::move(entries)));
  for (auto& each : committed) {
    find_or_make(each.group)
        .offsets.committed.insert_or_assign(std::move(each.at), std::move(each.kept));
  }
  staged_.erase(producer_id);
  for (const auto& group : groups) {
    if (Entry* entry = find(group)) entry->offsets.staged.erase(producer_id);
    forget_if_idle(group);
  }
  co_return Result<>();
}

// ---- retention

std::vector<TopicPartition> GroupsImpl::expired(const Entry& entry) const {
  std::vector<TopicPartition> which;
  const TimestampMs oldest = env_.now_ms() - options_.offsets_retention.count();
  for (const auto& [at, kept] : entry.offsets.committed) {
    if (entry.offsets.is_pending(at)) continue;
    const auto since = entry.group->retention_start(at.topic, kept.committed.commit_time);
    if ((since && *since <= oldest) || !is_current(at, kept)) which.push_back(at);
  }
  return which;
}

io::Task<void> GroupsImpl::expire_offsets() {
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  size_t looked_at = 0;
  for (auto& id : ids) {
    if (++looked_at % kGroupsAtOnce == 0) {
      co_await home_.sleep(std::chrono::nanoseconds(0), &gate_);
    }
    const Entry* entry = find(id);
    if (!entry || stopping_) continue;
    auto which = expired(*entry);
    const bool all = which.size() == entry->offsets.committed.size() &&
                     entry->offsets.staged.empty() && entry->group->empty();
    if (which.empty() && (!all || entry->group->idle())) continue;
    logging::info("offsets have expired",
                  {{"group", id}, {"offsets", which.size()}, {"group goes", all}});
    auto forgotten = co_await forget_offsets(id, std::move(which), all);
    if (!forgotten) {
      logging::warn("cannot forget expired offsets",
                    {{"group", id}, {"reason", forgotten.error().text}});
      co_return;
    }
  }
}

io::Task<void> GroupsImpl::keep_retention() {
  while (true) {
    co_await home_.sleep(options_.retention_check_interval, &gate_);
    if (gate_.closed()) co_return;
    co_await expire_offsets();
  }
}

// ---- the door

io::Task<Result<std::vector<Result<>>>> GroupsImpl::commit(std::string group, GroupCaller caller,
                                                           std::vector<OffsetToCommit> offsets) {
  return home_.call(commit_here(std::move(group), std::move(caller), std::move(offsets)));
}
io::Task<Result<std::vector<FetchedOffset>>> GroupsImpl::fetch(
    std::string group, GroupCaller caller, std::optional<std::vector<TopicPartition>> wanted,
    bool require_stable) {
  return home_.call(
      fetch_here(std::move(group), std::move(caller), std::move(wanted), require_stable));
}
io::Task<Result<std::vector<Result<>>>> GroupsImpl::delete_offsets(
    std::string group, std::vector<TopicPartition> offsets) {
  return home_.call(delete_offsets_here(std::move(group), std::move(offsets)));
}
io::Task<Result<std::vector<Result<>>>> GroupsImpl::stage_offsets(
    int64_t producer_id, int16_t producer_epoch, std::string group, GroupCaller caller,
    std::vector<OffsetToCommit> offsets) {
  return home_.call(stage_offsets_here(producer_id, producer_epoch, std::move(group),
                                       std::move(caller), std::move(offsets)));
}
io::Task<Result<>> GroupsImpl::finish_transaction(int64_t producer_id, bool commit) {
  return home_.call(finish_transaction_here(producer_id, commit));
}

}  // namespace millrace::broker::detail
