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

Error old_epoch(int64_t id, int16_t epoch, int16_t known) {
  return {ErrorCode::kInvalidProducerEpoch,
          fmt::format("producer {} has epoch {}, a newer one has {}", id, epoch, known)};
}
}  // namespace

int32_t Producers::Batch::first_sequence() const { return advance(last_sequence, -offset_delta); }

Result<std::optional<Producers::Batch>> Producers::check(const BatchHeader& header) const {
  const auto found = states_.find(header.producer_id);
  // A producer that is not known (any more) may begin anywhere: its state may have expired.
  if (found == states_.end()) return std::optional<Batch>();
  const State& state = found->second;
  const bool awaited = state.awaited_sequence >= 0;
  if (awaited && header.producer_epoch != state.epoch) return std::optional<Batch>();
  if (header.producer_epoch < state.epoch) {
    return old_epoch(header.producer_id, header.producer_epoch, state.epoch);
  }
  const bool same_epoch = header.producer_epoch == state.epoch;
  const int32_t last = advance(header.base_sequence, header.last_offset_delta);
  for (uint8_t i = 0; same_epoch && i < state.count; ++i) {
    const Batch& batch = state.recent[i];
    if (batch.last_sequence == last && batch.offset_delta == header.last_offset_delta) {
      return std::optional<Batch>(batch);
    }
  }
  // A new epoch begins at 0, also when only a marker has told of it (KIP-890).
  int32_t expected = awaited ? state.awaited_sequence : 0;
  if (same_epoch && state.count > 0) {
    expected = advance(state.recent[state.count - 1].last_sequence, 1);
  }
  if (header.base_sequence != expected) {
    return Error{ErrorCode::kOutOfOrderSequence,
                 fmt::format("producer {} sent sequence {}, expected {}", header.producer_id,
                             header.base_sequence, expected)};
  }
  if (state.transaction_first_offset >= 0 && !header.transactional()) {
    return Error{ErrorCode::kInvalidTransaction,
                 fmt::format("producer {} has a transaction open since offset {}, and sent a batch "
                             "outside of it",
                             header.producer_id, state.transaction_first_offset)};
  }
  return std::optional<Batch>();
}

Result<> Producers::check(const TransactionMarker& marker) const {
  const auto found = states_.find(marker.producer_id);
  if (found == states_.end() || found->second.awaited_sequence >= 0) return {};
  const State& state = found->second;
  if (marker.producer_epoch < state.epoch) {
    return old_epoch(marker.producer_id, marker.producer_epoch, state.epoch);
  }
  if (marker.coordinator_epoch < state.coordinator_epoch) {
    return Error{
        ErrorCode::kInvalidProducerEpoch,
        fmt::format("a transaction coordinator of epoch {} would end the transaction of "
                    "producer {}, a newer one has {}",
                    marker.coordinator_epoch, marker.producer_id, state.coordinator_epoch)};
  }
  return {};
}

Producers::State& Producers::change(int64_t id, Undo* undo) {
  const auto [at, fresh] = states_.try_emplace(id);
  if (undo) undo->emplace_back(id, fresh ? std::nullopt : std::optional<State>(at->second));
  return at->second;
}

void Producers::set_transaction(State& state, Offset first_offset) {
  if (state.transaction_first_offset >= 0) open_.erase(state.transaction_first_offset);
  state.transaction_first_offset = first_offset;
  if (first_offset >= 0) open_.insert(first_offset);
}

void Producers::apply(const BatchHeader& header, TimestampMs now, Undo* undo) {
  State& state = change(header.producer_id, undo);
  if (header.producer_epoch != state.epoch) state.count = 0;
  state.epoch = header.producer_epoch;
  state.awaited_sequence = -1;
  state.last_timestamp = now;
  if (state.count == state.recent.size()) {
    std::shift_left(state.recent.begin(), state.recent.end(), 1);
    --state.count;
  }
  state.recent[state.count++] = {advance(header.base_sequence, header.last_offset_delta),
                                 header.last_offset_delta, header.last_offset()};
  if (header.transactional() && state.transaction_first_offset < 0) {
    set_transaction(state, header.base_offset);
  }
}

Offset Producers::apply(const TransactionMarker& marker, TimestampMs now, Undo* undo) {
  State& state = change(marker.producer_id, undo);
  if (marker.producer_epoch != state.epoch) state.count = 0;
  state.epoch = marker.producer_epoch;
  state.awaited_sequence = -1;
  state.coordinator_epoch = marker.coordinator_epoch;
  state.last_timestamp = now;
  const Offset first = state.transaction_first_offset;
  set_transaction(state, -1);
  return first;
}

void Producers::restore(const Undo& undo) {
  for (auto at = undo.rbegin(); at != undo.rend(); ++at) {
    State& state = states_[at->first];
    set_transaction(state, -1);
    if (!at->second && state.count == 0) {
      states_.erase(at->first);
      continue;
    }
    if (!at->second) {
      const int32_t first = state.recent[0].first_sequence();
      state.awaited_sequence = first;
      state.count = 0;
      continue;
    }
    const Offset first = at->second->transaction_first_offset;
    state = *at->second;
    state.transaction_first_offset = -1;
    set_transaction(state, first);
  }
}

void Producers::note_failed(const BatchHeader& header, TimestampMs now) {
  const auto [at, fresh] = states_.try_emplace(header.producer_id);
  if (!fresh) return;
  at->second.last_timestamp = now;
  at->second.epoch = header.producer_epoch;
  at->second.awaited_sequence = header.base_sequence;
}

void Producers::expire(TimestampMs before) {
  std::erase_if(states_, [&](const auto& each) {
    return each.second.last_timestamp < before && each.second.transaction_first_offset < 0;
  });
}

std::vector<ProducerEntry> Producers::entries() const {
  std::vector<ProducerEntry> entries;
  entries.reserve(states_.size());
  for (const auto& [id, state] : states_) {
    if (state.awaited_sequence >= 0) continue;
    const Batch last = state.count > 0 ? state.recent[state.count - 1] : Batch();
    entries.push_back({id, state.epoch, last.last_sequence, last.last_offset, state.last_timestamp,
                       state.transaction_first_offset, state.coordinator_epoch});
  }
  std::ranges::sort(entries, {}, &ProducerEntry::producer_id);
  return entries;
}

void Producers::clear() {
  states_.clear();
  open_.clear();
}

void Producers::encode(std::string& out) const {
  const auto known = [](const auto& each) { return each.second.awaited_sequence < 0; };
  append_be<uint32_t>(out, static_cast<uint32_t>(std::ranges::count_if(states_, known)));
  for (const auto& [id, state] : states_) {
    if (state.awaited_sequence >= 0) continue;
    append_be<int64_t>(out, id);
    append_be<int16_t>(out, state.epoch);
    append_be<int64_t>(out, state.last_timestamp);
    append_be<int64_t>(out, state.transaction_first_offset);
    append_be<int32_t>(out, state.coordinator_epoch);
    append_be<uint8_t>(out, state.count);
    for (uint8_t i = 0; i < state.count; ++i) {
      append_be<int32_t>(out, state.recent[i].last_sequence);
      append_be<int32_t>(out, state.recent[i].offset_delta);
      append_be<int64_t>(out, state.recent[i].last_offset);
    }
  }
}

bool Producers::decode(std::string_view& bytes) {
  clear();
  Reader reader(bytes);
  const auto count = reader.big_endian<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    const auto id = reader.big_endian<int64_t>();
    State state;
    state.epoch = reader.big_endian<int16_t>();
    state.last_timestamp = reader.big_endian<int64_t>();
    const auto first_offset = reader.big_endian<int64_t>();
    state.coordinator_epoch = reader.big_endian<int32_t>();
    state.count = reader.big_endian<uint8_t>();
    if (state.count > state.recent.size()) return false;
    for (uint8_t k = 0; k < state.count; ++k) {
      auto& batch = state.recent[k];
      batch.last_sequence = reader.big_endian<int32_t>();
      batch.offset_delta = reader.big_endian<int32_t>();
      batch.last_offset = reader.big_endian<int64_t>();
    }
    set_transaction(states_[id] = state, first_offset);
  }
  if (!reader.ok()) return false;
  bytes.remove_prefix(bytes.size() - reader.left());
  return true;
}

}  // namespace millrace::log::detail
