#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "broker/detail/base64.h"
#include "broker/detail/consumer_group.h"
#include "broker/detail/partition_set.h"

// What a group shows, and what it keeps: docs/kafka.md, "The new consumer protocol".
namespace millrace::broker::detail {

namespace {

namespace json = boost::json;

constexpr json::parse_options kAnyBytes{.allow_invalid_utf8 = true};
constexpr const char* kSettled = "has";  // both what it is assigned and its target
constexpr std::string_view kKeyWord = "consumer-group";
constexpr int64_t kVersion = 1;

constexpr std::string_view kStateNames[] = {"stable", "unrevoked", "unreleased"};

std::string group_key_of(std::string_view group) {
  return json::serialize(json::array{kKeyWord, group});
}
std::string member_key_of(std::string_view group, std::string_view member) {
  return json::serialize(json::array{kKeyWord, group, member});
}

struct Key {
  std::string group;
  std::optional<std::string> member;
};

std::optional<Key> read_key(std::string_view text) {
  boost::system::error_code failed;
  const auto parsed = json::parse(text, failed, {}, kAnyBytes);
  if (failed || !parsed.is_array()) return std::nullopt;
  const auto& parts = parsed.get_array();
  if (parts.size() < 2 || parts.size() > 3 || parts[0] != json::value(kKeyWord))
    return std::nullopt;
  if (!parts[1].is_string() || !parts.back().is_string()) return std::nullopt;
  Key key{std::string(parts[1].get_string()), std::nullopt};
  if (parts.size() == 3) key.member = std::string(parts[2].get_string());
  return key;
}

json::object to_json(const PartitionSet& set) {
  json::object out;
  for (const auto& [topic, partitions] : set) out[topic.to_string()] = to_ranges(partitions);
  return out;
}

/// Takes members of a JSON object out, and remembers whether one had not the form that it must
/// have.
class Reader {
 public:
  explicit Reader(std::string_view text) {
    boost::system::error_code failed;
    auto parsed = json::parse(text, failed, {}, kAnyBytes);
    ok_ = !failed && parsed.is_object();
    if (ok_) object_ = std::move(parsed.get_object());
    ok_ = ok_ && number("v") == kVersion;
  }
  bool ok() const { return ok_; }

  int64_t number(std::string_view name) {
    const auto* value = object_.if_contains(name);
    if (value && value->is_int64()) return value->get_int64();
    return bad<int64_t>();
  }
  int32_t small_number(std::string_view name) {
    const int64_t value = number(name);
    return value == static_cast<int32_t>(value) ? static_cast<int32_t>(value) : bad<int32_t>();
  }
  std::optional<std::string> optional_text(std::string_view name) {
    const auto* value = object_.if_contains(name);
    if (!value) return std::nullopt;
    if (value->is_string()) return std::string(value->get_string());
    return bad<std::optional<std::string>>();
  }
  std::string text(std::string_view name) { return optional_text(name).value_or(""); }
  std::vector<std::string> texts(std::string_view name) {
    std::vector<std::string> out;
    const auto* value = object_.if_contains(name);
    if (!value || !value->is_array()) return bad<std::vector<std::string>>();
    for (const auto& item : value->get_array()) {
      if (!item.is_string()) return bad<std::vector<std::string>>();
      out.emplace_back(item.get_string());
    }
    return out;
  }
  PartitionSet partitions(std::string_view name) {
    PartitionSet out;
    const auto* value = object_.if_contains(name);
    if (!value) return out;
    if (!value->is_object()) return bad<PartitionSet>();
    for (const auto& [topic, ranges] : value->get_object()) {
      const auto id = Uuid::parse(topic);
      if (!id || !ranges.is_string()) return bad<PartitionSet>();
      auto list = from_ranges(ranges.get_string());
      if (!list || list->empty()) return bad<PartitionSet>();
      out.emplace(*id, std::move(*list));
    }
    return out;
  }
  std::optional<ConsumerMember::Classic> classic(std::string_view name) {
    using Classic = ConsumerMember::Classic;
    const auto* value = object_.if_contains(name);
    if (!value) return std::nullopt;
    if (!value->is_object()) return bad<std::optional<Classic>>();
    Classic out;
    for (const auto& [protocol, metadata] : value->get_object()) {
      auto bytes = metadata.is_string() ? from_base64(metadata.get_string()) : std::nullopt;
      if (!bytes) return bad<std::optional<Classic>>();
      out.protocols.emplace_back(protocol, std::move(*bytes));
    }
    out.session_timeout = std::chrono::milliseconds(number("session_timeout_ms"));
    return out.protocols.empty() ? bad<std::optional<Classic>>() : std::optional(std::move(out));
  }
  ConsumerMember::State state(std::string_view name) {
    const auto* at = std::ranges::find(kStateNames, text(name));
    if (at == std::end(kStateNames)) return bad<ConsumerMember::State>();
    return static_cast<ConsumerMember::State>(at - kStateNames);
  }

 private:
  template <typename T>
  T bad() {
    ok_ = false;
    return T{};
  }

  json::object object_;
  bool ok_ = false;
};

Error corrupt(std::string_view key) {
  return {ErrorCode::kCorruptRecord, fmt::format("the value of {} cannot be read", key)};
}

}  // namespace

// ---- what it shows

std::string ConsumerGroup::state() const {
  if (members_.empty()) return "Empty";
  if (epoch_ > assignment_epoch_) return "Assigning";
  const bool stable =
      std::ranges::all_of(members_, [&](const auto& at) { return is_stable(at.second.member); });
  return stable ? "Stable" : "Reconciling";
}

ConsumerGroupInfo ConsumerGroup::info() const {
  ConsumerGroupInfo out;
  out.id = id_;
  out.state = state();
  out.epoch = epoch_;
  out.assignment_epoch = assignment_epoch_;
  out.assignor = preferred_assignor();
  const auto name_all = [&](const PartitionSet& set) {
    for (const auto& [topic, partitions] : set) {
      const auto* known = topics_ ? topics_->find(topic) : nullptr;
      if (known) out.topics[topic] = known->name;
    }
  };
  for (const auto& [id, slot] : members_) {
    const ConsumerMember& member = slot.member;
    auto& told = out.members.emplace_back();
    told.member_id = id;
    told.instance_id = member.instance_id;
    told.rack_id = member.rack_id;
    told.epoch = member.epoch;
    told.client_id = member.client_id;
    told.client_host = member.client_host;
    told.topic_names = member.topic_names;
    told.topic_regex = member.topic_regex;
    told.assigned = member.assigned;
    told.target = member.target;
    told.classic = member.classic.has_value();
    name_all(member.assigned);
    name_all(member.target);
  }
  return out;
}

void ConsumerGroup::describe(GroupInfo& out) const {
  const auto all = info();
  out.state = all.state;
  out.protocol_type = "consumer";
  out.protocol = all.assignor;
  out.generation = all.epoch;
  for (const auto& member : all.members) {
    auto& told = out.members.emplace_back();
    told.member_id = member.member_id;
    told.instance_id = member.instance_id;
    told.client_id = member.client_id;
    told.client_host = member.client_host;
    for (const auto& [topic, partitions] : member.assigned) {
      const auto name = all.topics.find(topic);
      if (name == all.topics.end()) continue;
      for (const int32_t p : partitions) told.assigned.push_back({name->second, p});
    }
    std::ranges::sort(told.assigned);
  }
}

std::optional<bool> ConsumerGroup::subscribed(std::string_view topic) const {
  return std::ranges::any_of(members_, [&](const auto& at) {
    const ConsumerMember& member = at.second.member;
    if (std::ranges::binary_search(member.topic_names, topic)) return true;
    const auto resolved = regexes_.find(member.topic_regex);
    return resolved != regexes_.end() && resolved->second.names.contains(topic);
  });
}

std::optional<TimestampMs> ConsumerGroup::retention_start(std::string_view topic,
                                                          TimestampMs committed) const {
  if (*subscribed(topic)) return std::nullopt;
  return committed;
}

// ---- what it keeps

Journal::Entry ConsumerGroup::group_entry() const {
  const json::object value{{"v", kVersion},
                           {"epoch", epoch_},
                           {"assignment_epoch", assignment_epoch_},
                           {"topics_hash", static_cast<int64_t>(topics_hash_)}};
  return {group_key_of(id_), json::serialize(value)};
}

Journal::Entry ConsumerGroup::member_entry(const ConsumerMember& member) const {
  json::object value{{"v", kVersion},
                     {"epoch", member.epoch},
                     {"previous_epoch", member.previous_epoch},
                     {"state", kStateNames[static_cast<size_t>(member.state)]},
                     {"client_id", member.client_id},
                     {"client_host", member.client_host},
                     {"rebalance_timeout_ms", member.rebalance_timeout.count()},
                     {"topics", json::array(member.topic_names.begin(), member.topic_names.end())}};
  if (member.instance_id) value["instance_id"] = *member.instance_id;
  if (member.rack_id) value["rack_id"] = *member.rack_id;
  if (!member.topic_regex.empty()) value["regex"] = member.topic_regex;
  if (!member.assignor.empty()) value["assignor"] = member.assignor;
  // Most of the time a member has what it should have; it may be a lot.
  const bool settled = member.assigned == member.target;
  if (!member.assigned.empty()) value[settled ? kSettled : "assigned"] = to_json(member.assigned);
  if (!member.revoking.empty()) value["revoking"] = to_json(member.revoking);
  if (!settled && !member.target.empty()) value["target"] = to_json(member.target);
  if (member.classic) {
    json::object protocols;
    for (const auto& [name, metadata] : member.classic->protocols) {
      protocols[name] = to_base64(metadata);
    }
    value["classic"] = std::move(protocols);
    value["session_timeout_ms"] = member.classic->session_timeout.count();
  }
  return {member_key_of(id_, member.id), json::serialize(value)};
}

std::vector<Group::Write> ConsumerGroup::take_writes() {
  if (!group_dirty_ && dirty_.empty()) return {};
  take_up_unwritten();
  Write write;
  if (group_dirty_) write.entries.push_back(group_entry());
  for (const auto& id : dirty_) {
    const auto at = members_.find(id);
    write.entries.push_back(at == members_.end()
                                ? Journal::Entry{member_key_of(id_, id), std::nullopt}
                                : member_entry(at->second.member));
  }
  // What could not be written is written with the next heartbeat, as it is then: not at once, which
  // on a full disk would never end.
  write.done = [this, ids = std::move(dirty_), whole = group_dirty_,
                waiting = std::move(waiting_)](const Result<>& written) mutable {
    for (auto& done : waiting) done(written);
    if (written) return;
    unwritten_.insert(ids.begin(), ids.end());
    group_unwritten_ = group_unwritten_ || whole;
  };
  waiting_.clear();
  dirty_.clear();
  group_dirty_ = false;
  std::vector<Write> out;
  out.push_back(std::move(write));
  return out;
}

void ConsumerGroup::take_up_unwritten() {
  dirty_.merge(unwritten_);
  unwritten_.clear();
  group_dirty_ = std::exchange(group_unwritten_, false) || group_dirty_;
}

void ConsumerGroup::when_written(std::move_only_function<void(const Result<>&)> done) {
  take_up_unwritten();
  if (!group_dirty_ && dirty_.empty()) return done(Result<>());
  waiting_.push_back(std::move(done));
}

std::vector<Journal::Entry> ConsumerGroup::tombstones() const {
  std::vector<Journal::Entry> out;
  out.push_back({group_key_of(id_), std::nullopt});
  for (const auto& [id, slot] : members_) out.push_back({member_key_of(id_, id), std::nullopt});
  return out;
}

std::optional<std::string> ConsumerGroup::group_of(std::string_view key) {
  auto read = read_key(key);
  if (!read) return std::nullopt;
  return std::move(read->group);
}

Result<> ConsumerGroup::load(std::string_view key, std::optional<std::string_view> value) {
  const auto read = read_key(key);
  if (!read) return corrupt(key);
  if (read->member) return load_member(*read->member, value);
  if (!value) {
    epoch_ = 0;
    return {};
  }
  Reader in(*value);
  epoch_ = in.small_number("epoch");
  assignment_epoch_ = in.small_number("assignment_epoch");
  topics_hash_ = static_cast<uint64_t>(in.number("topics_hash"));
  return in.ok() ? Result<>() : corrupt(key);
}

Result<> ConsumerGroup::load_member(const std::string& id, std::optional<std::string_view> value) {
  if (const auto at = members_.find(id); at != members_.end()) {
    const ConsumerMember& member = at->second.member;
    if (member.instance_id) static_members_.erase(*member.instance_id);
    members_.erase(at);
  }
  if (!value) return {};
  Reader in(*value);
  ConsumerMember member;
  member.id = id;
  member.instance_id = in.optional_text("instance_id");
  member.rack_id = in.optional_text("rack_id");
  member.client_id = in.text("client_id");
  member.client_host = in.text("client_host");
  member.rebalance_timeout = std::chrono::milliseconds(in.number("rebalance_timeout_ms"));
  member.topic_names = in.texts("topics");
  member.topic_regex = in.text("regex");
  member.assignor = in.text("assignor");
  member.epoch = in.small_number("epoch");
  member.previous_epoch = in.small_number("previous_epoch");
  member.state = in.state("state");
  const auto settled = in.partitions(kSettled);
  member.assigned = settled.empty() ? in.partitions("assigned") : settled;
  member.revoking = in.partitions("revoking");
  member.target = settled.empty() ? in.partitions("target") : settled;
  member.classic = in.classic("classic");
  if (!in.ok()) return corrupt(member_key_of(id_, id));
  if (member.instance_id) static_members_[*member.instance_id] = id;
  members_[id].member = std::move(member);
  return {};
}

void ConsumerGroup::resume(const Topics& topics, Clock::time_point now) {
  topics_ = topics;
  owned_.clear();
  next_.reset();
  for (auto& [id, slot] : members_) {
    slot.fresh = false;
    set_owned(slot.member.assigned, true);
    set_owned(slot.member.revoking, true);
    slot.session_end = now + ConsumerHeartbeat{}.session_timeout;
    wake_at(slot.session_end);
    if (slot.member.state == ConsumerMember::State::kUnrevoked) {
      slot.rebalance_end = now + slot.member.rebalance_timeout;
      wake_at(*slot.rebalance_end);
    }
  }
}

}  // namespace millrace::broker::detail
