#include "broker/groups.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/detail/classic_group.h"
#include "broker/detail/consumer_group.h"
#include "broker/detail/groups_impl.h"

namespace millrace::broker {

namespace detail {

namespace {

constexpr const char* kTopic = "__consumer_offsets";
constexpr auto kIdle = std::chrono::hours(1);

Error no_group(std::string_view id) {
  return Error{ErrorCode::kGroupNotFound, fmt::format("there is no group {}", id)};
}

}  // namespace

GroupsImpl::GroupsImpl(io::Runtime& runtime, io::Env& env, Broker& broker, GroupOptions options)
    : env_(env),
      broker_(broker),
      options_(std::move(options)),
      home_(runtime.shard(0)),
      journal_(Journal::make(env, broker, kTopic)),
      topics_watch_(broker),
      timers_changed_(home_),
      write_ended_(home_) {}

Error GroupsImpl::stopping() { return Error{ErrorCode::kShuttingDown, "the node is stopping"}; }

// ---- what is common to all types of groups

GroupsImpl::Entry* GroupsImpl::find(std::string_view group) {
  const auto at = entries_.find(group);
  return at == entries_.end() ? nullptr : &at->second;
}

GroupsImpl::Entry& GroupsImpl::find_or_make(std::string_view group) {
  if (Entry* known = find(group)) return *known;
  Entry& entry = entries_[std::string(group)];
  entry.group = std::make_shared<ClassicGroup>(std::string(group), env_, options_);
  return entry;
}

void GroupsImpl::replace(const std::string& id, Entry& entry, std::shared_ptr<Group> group) {
  after(id, entry);  // what the old one has to write comes first
  if (auto tombstones = entry.group->tombstones(); !tombstones.empty()) {
    enqueue({id, entry.group, {std::move(tombstones), nullptr}});
  }
  entry.group = std::move(group);
  entry.next.reset();
}

void GroupsImpl::after(std::string_view id, Entry& entry) {
  for (auto& write : entry.group->take_writes()) {
    enqueue({std::string(id), entry.group, std::move(write)});
  }
  const auto due = entry.group->deadline();
  if (!due || (entry.next && *entry.next <= *due)) return;
  entry.next = due;
  const bool first = timers_.empty() || *due < timers_.top().at;
  timers_.push({*due, std::string(id)});
  if (first) timers_changed_.notify_all();
}

void GroupsImpl::enqueue(Queued queued) {
  if (gate_.closed()) {
    finish(std::move(queued), stopping());
    return;
  }
  queue_.push_back(std::move(queued));
  if (queue_.size() == 1) home_.spawn(gate_, flush());
}

io::Task<void> GroupsImpl::flush() {
  // A failure has been told to those who asked for the writes.
  [[maybe_unused]] const auto written = co_await write({});
}

io::Task<Result<>> GroupsImpl::write(std::vector<Journal::Entry> entries) {
  auto queued = std::exchange(queue_, {});
  if (entries.empty() && queued.empty()) co_return Result<>();
  const uint64_t number = writes_begun_++;
  std::vector<Journal::Entry> all;
  for (auto& each : queued) std::ranges::move(each.write.entries, std::back_inserter(all));
  std::ranges::move(entries, std::back_inserter(all));
  auto written = co_await journal_->put(std::move(all));
  while (writes_ended_ != number) co_await write_ended_.wait_until(Clock::now() + kIdle);
  ++writes_ended_;
  write_ended_.notify_all();
  for (auto& each : queued) finish(std::move(each), written);
  co_return written;
}

void GroupsImpl::finish(Queued queued, const Result<>& outcome) {
  if (queued.write.done) {
    queued.write.done(outcome);
  } else if (!outcome) {
    logging::warn("cannot write what a group has to keep",
                  {{"group", queued.id}, {"reason", outcome.error().text}});
  }
  Entry* entry = find(queued.id);
  if (entry && entry->group == queued.group) after(queued.id, *entry);
}

io::Task<void> GroupsImpl::settle() {
  co_await flush();
  const uint64_t begun = writes_begun_;
  while (writes_ended_ < begun) co_await write_ended_.wait_until(Clock::now() + kIdle);
}

void GroupsImpl::forget_if_idle(const std::string& id) {
  const Entry* entry = find(id);
  if (entry && entry->group->idle() && entry->offsets.empty() && entry->writes == 0) {
    entries_.erase(id);
  }
}

io::Task<void> GroupsImpl::keep_time() {
  while (!stopping_) {
    const auto now = Clock::now();
    while (!timers_.empty() && timers_.top().at <= now) {
      const Timer timer = timers_.top();
      timers_.pop();
      Entry* entry = find(timer.group);
      if (!entry || entry->next != timer.at) continue;  // another one stands for it
      entry->next.reset();
      entry->group->tick(now);
      after(timer.group, *entry);
      forget_if_idle(timer.group);
    }
    const auto until = timers_.empty() ? now + kIdle : timers_.top().at;
    co_await timers_changed_.wait_until(until);
  }
}

// ---- opening and closing

struct GroupsImpl::Loaded {
  std::map<std::string, std::string> groups;  // classic groups' records, by id
  std::map<std::string, std::shared_ptr<ConsumerGroup>> consumer_groups;
  std::optional<Error> failed;
};

Result<> GroupsImpl::load_entry(std::string_view key, std::optional<std::string_view> value,
                                Loaded& loaded) {
  MR_TRY(const auto what, read_journal_key(key));
  using Kind = JournalKey::Kind;
  if (what.kind == Kind::kGroup) {
    if (value) {
      loaded.groups[what.group] = *value;
    } else {
      loaded.groups.erase(what.group);
    }
    return {};
  }
  if (what.kind == Kind::kOther) {
    const auto id = ConsumerGroup::group_of(key);
    if (!id) return {};
    auto& group = loaded.consumer_groups[*id];
    if (!group) group = std::make_shared<ConsumerGroup>(*id);
    return group->load(key, value);
  }
  GroupOffsets& offsets = find_or_make(what.group).offsets;
  if (!value) {
    if (what.kind == Kind::kOffset) {
      offsets.committed.erase(what.at);
    } else if (const auto at = offsets.staged.find(what.producer_id); at != offsets.staged.end()) {
      at->second.offsets.erase(what.at);
      if (at->second.offsets.empty()) offsets.staged.erase(at);
    }
    return {};
  }
  int16_t epoch = -1;
  MR_TRY(auto kept, read_offset_value(*value, &epoch));
  kept.order = writes_begun_++;
  if (what.kind == Kind::kOffset) {
    offsets.committed[what.at] = std::move(kept);
  } else {
    stage(what.producer_id, epoch, what.group, what.at, std::move(kept));
  }
  return {};
}

io::Task<Result<>> GroupsImpl::start() {
  Loaded loaded;
  MR_CO_TRY(
      co_await journal_->load([&](std::string_view key, std::optional<std::string_view> value) {
        auto taken = load_entry(key, value, loaded);
        if (!taken && !loaded.failed) loaded.failed = taken.error();
      }));
  if (loaded.failed) co_return *loaded.failed;
  writes_ended_ = writes_begun_;
  const auto now = Clock::now();
  for (const auto& [id, record] : loaded.groups) {
    MR_CO_TRY(auto group, ClassicGroup::load(id, env_, options_, record, now));
    find_or_make(id).group = std::move(group);
  }
  for (const auto& [id, group] : loaded.consumer_groups) {
    if (group->idle()) continue;  // it became another, or was removed
    group->resume(topics_watch_.image(now, false), now);
    find_or_make(id).group = group;
  }
  std::vector<std::string> ids;
  for (auto& [id, entry] : entries_) {
    ids.push_back(id);
    after(id, entry);
  }
  for (const auto& id : ids) forget_if_idle(id);
  home_.spawn(gate_, keep_time());
  home_.spawn(gate_, keep_retention());
  co_return Result<>();
}

io::Task<void> GroupsImpl::close_here() {
  stopping_ = true;
  for (auto& [id, entry] : entries_) entry.group->refuse_all(stopping());
  timers_changed_.notify_all();
  co_await gate_.close();
}

io::Task<void> GroupsImpl::close() { return home_.call(close_here()); }

// ---- what there is

GroupInfo GroupsImpl::info_of(const std::string& id, const Entry& entry) const {
  GroupInfo info;
  info.id = id;
  info.type = entry.group->type();
  entry.group->describe(info);
  for (const auto& [at, kept] : entry.offsets.committed) {
    if (!is_current(at, kept)) continue;
    info.offsets.push_back({at, kept.committed, entry.offsets.is_pending(at)});
  }
  return info;
}

io::Task<std::vector<GroupInfo>> GroupsImpl::list_here() {
  std::vector<GroupInfo> all;
  for (const auto& [id, entry] : entries_) all.push_back(info_of(id, entry));
  co_return all;
}

io::Task<Result<GroupInfo>> GroupsImpl::describe_here(std::string group) {
  const Entry* entry = find(group);
  if (!entry) co_return no_group(group);
  co_return info_of(group, *entry);
}

io::Task<Result<>> GroupsImpl::remove_here(std::string group) {
  Inside inside(gate_);
  if (!inside) co_return stopping();
  co_await settle();
  const Entry* entry = find(group);
  if (!entry) co_return no_group(group);
  if (!entry->group->empty()) {
    co_return Error{ErrorCode::kNonEmptyGroup,
                    fmt::format("group {} has members: stop them first", group)};
  }
  std::vector<TopicPartition> which;
  for (const auto& [at, kept] : entry->offsets.committed) which.push_back(at);
  for (const auto& [producer, staged] : entry->offsets.staged) {
    for (const auto& [at, kept] : staged.offsets) which.push_back(at);
  }
  co_return co_await forget_offsets(std::move(group), std::move(which), true);
}

io::Task<std::vector<GroupInfo>> GroupsImpl::list() { return home_.call(list_here()); }
io::Task<Result<GroupInfo>> GroupsImpl::describe(std::string group) {
  return home_.call(describe_here(std::move(group)));
}
io::Task<Result<>> GroupsImpl::remove(std::string group) {
  return home_.call(remove_here(std::move(group)));
}

}  // namespace detail

std::string_view name_of(GroupType type) {
  return type == GroupType::kClassic ? "classic" : "consumer";
}

io::Task<Result<std::unique_ptr<Groups>>> Groups::open(io::Runtime& runtime, io::Env& env,
                                                       Broker& broker, GroupOptions options) {
  auto groups = std::make_unique<detail::GroupsImpl>(runtime, env, broker, std::move(options));
  MR_CO_TRY(co_await runtime.shard(0).call(groups->start()));
  co_return std::unique_ptr<Groups>(std::move(groups));
}

}  // namespace millrace::broker
