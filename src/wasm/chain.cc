#include "wasm/chain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ranges>

#include "wasm/detail/chain_impl.h"

namespace millrace::wasm {

namespace {

constexpr size_t kPageBytes = size_t{64} << 10;
constexpr size_t kSparesMax = 8;

Error invalid(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

Result<> check(const Limits& limits) {
  if (limits.memory_bytes < kPageBytes || limits.memory_bytes > Module::kMemoryBytesMax) {
    return invalid(fmt::format("a memory limit of {} bytes is not between 64 KiB and {} MiB",
                               limits.memory_bytes, Module::kMemoryBytesMax >> 20));
  }
  using namespace std::chrono_literals;
  if (limits.time_slice < 1ms || limits.time_slice > 60s) {
    return invalid(fmt::format("a time slice of {} ms is not between 1 ms and 60 s",
                               limits.time_slice.count()));
  }
  return {};
}

}  // namespace

Chain::Chain(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Chain::~Chain() = default;

Result<std::shared_ptr<Chain>> Chain::open(Engine& engine, ChainOptions options) {
  auto impl = std::make_shared<Impl>(engine.impl(), std::move(options));
  MR_TRY(impl->arrange());
  return std::shared_ptr<Chain>(new Chain(std::move(impl)));
}

Result<> Chain::start() {
  MR_CHECK(io::Shard::current() == nullptr);
  impl_->engine->ticker->enter();
  Result<> result;
  for (size_t slot = 0; slot < impl_->slots.size() && result; ++slot) {
    auto instance = impl_->take(slot);
    if (instance) {
      impl_->engine->release(impl_->slots[slot].idle, std::move(*instance));
    } else {
      result = std::move(instance).error();
      if (result.error().code == ErrorCode::kGuestFailed) {
        result.error().code = ErrorCode::kInvalidArgument;
      }
    }
  }
  impl_->engine->ticker->leave();
  return result;
}

io::Task<Result<Output>> Chain::run(Batch batch, StateReader* states) {
  auto work = [this, batch, states] { return apply(batch, states); };
  co_return co_await on_lane(std::move(work));
}

void Chain::enqueue(std::move_only_function<void()> work) {
  impl_->engine->lanes.add(impl_->source, std::move(work));
}

const ChainOptions& Chain::options() const { return impl_->options; }
Counters Chain::counters() const {
  auto counters = impl_->counting.snapshot();
  return counters;
}

Chain::Impl::Impl(std::shared_ptr<Engine::Impl> of, ChainOptions given)
    : engine(std::move(of)), options(std::move(given)) {}

Chain::Impl::~Impl() {
  for (auto& slot : slots) engine->close(slot.idle);
}

Result<> Chain::Impl::check(const Step& step) const {
  const Transform* transform = step.module->find(step.transform);
  if (!transform) {
    return Error{
        ErrorCode::kUndefinedFunction,
        fmt::format(
            "{} has no transform \"{}\"; it has {}", step.module->impl().name(), step.transform,
            fmt::join(step.module->transforms() | std::views::transform(&Transform::name), ", "))};
  }
  if (!step.params.empty() && !transform->has_init) {
    return invalid(fmt::format("transform {} takes no parameters, and was given \"{}\"",
                               step.transform, step.params.front().first));
  }
  if (step.look_back && !transform->has_look_back) {
    return invalid(fmt::format("transform {} takes no look-back", step.transform));
  }
  if (transform->kind == Kind::kScalar && options.steps.size() > 1) {
    return invalid(fmt::format("transform {} is a scalar, which stands alone", step.transform));
  }
  return wasm::check(step.limits);
}

Result<> Chain::Impl::arrange() {
  if (options.steps.empty()) return invalid("a chain has at least one transform");
  size_t aggregates = 0;
  for (size_t i = 0; i < options.steps.size(); ++i) {
    const Step& step = options.steps[i];
    MR_TRY(check(step));
    const Kind kind = step.module->find(step.transform)->kind;
    if (kind == Kind::kAggregate && ++aggregates > 1) {
      return invalid("a chain has one aggregate at most; let the second read what the first wrote");
    }
    // A transform is initialised once in an instance, so it may occur once in it. An aggregate
    // begins with a batch of its own, which must not end the one that it is made of.
    auto slot = std::ranges::find_if(slots, [&](const Slot& s) {
      const Step& first = options.steps[s.steps.front()];
      return kind != Kind::kAggregate && first.module == step.module &&
             first.limits == step.limits && std::ranges::none_of(s.steps, [&](size_t other) {
               return options.steps[other].transform == step.transform;
             });
    });
    if (slot == slots.end()) {
      slots.push_back({.idle = {.module = step.module}, .steps = {}});
      slot = std::prev(slots.end());
    }
    places.push_back({.kind = kind,
                      .slot = static_cast<size_t>(slot - slots.begin()),
                      .function = slot->steps.size()});
    slot->steps.push_back(i);
  }
  return {};
}

Error Chain::Impl::tell(size_t step, const std::string& what) const {
  const auto& of = options.steps[step];
  const std::string position = options.steps.size() > 1
                                   ? fmt::format(", step {} of {}", step + 1, options.steps.size())
                                   : std::string();
  return {ErrorCode::kGuestFailed,
          fmt::format("transform {} failed ({}{}{}{}): {}", of.transform, of.module->impl().name(),
                      position, options.place.empty() ? "" : ", ", options.place, what)};
}

Result<std::unique_ptr<Instance>> Chain::Impl::take(size_t slot) {
  MR_TRY(auto instance, engine->take(slots[slot].idle));
  if (instance) return instance;
  auto started = start(slot);
  if (!started) engine->lost();
  return started;
}

Result<std::unique_ptr<Instance>> Chain::Impl::start(size_t slot) {
  const size_t first = slots[slot].steps.front();
  const Step& step = options.steps[first];
  auto begun = Instance::start(*engine->engine, engine->options.log, step.module, step.limits,
                               options.place);
  if (!begun) return tell(first, "it does not start: " + begun.error().text);
  for (const size_t of : slots[slot].steps) {
    const auto failed = init(**begun, of);
    if (!failed) return tell(of, failed.error().text);
  }
  return begun;
}

Result<> Chain::Impl::init(Instance& instance, size_t index) {
  const Step& step = options.steps[index];
  const Transform& transform = *step.module->find(step.transform);
  const auto call = [&](std::string_view what, const Batch& batch) -> Result<> {
    const EncoderInput input{.batch = batch};
    MR_TRY(const uint32_t address, instance.put(input, lay_out(input), step.transform));
    const auto function = instance.function(fmt::format("millrace__{}__{}", what, step.transform));
    MR_TRY(const uint32_t fine,
           instance.call(function, address, step.transform, Instance::Slice::kStart));
    if (fine == 0) {
      return Error{
          ErrorCode::kGuestFailed,
          fmt::format("its {} failed: {}", what,
                      instance.failure().empty() ? "it did not say why" : instance.failure())};
    }
    return {};
  };
  if (transform.has_init) {
    std::vector<HeaderView> params;
    for (const auto& [name, value] : step.params) params.push_back({.name = name, .value = value});
    RecordView record;
    record.headers = params;
    MR_TRY(call("init", {.records = {&record, 1}}));
  }
  if (step.look_back) MR_TRY(call("look_back", step.look_back->view()));
  instance.functions.push_back(instance.function(
      fmt::format("millrace__{}__{}", to_string(transform.kind), transform.name)));
  return {};
}

std::unique_ptr<Output::Impl> Chain::Impl::spare() {
  {
    std::lock_guard lock(mutex);
    if (!spares.empty()) {
      auto one = std::move(spares.back());
      spares.pop_back();
      return one;
    }
  }
  return std::make_unique<Output::Impl>(slots.size(), reinterpret_cast<uintptr_t>(this));
}

Result<Output> Chain::apply(const Batch& batch, StateReader* states) {
  MR_CHECK(io::Shard::current() == nullptr);
  auto pass = impl_->spare();
  pass->chain = impl_;
  impl_->engine->ticker->enter();
  auto result = pass->pass(batch, states);
  impl_->engine->ticker->leave();
  Output output(std::move(pass));  // gives everything back, also when it failed
  if (!result) return std::move(result).error();
  return output;
}

Output::Output(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Output::Output(Output&&) noexcept = default;
Output& Output::operator=(Output&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Output::~Output() {
  if (!impl_) return;
  impl_->let_go();
  const auto chain = std::move(impl_->chain);
  std::lock_guard lock(chain->mutex);
  if (chain->spares.size() < kSparesMax) chain->spares.push_back(std::move(impl_));
}

std::span<const RecordView> Output::records() const { return impl_->input.records; }
std::span<const RecordError> Output::errors() const { return impl_->errors; }
std::span<const StateView> Output::states() const { return impl_->changed; }

}  // namespace millrace::wasm
