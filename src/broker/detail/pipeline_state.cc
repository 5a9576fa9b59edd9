#include "broker/detail/pipeline_state.h"

#include <fmt/format.h>

#include <charconv>

namespace millrace::broker::detail {

namespace {

constexpr size_t kBatchBytes = 256 << 10;
/// What an entry of a map takes beside its texts.
constexpr size_t kEntryBytes = 128;

}  // namespace

Result<> PipelineState::load(const log::RecordView& record) {
  const auto corrupt = [&] {
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the record at offset {} is none of a pipeline's", record.offset)};
  };
  if (!record.key || record.key->empty()) return corrupt();
  const auto name = record.key->substr(1);
  if (record.key->front() == 's') {
    put(name, record.value);
    return {};
  }
  Offset at = -1;
  const auto text = record.value.value_or("");
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), at);
  if (record.key->front() != 'o' || bad != std::errc() || at < 0) return corrupt();
  positions_.insert_or_assign(std::string(name), at);
  return {};
}

std::optional<Offset> PipelineState::position(std::string_view input) const {
  const auto found = positions_.find(input);
  return found == positions_.end() ? std::nullopt : std::optional(found->second);
}

void PipelineState::put(std::string_view key, std::optional<std::string_view> value) {
  const std::string name(key);
  const auto found = states_.find(name);
  if (found != states_.end()) {
    bytes_ -= found->second.size();
    if (value) {
      found->second = *value;
    } else {
      bytes_ -= name.size() + kEntryBytes;
      states_.erase(found);
    }
  } else if (value) {
    states_.emplace(name, *value);
    bytes_ += name.size() + kEntryBytes;
  }
  bytes_ += value.value_or("").size();
}

Result<> PipelineState::read(std::span<wasm::StateView> states) {
  for (auto& state : states) {
    const std::string key(state.key.value_or(""));
    if (const auto changed = changed_.find(key); changed != changed_.end()) {
      if (changed->second) state.value = *changed->second;
    } else if (const auto known = states_.find(key); known != states_.end()) {
      state.value = known->second;
    }
  }
  return {};
}

void PipelineState::change(std::span<const wasm::StateView> states) {
  for (const auto& state : states) {
    std::string key(state.key.value_or(""));
    auto [at, added] = changed_.try_emplace(std::move(key));
    if (added) changed_bytes_ += at->first.size() + kEntryBytes;
    changed_bytes_ -= at->second.value_or("").size();
    at->second = state.value ? std::optional(std::string(*state.value)) : std::nullopt;
    changed_bytes_ += state.value.value_or("").size();
  }
}

std::string PipelineState::changes(const std::map<std::string, Offset>& positions,
                                   TimestampMs now) const {
  std::string out;
  log::BatchBuilder batch;
  for (const auto& [input, at] : positions) batch.add(now, position_key(input), std::to_string(at));
  for (const auto& [key, value] : changed_) {
    batch.add(now, "s" + key, value);
    if (batch.bytes() > kBatchBytes) out += batch.finish();
  }
  if (batch.count() > 0) out += batch.finish();
  return out;
}

void PipelineState::commit(const std::map<std::string, Offset>& positions) {
  for (const auto& [input, at] : positions) positions_.insert_or_assign(input, at);
  for (const auto& [key, value] : changed_) put(key, value);
  changed_.clear();
  changed_bytes_ = 0;
}

}  // namespace millrace::broker::detail
