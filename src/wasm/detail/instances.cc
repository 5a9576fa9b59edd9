#include <fmt/format.h>

#include <algorithm>

#include "wasm/detail/engine_impl.h"

namespace millrace::wasm {

namespace {
// Instances of one module, for each lane: more chains of it than that take turns.
constexpr size_t kInstancesALane = 4;
}  // namespace

std::unique_ptr<Instance> Engine::Impl::pull(std::list<Idle>::iterator at) {
  std::erase(at->use->idle, at);
  idle_bytes -= at->bytes;
  auto instance = std::move(at->instance);
  idle.erase(at);
  return instance;
}

Result<std::unique_ptr<Instance>> Engine::Impl::take(IdleInstances& use) {
  std::unique_ptr<Instance> evicted;  // ends outside of the lock
  std::lock_guard lock(instances_mutex);
  if (!use.idle.empty()) return pull(use.idle.back());
  const size_t of_module_max = kInstancesALane * lanes.count();
  const bool module_full = use.module->impl().counting.instances >= of_module_max;
  if (module_full || instances >= instances_max) {
    const auto at = std::ranges::find_if(
        idle, [&](const Idle& i) { return !module_full || i.use->module == use.module; });
    if (at == idle.end()) {
      return Error{
          ErrorCode::kOutOfMemory,
          fmt::format("all {} instances that {} may have are in use: wait for outputs to be taken",
                      module_full ? of_module_max : instances_max,
                      module_full ? use.module->impl().name() : std::string("guests"))};
    }
    evicted = pull(at);
    --instances;
  }
  ++instances;
  return std::unique_ptr<Instance>();
}

void Engine::Impl::release(IdleInstances& use, std::unique_ptr<Instance> instance) {
  const size_t bytes = instance->memory().size();
  std::vector<std::unique_ptr<Instance>> ending;  // outside of the lock
  std::lock_guard lock(instances_mutex);
  use.idle.push_back(idle.insert(idle.end(), {&use, std::move(instance), bytes}));
  idle_bytes += bytes;
  while (idle_bytes > options.idle_memory_bytes) {
    ending.push_back(pull(idle.begin()));
    --instances;
  }
}

void Engine::Impl::lost() {
  std::lock_guard lock(instances_mutex);
  --instances;
}

void Engine::Impl::close(IdleInstances& use) {
  std::vector<std::unique_ptr<Instance>> ending;
  std::lock_guard lock(instances_mutex);
  while (!use.idle.empty()) {
    ending.push_back(pull(use.idle.back()));
    --instances;
  }
}

}  // namespace millrace::wasm
