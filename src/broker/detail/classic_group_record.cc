#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "broker/detail/base64.h"
#include "broker/detail/classic_group.h"
#include "broker/detail/group_offsets.h"

// A classic group in the journal, and what clients' own formats say of topics.
namespace millrace::broker::detail {

namespace json = boost::json;

namespace {

constexpr json::parse_options kAnyBytes{.allow_invalid_utf8 = true};

Error not_a_group(std::string_view id, std::string_view what) {
  return Error{ErrorCode::kCorruptRecord, fmt::format("the record of group {}: {}", id, what)};
}

/// Big-endian fields of a client's bytes; a fault makes all further ones zero and empty.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  int64_t integer(size_t size) {
    if (!take(size)) return 0;
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) value = value << 8 | static_cast<uint8_t>(taken_[i]);
    const auto unused = 64 - 8 * size;
    return static_cast<int64_t>(value << unused) >> unused;
  }
  std::string text() {
    const int64_t size = integer(2);
    if (size < 0 || !take(static_cast<size_t>(size))) return ok_ = false, std::string();
    return std::string(taken_);
  }
  void skip(int64_t size) { take(static_cast<size_t>(size)); }
  /// An array's length; none is longer than the bytes that are left.
  size_t count() {
    const int64_t count = integer(4);
    if (count < 0 || static_cast<size_t>(count) > bytes_.size()) return ok_ = false, 0;
    return static_cast<size_t>(count);
  }

 private:
  bool take(size_t size) {
    if (!ok_ || bytes_.size() < size) return ok_ = false;
    taken_ = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }
  std::string_view bytes_;
  std::string_view taken_;
  bool ok_ = true;
};

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}
int64_t integer_of(const json::object& object, std::string_view name, int64_t otherwise) {
  const auto* value = object.if_contains(name);
  return value && value->is_int64() ? value->get_int64() : otherwise;
}

}  // namespace

std::optional<std::vector<std::string>> read_subscription(std::string_view metadata) {
  Fields in(metadata);
  if (in.integer(2) < 0) return std::nullopt;
  std::vector<std::string> topics;
  for (size_t left = in.count(); left > 0 && in.ok(); --left) topics.push_back(in.text());
  return in.ok() ? std::optional(std::move(topics)) : std::nullopt;
}

std::optional<std::vector<TopicPartition>> read_assignment(std::string_view assignment) {
  std::vector<TopicPartition> all;
  if (assignment.empty()) return all;
  Fields in(assignment);
  if (in.integer(2) < 0) return std::nullopt;
  for (size_t topics = in.count(); topics > 0 && in.ok(); --topics) {
    const auto topic = in.text();
    for (size_t left = in.count(); left > 0 && in.ok(); --left) {
      all.push_back({topic, static_cast<int32_t>(in.integer(4))});
    }
  }
  return in.ok() ? std::optional(std::move(all)) : std::nullopt;
}

std::optional<std::vector<TopicPartition>> read_owned(std::string_view metadata) {
  constexpr int64_t kSaysOwned = 1;
  std::vector<TopicPartition> all;
  Fields in(metadata);
  const int64_t version = in.integer(2);
  for (size_t left = in.count(); left > 0 && in.ok(); --left) in.text();
  if (const int64_t user_data = in.integer(4); user_data > 0) in.skip(user_data);
  if (!in.ok() || version < 0) return std::nullopt;
  if (version < kSaysOwned) return all;
  for (size_t topics = in.count(); topics > 0 && in.ok(); --topics) {
    const auto topic = in.text();
    for (size_t left = in.count(); left > 0 && in.ok(); --left) {
      all.push_back({topic, static_cast<int32_t>(in.integer(4))});
    }
  }
  return in.ok() ? std::optional(std::move(all)) : std::nullopt;
}

std::string write_assignment(const std::vector<TopicPartition>& partitions) {
  std::string out;
  const auto add = [&](uint64_t value, size_t size) {
    for (size_t i = size; i-- > 0;) out += static_cast<char>(value >> (8 * i));
  };
  std::map<std::string_view, std::vector<int32_t>> by_topic;
  for (const auto& [topic, partition] : partitions) by_topic[topic].push_back(partition);
  add(0, 2);  // version
  add(by_topic.size(), 4);
  for (const auto& [topic, list] : by_topic) {
    add(topic.size(), 2);
    out += topic;
    add(list.size(), 4);
    for (const int32_t partition : list) add(static_cast<uint32_t>(partition), 4);
  }
  add(UINT32_MAX, 4);  // no user data
  return out;
}

std::optional<std::vector<ClassicGroup::Consumer>> ClassicGroup::consumers() const {
  if (protocol_type_ != "consumer") return std::nullopt;
  std::vector<Consumer> out;
  for (const auto& [id, member] : members_) {
    if (member.protocols.empty()) return std::nullopt;
    auto topics = read_subscription(member.protocols.front().metadata);
    auto assigned = read_assignment(member.assignment);
    if (!topics || !assigned) return std::nullopt;
    out.push_back({id, member.instance_id, member.client_id, member.client_host,
                   member.session_timeout, member.rebalance_timeout, member.protocols,
                   std::move(*topics), std::move(*assigned)});
  }
  return out;
}

bool ClassicGroup::Member::has(std::string_view protocol) const {
  return std::ranges::any_of(protocols, [&](const auto& each) { return each.name == protocol; });
}

const std::string& ClassicGroup::Member::metadata_of(std::string_view protocol) const {
  static const std::string none;
  for (const auto& each : protocols) {
    if (each.name == protocol) return each.metadata;
  }
  return none;
}

ClassicGroup::Assignment ClassicGroup::assignments() const {
  Assignment all;
  for (const auto& [id, member] : members_) all[id] = member.assignment;
  return all;
}

Journal::Entry ClassicGroup::record(const Assignment& assignment) const {
  json::array members;
  for (const auto& [id, member] : members_) {
    json::object each;
    each["member_id"] = id;
    if (member.instance_id) each["instance_id"] = *member.instance_id;
    each["client_id"] = member.client_id;
    each["client_host"] = member.client_host;
    each["session_timeout_ms"] = member.session_timeout.count();
    each["rebalance_timeout_ms"] = member.rebalance_timeout.count();
    each["metadata"] = to_base64(member.metadata_of(protocol_));
    const auto at = assignment.find(id);
    each["assignment"] = to_base64(at == assignment.end() ? std::string() : at->second);
    members.push_back(std::move(each));
  }
  json::object group;
  group["v"] = 1;
  group["type"] = "classic";
  group["generation"] = generation_;
  group["protocol_type"] = protocol_type_;
  group["protocol"] = protocol_;
  group["leader"] = leader_;
  group["empty_since"] = empty_since_;
  group["members"] = std::move(members);
  return {group_key(id_), json::serialize(group)};
}

Result<> ClassicGroup::read(std::string_view record) {
  boost::system::error_code failed;
  const auto parsed = json::parse(record, failed, {}, kAnyBytes);
  if (failed || !parsed.is_object()) return not_a_group(id_, "it is not a JSON object");
  const auto& group = parsed.get_object();
  if (integer_of(group, "v", 0) != 1) return not_a_group(id_, "its version is not known");
  generation_ = static_cast<int32_t>(integer_of(group, "generation", 0));
  protocol_type_ = text_of(group, "protocol_type");
  protocol_ = text_of(group, "protocol");
  leader_ = text_of(group, "leader");
  empty_since_ = integer_of(group, "empty_since", -1);
  const auto* members = group.if_contains("members");
  if (!members || !members->is_array()) return not_a_group(id_, "it has no members");
  for (const auto& value : members->get_array()) {
    if (!value.is_object()) return not_a_group(id_, "a member is not an object");
    const auto& each = value.get_object();
    Member member;
    member.id = text_of(each, "member_id");
    if (each.contains("instance_id")) member.instance_id = text_of(each, "instance_id");
    member.client_id = text_of(each, "client_id");
    member.client_host = text_of(each, "client_host");
    member.session_timeout = std::chrono::milliseconds(integer_of(each, "session_timeout_ms", 0));
    member.rebalance_timeout =
        std::chrono::milliseconds(integer_of(each, "rebalance_timeout_ms", 0));
    auto metadata = from_base64(text_of(each, "metadata"));
    auto assignment = from_base64(text_of(each, "assignment"));
    if (!metadata || !assignment) return not_a_group(id_, "a member's bytes are not base64");
    member.protocols.push_back({protocol_, std::move(*metadata)});
    member.assignment = std::move(*assignment);
    if (member.instance_id) static_[*member.instance_id] = member.id;
    const auto id = member.id;
    members_[id] = std::move(member);
  }
  return {};
}

Result<std::shared_ptr<ClassicGroup>> ClassicGroup::load(std::string id, io::Env& env,
                                                         const GroupOptions& options,
                                                         std::string_view record,
                                                         Clock::time_point now) {
  auto group = std::make_shared<ClassicGroup>(std::move(id), env, options);
  MR_TRY(group->read(record));
  if (!group->members_.empty()) group->state_ = State::kStable;
  for (auto& [member_id, member] : group->members_) {
    member.expires = now + member.session_timeout;
  }
  if (!group->members_.empty()) group->read_subscriptions();
  return group;
}

std::vector<Journal::Entry> ClassicGroup::tombstones() const {
  if (generation_ == 0) return {};
  std::vector<Journal::Entry> entries;
  entries.push_back({group_key(id_), std::nullopt});
  return entries;
}

}  // namespace millrace::broker::detail
