#include "broker/detail/group_offsets.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/json.h"

namespace millrace::broker::detail {

namespace json = boost::json;

namespace {

constexpr json::parse_options kAnyBytes{.allow_invalid_utf8 = true};

void append_place(std::string_view group, const TopicPartition& at, std::string& out) {
  append_json_string(group, out);
  out.push_back(',');
  append_json_string(at.topic, out);
  fmt::format_to(std::back_inserter(out), ",{}]", at.partition);
}

Error corrupt(std::string_view what, std::string_view bytes) {
  return Error{ErrorCode::kCorruptRecord, fmt::format("__consumer_offsets: {}: {}", what, bytes)};
}

std::string value_of(const KeptOffset& kept, const int16_t* producer_epoch) {
  const auto& committed = kept.committed;
  auto out = fmt::format(R"({{"v":1,"offset":{},"leader_epoch":{},"committed":{},"topic_id":"{}")",
                         committed.offset, committed.leader_epoch, committed.commit_time,
                         kept.topic_id.to_string());
  if (producer_epoch) fmt::format_to(std::back_inserter(out), R"(,"epoch":{})", *producer_epoch);
  out += R"(,"metadata":)";
  append_json_string(committed.metadata, out);
  out.push_back('}');
  return out;
}

std::string text_of(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : std::string();
}

}  // namespace

bool GroupOffsets::is_pending(const TopicPartition& at) const {
  return std::ranges::any_of(staged,
                             [&](const auto& each) { return each.second.offsets.contains(at); });
}

std::string offset_key(std::string_view group, const TopicPartition& at) {
  std::string key = R"(["offset",)";
  append_place(group, at, key);
  return key;
}

std::string staged_key(int64_t producer_id, std::string_view group, const TopicPartition& at) {
  auto key = fmt::format(R"(["staged",{},)", producer_id);
  append_place(group, at, key);
  return key;
}

std::string group_key(std::string_view group) {
  std::string key = R"(["group",)";
  append_json_string(group, key);
  key.push_back(']');
  return key;
}

std::string offset_value(const KeptOffset& offset) { return value_of(offset, nullptr); }

std::string staged_value(const KeptOffset& offset, int16_t producer_epoch) {
  return value_of(offset, &producer_epoch);
}

Result<JournalKey> read_journal_key(std::string_view key) {
  boost::system::error_code failed;
  const auto parsed = json::parse(key, failed, {}, kAnyBytes);
  if (failed || !parsed.is_array() || parsed.get_array().empty()) {
    return corrupt("not a key", key);
  }
  const auto& parts = parsed.get_array();
  const auto kind = text_of(parts[0]);
  JournalKey out;
  size_t place = 1;  // of group, topic, partition
  if (kind == "group" && parts.size() == 2) {
    out.kind = JournalKey::Kind::kGroup;
    out.group = text_of(parts[1]);
    return out;
  }
  if (kind == "offset" && parts.size() == 4) {
    out.kind = JournalKey::Kind::kOffset;
  } else if (kind == "staged" && parts.size() == 5 && parts[1].is_int64()) {
    out.kind = JournalKey::Kind::kStaged;
    out.producer_id = parts[1].get_int64();
    place = 2;
  } else {
    return out;
  }
  out.group = text_of(parts[place]);
  out.at.topic = text_of(parts[place + 1]);
  if (!parts[place + 2].is_int64()) return corrupt("not a key", key);
  out.at.partition = static_cast<int32_t>(parts[place + 2].get_int64());
  return out;
}

Result<KeptOffset> read_offset_value(std::string_view value, int16_t* producer_epoch) {
  boost::system::error_code failed;
  const auto parsed = json::parse(value, failed, {}, kAnyBytes);
  if (failed || !parsed.is_object()) return corrupt("not an offset", value);
  const auto& object = parsed.get_object();
  auto integer = [&](std::string_view name, int64_t otherwise) {
    const auto* at = object.if_contains(name);
    return at && at->is_int64() ? at->get_int64() : otherwise;
  };
  if (integer("v", 0) != 1) return corrupt("an offset of an unknown version", value);
  KeptOffset out;
  out.committed.offset = integer("offset", -1);
  out.committed.leader_epoch = static_cast<int32_t>(integer("leader_epoch", -1));
  out.committed.commit_time = integer("committed", -1);
  if (const auto* metadata = object.if_contains("metadata")) {
    out.committed.metadata = text_of(*metadata);
  }
  if (const auto* id = object.if_contains("topic_id")) {
    MR_TRY(out.topic_id, Uuid::parse(text_of(*id)));
  }
  if (producer_epoch) *producer_epoch = static_cast<int16_t>(integer("epoch", -1));
  return out;
}

}  // namespace millrace::broker::detail
