#include "broker/share_groups.h"

#include <fmt/format.h>

#include "broker/detail/share_group.h"
#include "broker/detail/share_state.h"

namespace millrace::broker {

namespace {

constexpr const char* kTopic = "__share_group_state";
constexpr size_t kGroupNameMax = 1024;

using detail::ShareGroup;
using Group = std::shared_ptr<ShareGroup>;

/// The groups of one shard.
struct Home {
  explicit Home(io::Shard& on) : shard(on) {}
  io::Shard& shard;
  io::Gate gate;
  std::map<std::string, Group, std::less<>> groups;
};

class ShareGroupsImpl final : public ShareGroups {
 public:
  ShareGroupsImpl(io::Runtime& runtime, io::Env& env, Broker& broker, const GroupConfigs& configs)
      : shared_{runtime, env, broker, configs, Journal::make(env, broker, kTopic)} {
    for (size_t i = 0; i < runtime.shard_count(); ++i)
      homes_.push_back(std::make_unique<Home>(runtime.shard(i)));
  }

  io::Task<Result<>> load() {
    Result<> outcome;
    MR_CO_TRY(co_await shared_.journal->load([&](auto key, auto value) {
      if (auto taken = take(key, value); !taken && outcome) outcome = std::move(taken);
    }));
    MR_CO_TRY(std::move(outcome));
    for (const auto& home : homes_) {
      auto started = start(*home);
      co_await home->shard.call(std::move(started));
    }
    co_return Result<>();
  }

  io::Task<void> close() override {
    for (const auto& home : homes_) {
      auto closed = close(*home);
      co_await home->shard.call(std::move(closed));
    }
  }

  io::Task<Result<ShareHeartbeatAnswer>> heartbeat(ShareHeartbeat request) override {
    Home& home = home_of(request.group);
    return home.shard.call(heartbeat_here(home, std::move(request)));
  }
  io::Task<Result<ShareFetched>> fetch(ShareFetch request,
                                       std::shared_ptr<ShareWaiter> waiter) override {
    Home& home = home_of(request.group);
    return home.shard.call(fetch_here(home, std::move(request), std::move(waiter)));
  }
  io::Task<Result<ShareFetched>> fetch_again(ShareFetch request,
                                             std::shared_ptr<ShareWaiter> waiter) override {
    Home& home = home_of(request.group);
    return home.shard.call(fetch_again_here(home, std::move(request), std::move(waiter)));
  }
  io::Task<Result<ShareFetched>> acknowledge(ShareFetch request) override {
    Home& home = home_of(request.group);
    return home.shard.call(acknowledge_here(home, std::move(request)));
  }
  io::Task<void> disconnected(std::string group, std::string member, uint64_t connection) override {
    Home& home = home_of(group);
    return home.shard.call(
        disconnected_here(home, std::move(group), std::move(member), connection));
  }

  io::Task<std::vector<ShareGroupInfo>> list() override {
    std::vector<ShareGroupInfo> all;
    for (const auto& home : homes_) {
      auto listing = list_here(*home);
      for (auto& group : co_await home->shard.call(std::move(listing)))
        all.push_back(std::move(group));
    }
    std::ranges::sort(all, {}, &ShareGroupInfo::id);
    co_return all;
  }
  io::Task<Result<ShareGroupInfo>> describe(std::string group) override {
    Home& home = home_of(group);
    return home.shard.call(describe_here(home, std::move(group)));
  }
  io::Task<Result<>> remove(std::string group) override {
    Home& home = home_of(group);
    return home.shard.call(remove_here(home, std::move(group)));
  }
  io::Task<Result<std::vector<ShareOffset>>> offsets(std::string group) override {
    Home& home = home_of(group);
    return home.shard.call(offsets_here(home, std::move(group)));
  }
  io::Task<Result<std::vector<Result<>>>> alter_offsets(std::string group,
                                                        std::vector<ShareOffset> offsets) override {
    Home& home = home_of(group);
    return home.shard.call(alter_here(home, std::move(group), std::move(offsets)));
  }
  io::Task<Result<std::vector<Result<>>>> delete_offsets(std::string group,
                                                         std::vector<Uuid> topics) override {
    Home& home = home_of(group);
    return home.shard.call(delete_here(home, std::move(group), std::move(topics)));
  }

 private:
  Home& home_of(std::string_view group) {
    return *homes_[std::hash<std::string_view>()(group) % homes_.size()];
  }

  static Error no_group(std::string_view group) {
    return Error{ErrorCode::kGroupNotFound, fmt::format("there is no share group '{}'", group)};
  }
  static Result<Group> find(Home& home, std::string_view group) {
    const auto at = home.groups.find(group);
    if (at == home.groups.end()) return no_group(group);
    return at->second;
  }
  Group make(Home& home, std::string_view group) {
    auto& slot = home.groups[std::string(group)];
    if (!slot)
      slot = std::make_shared<ShareGroup>(shared_, home.shard, home.gate, std::string(group));
    return slot;
  }
  Result<Group> find_or_make(Home& home, std::string_view group) {
    if (group.empty() || group.size() > kGroupNameMax)
      return Error{ErrorCode::kInvalidGroup, "a group's name has 1 to 1024 bytes"};
    if (const auto at = home.groups.find(group); at != home.groups.end()) return at->second;
    auto made = make(home, group);
    made->start();
    return made;
  }

  // ---- loading; on the opener's shard, before the groups start on theirs

  Result<> take(std::string_view key, std::optional<std::string_view> value) {
    MR_TRY(const auto parsed, detail::parse_share_key(key));
    Home& home = home_of(parsed.group);
    if (parsed.id) {
      make(home, parsed.group)->load_state(*parsed.id, parsed.slot, value);
    } else if (value) {
      make(home, parsed.group)->load_group(*value);
    } else {
      home.groups.erase(parsed.group);
    }
    return {};
  }
  io::Task<void> start(Home& home) {
    for (const auto& [name, group] : home.groups) group->start();
    std::erase_if(home.groups, [](const auto& entry) {
      if (!entry.second->is_blank()) return false;
      entry.second->stop();
      return true;
    });
    co_return;
  }
  io::Task<void> close(Home& home) {
    for (const auto& [name, group] : home.groups) group->stop();
    co_await home.gate.close();
    home.groups.clear();
  }

  // ---- on the group's shard

  io::Task<Result<ShareHeartbeatAnswer>> heartbeat_here(Home& home, ShareHeartbeat request) {
    const bool joins = request.epoch == 0;
    MR_CO_TRY(const auto group,
              joins ? find_or_make(home, request.group) : find_member(home, request));
    co_return co_await group->heartbeat(std::move(request));
  }
  Result<Group> find_member(Home& home, const ShareHeartbeat& request) {
    auto group = find(home, request.group);
    if (group) return group;
    return Error{ErrorCode::kUnknownMember,
                 fmt::format("the group has no member '{}'", request.member)};
  }
  io::Task<Result<ShareFetched>> fetch_here(Home& home, ShareFetch request,
                                            std::shared_ptr<ShareWaiter> waiter) {
    MR_CO_TRY(const auto group, find_or_make(home, request.group));
    co_return co_await group->fetch(std::move(request), std::move(waiter));
  }
  io::Task<Result<ShareFetched>> fetch_again_here(Home& home, ShareFetch request,
                                                  std::shared_ptr<ShareWaiter> waiter) {
    MR_CO_TRY(const auto group, find(home, request.group));
    co_return co_await group->fetch_again(std::move(request), std::move(waiter));
  }
  io::Task<Result<ShareFetched>> acknowledge_here(Home& home, ShareFetch request) {
    const auto group = find(home, request.group);
    if (!group)
      co_return Error{ErrorCode::kShareSessionNotFound,
                      fmt::format("member '{}' has no share session", request.member)};
    co_return co_await (*group)->acknowledge(std::move(request));
  }
  io::Task<void> disconnected_here(Home& home, std::string group, std::string member,
                                   uint64_t connection) {
    const auto found = find(home, group);
    if (found) co_await (*found)->disconnected(std::move(member), connection);
  }
  io::Task<std::vector<ShareGroupInfo>> list_here(Home& home) {
    std::vector<ShareGroupInfo> out;
    for (const auto& [name, group] : home.groups) out.push_back(group->info());
    co_return out;
  }
  io::Task<Result<ShareGroupInfo>> describe_here(Home& home, std::string name) {
    MR_CO_TRY(const auto group, find(home, name));
    co_return group->info();
  }
  io::Task<Result<>> remove_here(Home& home, std::string name) {
    MR_CO_TRY(const auto group, find(home, name));
    MR_CO_TRY(co_await group->forget());
    group->stop();
    home.groups.erase(name);
    co_return Result<>();
  }
  io::Task<Result<std::vector<ShareOffset>>> offsets_here(Home& home, std::string name) {
    MR_CO_TRY(const auto group, find(home, name));
    co_return group->offsets();
  }
  io::Task<Result<std::vector<Result<>>>> alter_here(Home& home, std::string name,
                                                     std::vector<ShareOffset> offsets) {
    MR_CO_TRY(const auto group, find(home, name));
    co_return co_await group->alter_offsets(std::move(offsets));
  }
  io::Task<Result<std::vector<Result<>>>> delete_here(Home& home, std::string name,
                                                      std::vector<Uuid> topics) {
    MR_CO_TRY(const auto group, find(home, name));
    co_return co_await group->delete_offsets(std::move(topics));
  }

  detail::ShareShared shared_;
  std::vector<std::unique_ptr<Home>> homes_;
};

io::Task<Result<std::unique_ptr<ShareGroups>>> open_here(std::unique_ptr<ShareGroupsImpl> groups) {
  if (auto loaded = co_await groups->load(); !loaded) {
    co_await groups->close();
    co_return std::move(loaded).error();
  }
  co_return std::unique_ptr<ShareGroups>(std::move(groups));
}

}  // namespace

io::Task<Result<std::unique_ptr<ShareGroups>>> ShareGroups::open(io::Runtime& runtime, io::Env& env,
                                                                 Broker& broker,
                                                                 const GroupConfigs& configs) {
  auto groups = std::make_unique<ShareGroupsImpl>(runtime, env, broker, configs);
  return runtime.shard(0).call(open_here(std::move(groups)));
}

}  // namespace millrace::broker
