#include <fmt/format.h>

#include <algorithm>

#include "wasm/detail/engine_impl.h"

namespace millrace::wasm {

namespace {
// Instances of one module, for each lane: more chains of it than that take turns.
constexpr size_t kInstancesALane = 4;
}  // namespace

Result<std::unique_ptr<Instance>> Engine::Impl::take(IdleInstances& use) {
  std::unique_ptr<Instance> evicted;  // ends outside of the lock
  std::lock_guard lock(instances_mutex);
  if (!use.idle.empty()) {
    const auto at = use.idle.back();
    use.idle.pop_back();
    auto instance = std::move(at->instance);
    idle.erase(at);
    return instance;
  }
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
    std::erase(at->use->idle, at);
    evicted = std::move(at->instance);
    idle.erase(at);
    --instances;
  }
  ++instances;
  return std::unique_ptr<Instance>();
}

void Engine::Impl::release(IdleInstances& use, std::unique_ptr<Instance> instance) {
  std::lock_guard lock(instances_mutex);
  use.idle.push_back(idle.insert(idle.end(), {&use, std::move(instance)}));
}

void Engine::Impl::lost() {
  std::lock_guard lock(instances_mutex);
  --instances;
}

void Engine::Impl::close(IdleInstances& use) {
  std::vector<std::unique_ptr<Instance>> ending;
  std::lock_guard lock(instances_mutex);
  for (const auto at : use.idle) {
    ending.push_back(std::move(at->instance));
    idle.erase(at);
  }
  instances -= use.idle.size();
  use.idle.clear();
}

}  // namespace millrace::wasm
