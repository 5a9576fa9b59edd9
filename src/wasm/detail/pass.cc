#include <fmt/format.h>

#include <algorithm>

#include "wasm/detail/chain_impl.h"

namespace millrace::wasm {

namespace {

ResultRules rules_for(Kind kind, const Limits& limits, size_t inputs, size_t states,
                      uint64_t bytes) {
  return {.kind = kind,
          .inputs = static_cast<uint32_t>(inputs),
          .states = static_cast<uint32_t>(states),
          .bytes_max = bytes * limits.output_ratio + limits.output_bytes_more,
          .records_max = inputs * limits.output_ratio + limits.output_records_more};
}

}  // namespace

Result<> Output::Impl::pass(const Batch& batch, StateReader* states) {
  input = batch;
  input_bytes = 0;
  last_slot = SIZE_MAX;
  origins.clear();
  errors.clear();
  messages.clear();
  text.clear();
  changed.clear();
  cpu_ns = thread_cpu_ns();
  chain->counting.batches.fetch_add(1, std::memory_order_relaxed);
  chain->counting.records_in.fetch_add(batch.records.size(), std::memory_order_relaxed);
  for (size_t i = 0; i < chain->places.size() && !input.records.empty(); ++i)
    MR_TRY(step(i, states));
  finish();
  return {};
}

Result<> Output::Impl::step(size_t index, StateReader* states) {
  const auto& place = chain->places[index];
  const Step& of = chain->options.steps[index];
  const size_t records_in = input.records.size();
  auto& module = of.module->impl();
  const auto failed = [&](Error error, bool told = false) -> Error {
    let_go(place.slot);
    if (chain->options.pauses) module.failures_in_row.fetch_add(1);
    module.counting.failures.fetch_add(1);
    chain->counting.failures.fetch_add(1);
    count_cpu(module);
    return told ? error : chain->tell(index, error.text);
  };
  if (module.paused()) {
    return chain->tell(
        index,
        fmt::format("{} is paused after {} failed batches in a row: replace it, or resume it",
                    module.name(), Module::kFailuresMax));
  }
  module.counting.batches.fetch_add(1, std::memory_order_relaxed);
  module.counting.records_in.fetch_add(records_in, std::memory_order_relaxed);
  if (!instances[place.slot]) {
    auto taken = chain->take(place.slot);
    if (!taken && taken.error().code != ErrorCode::kGuestFailed) return std::move(taken).error();
    if (!taken) return failed(std::move(taken).error(), true);
    instances[place.slot] = std::move(*taken);
  }
  Instance& instance = *instances[place.slot];
  const bool aggregate = place.kind == Kind::kAggregate;
  if (aggregate) {
    MR_CHECK(states != nullptr);
    grouping.group(input.records);
    MR_TRY(states->read(grouping.states));
  }
  auto address = hand_over(instance, index, aggregate);
  if (!address) return failed(std::move(address).error());
  auto given = instance.call(instance.functions[place.function], *address, of.transform);
  if (!given) return failed(std::move(given).error());
  if (*given == 0) {
    return failed({ErrorCode::kGuestFailed,
                   instance.failure().empty() ? "it did not say why" : instance.failure()});
  }
  Decoded& result = results[index % 2];
  const auto checked = decode(instance.memory(), *given,
                              rules_for(place.kind, of.limits, records_in,
                                        aggregate ? grouping.states.size() : 0, input_bytes),
                              result);
  if (!checked) return failed(checked.error());
  collect_errors(result, index);
  trace_back(result);
  if (aggregate) collect_states(result);
  if (chain->options.pauses) module.succeeded();
  module.counting.memory(instance.memory().size());
  module.counting.records_out.fetch_add(result.count, std::memory_order_relaxed);
  module.counting.record_errors.fetch_add(result.errors.size(), std::memory_order_relaxed);
  chain->counting.memory(instance.memory().size());
  count_cpu(module);
  input = {.records = std::span(result.records).first(result.count)};
  input_bytes = result.bytes;
  last_slot = place.slot;
  last_address = *given;
  return {};
}

/// The batch's address in the step's memory: where the step before left it, or a copy.
Result<uint32_t> Output::Impl::hand_over(Instance& instance, size_t index, bool aggregate) {
  const auto& place = chain->places[index];
  if (place.slot == last_slot) return last_address;
  EncoderInput given{.batch = input};
  if (aggregate) {
    given.states = grouping.states;
    given.state_of = grouping.state_of;
  }
  const BatchLayout layout = lay_out(given);
  input_bytes = layout.content_bytes;
  return instance.put(given, layout, chain->options.steps[index].transform);
}

/// Messages are copied: a later step may take the memory that they lie in.
void Output::Impl::collect_errors(const Decoded& result, size_t index) {
  for (const auto& error : result.errors) {
    errors.push_back({.input = origins.empty() ? error.input : origins[error.input],
                      .step = static_cast<uint32_t>(index),
                      .message = {}});
    messages.emplace_back(text.size(), error.message.size());
    text += error.message;
  }
}

/// Outputs of a step name its own inputs; from here on they name the caller's. What the first step
/// says is that already.
void Output::Impl::trace_back(Decoded& result) {
  const auto records = std::span(result.records).first(result.count);
  if (last_slot != SIZE_MAX) {
    for (auto& record : records) record.input = origins[record.input];
  }
  if (chain->places.size() == 1) return;
  origins.resize(result.count);
  for (size_t i = 0; i < result.count; ++i) origins[i] = records[i].input;
}

void Output::Impl::collect_states(const Decoded& result) {
  for (size_t i = 0; i < result.states.size(); ++i) {
    const auto& before = grouping.states[i];
    if (result.states[i] != before.value)
      changed.push_back({.key = before.key, .value = result.states[i]});
  }
}

void Output::Impl::count_cpu(Module::Impl& module) {
  const uint64_t now = thread_cpu_ns();
  module.counting.cpu_ns.fetch_add(now - cpu_ns, std::memory_order_relaxed);
  chain->counting.cpu_ns.fetch_add(now - cpu_ns, std::memory_order_relaxed);
  cpu_ns = now;
}

void Output::Impl::finish() {
  for (size_t i = 0; i < errors.size(); ++i) {
    errors[i].message = std::string_view(text).substr(messages[i].first, messages[i].second);
  }
  chain->counting.records_out.fetch_add(input.records.size(), std::memory_order_relaxed);
  chain->counting.record_errors.fetch_add(errors.size(), std::memory_order_relaxed);
}

void Output::Impl::let_go(size_t failed) {
  for (size_t slot = 0; slot < instances.size(); ++slot) {
    if (!instances[slot]) continue;
    if (slot == failed) {
      instances[slot].reset();
      chain->engine->lost();
    } else if (failed == SIZE_MAX) {
      chain->engine->release(chain->slots[slot].idle, std::move(instances[slot]));
    }
  }
}

}  // namespace millrace::wasm
