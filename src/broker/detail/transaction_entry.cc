#include "broker/detail/transaction_entry.h"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>

namespace millrace::broker {

namespace {
constexpr std::array<std::string_view, 7> kNames = {
    "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead"};
}

std::string_view name_of(TransactionState state) { return kNames[static_cast<size_t>(state)]; }

std::optional<TransactionState> transaction_state_of(std::string_view name) {
  const auto at = std::ranges::find(kNames, name);
  if (at == kNames.end()) return std::nullopt;
  return static_cast<TransactionState>(at - kNames.begin());
}

namespace detail {

namespace json = boost::json;

namespace {

constexpr int64_t kVersion = 1;

Error fenced(std::string_view id, int16_t theirs, int16_t ours) {
  return {ErrorCode::kProducerFenced,
          fmt::format("a newer producer has the transactional id '{}': its epoch is {}, not {}", id,
                      ours, theirs)};
}

Error refused(std::string_view id, TransactionState state, bool commit) {
  return {ErrorCode::kInvalidTransaction,
          fmt::format("the transaction of '{}' cannot be {} in state {}", id,
                      commit ? "committed" : "aborted", name_of(state))};
}

}  // namespace

Result<> TransactionEntry::check(const Producer& who, std::string_view id) const {
  const Producer now = current();
  if (who.id != now.id) {
    return Error{
        ErrorCode::kInvalidProducerIdMapping,
        fmt::format("the transactional id '{}' has producer id {}, not {}", id, now.id, who.id)};
  }
  if (who.epoch != now.epoch) return fenced(id, who.epoch, now.epoch);
  return {};
}

Result<> TransactionEntry::check_expected(const Producer& expected, std::string_view id) const {
  if (producer.epoch < 0) return {};
  const bool known =
      expected.id == producer.id
          ? expected.epoch == producer.epoch || expected.epoch == last_epoch
          // What exhausted the epochs of the id before may not have heard of this.
          : expected.id == previous_id && exhausted(expected.epoch) && expected.epoch == last_epoch;
  if (!known) return fenced(id, expected.epoch, producer.epoch);
  return {};
}

void TransactionEntry::give(std::optional<Producer> expected, int32_t timeout, int64_t fresh_id,
                            TimestampMs now) {
  MR_CHECK(!open() && !preparing());
  const bool first = producer.epoch < 0;
  // Nobody is given the last epoch: it is the coordinator's own.
  const bool repeated = expected && !first && *expected != producer && producer.epoch != kEpochMax;
  const int64_t id_before = producer.id;
  if (!repeated) {
    last_epoch = expected && !first ? expected->epoch : int16_t{-1};
    if (needs_id()) {
      MR_CHECK(fresh_id >= 0);
      producer = {fresh_id, 0};
    } else {
      ++producer.epoch;
    }
    previous_id = id_before;
  }
  state = TransactionState::kEmpty;
  bumped = false;
  timeout_ms = timeout;
  start_time = -1;
  update_time = now;
}

void TransactionEntry::begin(TimestampMs now) {
  MR_CHECK(!preparing());
  update_time = now;
  if (open()) return;
  state = TransactionState::kOngoing;
  start_time = now;
}

Result<TransactionEntry::EndStep> TransactionEntry::check_end(const Producer& who, bool commit,
                                                              bool bump,
                                                              std::string_view id) const {
  // The request that ended the transaction, again: its producer has not heard of the next epoch.
  const bool rotated = who.id == previous_id && producer.epoch == 0 && exhausted(who.epoch);
  const bool raised = who.id == producer.id && producer.epoch == who.epoch + 1;
  const bool again = bumped ? (rotated || raised) && who.epoch == last_epoch : who == producer;
  if (state == TransactionState::kOngoing || !again) MR_TRY(check(who, id));
  switch (state) {
    case TransactionState::kOngoing:
      return EndStep::kDecide;
    case TransactionState::kPrepareCommit:
    case TransactionState::kPrepareAbort:
      // Asked again, or the end of the next one: the answer comes before the state is complete.
      if (again ? commit == (state == TransactionState::kPrepareCommit) : who == current()) {
        return EndStep::kBusy;
      }
      break;
    case TransactionState::kCompleteCommit:
    case TransactionState::kCompleteAbort:
      if (again && commit == (state == TransactionState::kCompleteCommit)) {
        return EndStep::kRepeated;
      }
      [[fallthrough]];
    case TransactionState::kEmpty:
      // A producer that does not know whether its first records arrived aborts to be sure.
      if (who == producer && bump && !commit) return EndStep::kAbortNothing;
      break;
    case TransactionState::kDead:
      break;
  }
  return refused(id, state, commit);
}

void TransactionEntry::decide(bool commit, bool bump, int64_t fresh_id, TimestampMs now) {
  state = commit ? TransactionState::kPrepareCommit : TransactionState::kPrepareAbort;
  bumped = bump;
  update_time = now;
  if (!bump) return;
  if (exhausted(producer.epoch)) {
    MR_CHECK(fresh_id >= 0);
    next_id = fresh_id;
  }
  last_epoch = producer.epoch;
  ++producer.epoch;
}

void TransactionEntry::fence(const std::optional<Producer>& by, TimestampMs now) {
  MR_CHECK(open());
  state = TransactionState::kPrepareAbort;
  bumped = false;
  last_epoch = by ? by->epoch : int16_t{-1};
  ++producer.epoch;  // never past the last: who had the last but one was given another id
  update_time = now;
}

void TransactionEntry::complete(TimestampMs now) {
  MR_CHECK(preparing());
  state = state == TransactionState::kPrepareCommit ? TransactionState::kCompleteCommit
                                                    : TransactionState::kCompleteAbort;
  previous_id = producer.id;
  if (next_id >= 0) producer = {std::exchange(next_id, -1), 0};
  partitions.clear();
  groups.clear();
  update_time = now;
}

TransactionInfo TransactionEntry::info(std::string id) const {
  return {.transactional_id = std::move(id),
          .state = state,
          .producer = producer,
          .timeout_ms = timeout_ms,
          .start_time = start_time,
          .update_time = update_time,
          .partitions = {partitions.begin(), partitions.end()},
          .groups = {groups.begin(), groups.end()}};
}

std::string TransactionEntry::encode() const {
  json::object topics;
  for (const auto& at : partitions) {
    auto& indexes = topics[at.topic];
    if (!indexes.is_array()) indexes.emplace_array();
    indexes.get_array().push_back(at.partition);
  }
  json::array names(groups.begin(), groups.end());
  return json::serialize(json::object{{"version", kVersion},
                                      {"producer_id", producer.id},
                                      {"epoch", producer.epoch},
                                      {"last_epoch", last_epoch},
                                      {"previous_id", previous_id},
                                      {"next_id", next_id},
                                      {"timeout_ms", timeout_ms},
                                      {"state", name_of(state)},
                                      {"bumped", bumped},
                                      {"start_time", start_time},
                                      {"update_time", update_time},
                                      {"partitions", std::move(topics)},
                                      {"groups", std::move(names)}});
}

namespace {

/// Reads the fields of an entry; what is missing or of another type is remembered.
struct Fields {
  const json::object& object;
  bool sound = true;

  const json::value* find(std::string_view name) {
    const auto* value = object.if_contains(name);
    if (!value) sound = false;
    return value;
  }
  template <typename T>
  void number(std::string_view name, T& out) {
    const auto* value = find(name);
    if (!value || !value->is_int64() || !std::in_range<T>(value->get_int64())) {
      sound = false;
    } else {
      out = static_cast<T>(value->get_int64());
    }
  }
  void read_partitions(std::set<TopicPartition>& out) {
    const auto* value = find("partitions");
    if (!value || !value->is_object()) {
      sound = false;
      return;
    }
    for (const auto& [topic, indexes] : value->get_object()) {
      if (!indexes.is_array()) {
        sound = false;
        return;
      }
      for (const auto& index : indexes.get_array()) {
        sound = sound && index.is_int64();
        if (sound) out.insert({topic, static_cast<int32_t>(index.get_int64())});
      }
    }
  }
  void read_groups(std::set<std::string>& out) {
    const auto* value = find("groups");
    if (!value || !value->is_array()) {
      sound = false;
      return;
    }
    for (const auto& name : value->get_array()) {
      sound = sound && name.is_string();
      if (sound) out.emplace(name.get_string());
    }
  }
};

}  // namespace

Result<TransactionEntry> TransactionEntry::decode(std::string_view text) {
  const auto corrupt = [] {
    return Error{ErrorCode::kCorruptRecord, "a record of __transaction_state cannot be read"};
  };
  boost::system::error_code failed;
  json::parse_options lenient;
  lenient.allow_invalid_utf8 = true;  // names of groups are the clients'
  const auto parsed = json::parse(text, failed, {}, lenient);
  if (failed || !parsed.is_object()) return corrupt();
  Fields fields{parsed.get_object()};
  TransactionEntry entry;
  int64_t version = 0;
  fields.number("version", version);
  fields.number("producer_id", entry.producer.id);
  fields.number("epoch", entry.producer.epoch);
  fields.number("last_epoch", entry.last_epoch);
  fields.number("previous_id", entry.previous_id);
  fields.number("next_id", entry.next_id);
  fields.number("timeout_ms", entry.timeout_ms);
  fields.number("start_time", entry.start_time);
  fields.number("update_time", entry.update_time);
  fields.read_partitions(entry.partitions);
  fields.read_groups(entry.groups);
  const auto* bumped = fields.find("bumped");
  const auto* state = fields.find("state");
  if (!fields.sound || version != kVersion || !bumped->is_bool() || !state->is_string()) {
    return corrupt();
  }
  entry.bumped = bumped->get_bool();
  const auto known = transaction_state_of(state->get_string());
  if (!known) return corrupt();
  entry.state = *known;
  return entry;
}

}  // namespace detail

}  // namespace millrace::broker
