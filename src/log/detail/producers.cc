#include "log/detail/producers.h"

#include <fmt/format.h>

#include <algorithm>

#include "log/detail/wire.h"

namespace millrace::log::detail {

namespace {
/// Sequences count from 0 to INT32_MAX and begin again.
int32_t advance(int32_t sequence, int32_t by) {
  return static_cast<int32_t>((static_cast<int64_t>(sequence) + by) & INT32_MAX);
}
}  // namespace

Result<std::optional<Producers::Batch>> Producers::check(const BatchHeader& header) const {
  const auto found = states_.find(header.producer_id);
  // A producer that is not known (any more) may begin anywhere: its state may have expired.
  if (found == states_.end()) return std::optional<Batch>();
  const State& state = found->second;
  if (header.producer_epoch < state.epoch) {
    return Error{ErrorCode::kInvalidProducerEpoch,
                 fmt::format("producer {} has epoch {}, a newer one has {}", header.producer_id,
                             header.producer_epoch, state.epoch)};
  }
  const auto out_of_order = [&](int32_t expected) {
    return Error{ErrorCode::kOutOfOrderSequence,
                 fmt::format("producer {} sent sequence {}, expected {}", header.producer_id,
                             header.base_sequence, expected)};
  };
  if (header.producer_epoch > state.epoch) {
    if (header.base_sequence != 0) return out_of_order(0);
    return std::optional<Batch>();
  }
  const int32_t last = advance(header.base_sequence, header.last_offset_delta);
  for (uint8_t i = 0; i < state.count; ++i) {
    const Batch& batch = state.recent[i];
    if (batch.first_sequence == header.base_sequence && batch.last_sequence == last) {
      return std::optional<Batch>(batch);
    }
  }
  const int32_t expected = advance(state.last().last_sequence, 1);
  if (header.base_sequence != expected) return out_of_order(expected);
  return std::optional<Batch>();
}

void Producers::apply(const BatchHeader& header, TimestampMs now, Undo* undo) {
  const auto [at, fresh] = states_.try_emplace(header.producer_id);
  State& state = at->second;
  if (undo) {
    undo->emplace_back(header.producer_id, fresh ? std::nullopt : std::optional<State>(state));
  }
  if (header.producer_epoch != state.epoch) state = State{};
  state.epoch = header.producer_epoch;
  state.last_timestamp = now;
  if (state.count == state.recent.size()) {
    std::shift_left(state.recent.begin(), state.recent.end(), 1);
    --state.count;
  }
  state.recent[state.count++] = {header.base_sequence,
                                 advance(header.base_sequence, header.last_offset_delta),
                                 header.base_offset, header.last_offset()};
}

void Producers::restore(const Undo& undo) {
  for (auto at = undo.rbegin(); at != undo.rend(); ++at) {
    if (at->second) {
      states_[at->first] = *at->second;
    } else {
      states_.erase(at->first);
    }
  }
}

void Producers::expire(TimestampMs before) {
  std::erase_if(states_, [&](const auto& each) { return each.second.last_timestamp < before; });
}

std::vector<ProducerEntry> Producers::entries() const {
  std::vector<ProducerEntry> entries;
  entries.reserve(states_.size());
  for (const auto& [id, state] : states_) {
    entries.push_back({id, state.epoch, state.last().last_sequence, state.last().last_offset,
                       state.last_timestamp});
  }
  std::ranges::sort(entries, {}, &ProducerEntry::producer_id);
  return entries;
}

void Producers::encode(std::string& out) const {
  append_be<uint32_t>(out, static_cast<uint32_t>(states_.size()));
  for (const auto& [id, state] : states_) {
    append_be<int64_t>(out, id);
    append_be<int16_t>(out, state.epoch);
    append_be<int64_t>(out, state.last_timestamp);
    append_be<uint8_t>(out, state.count);
    for (uint8_t i = 0; i < state.count; ++i) {
      append_be<int32_t>(out, state.recent[i].first_sequence);
      append_be<int32_t>(out, state.recent[i].last_sequence);
      append_be<int64_t>(out, state.recent[i].base_offset);
      append_be<int64_t>(out, state.recent[i].last_offset);
    }
  }
}

bool Producers::decode(std::string_view& bytes) {
  states_.clear();
  Reader reader(bytes);
  const auto count = reader.big_endian<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    const auto id = reader.big_endian<int64_t>();
    State state;
    state.epoch = reader.big_endian<int16_t>();
    state.last_timestamp = reader.big_endian<int64_t>();
    state.count = reader.big_endian<uint8_t>();
    if (state.count == 0 || state.count > state.recent.size()) return false;
    for (uint8_t k = 0; k < state.count; ++k) {
      auto& batch = state.recent[k];
      batch.first_sequence = reader.big_endian<int32_t>();
      batch.last_sequence = reader.big_endian<int32_t>();
      batch.base_offset = reader.big_endian<int64_t>();
      batch.last_offset = reader.big_endian<int64_t>();
    }
    states_[id] = state;
  }
  if (!reader.ok()) return false;
  bytes.remove_prefix(bytes.size() - reader.left());
  return true;
}

}  // namespace millrace::log::detail
