#include "detail/modules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <utility>

#include "base/logging.h"
#include "detail/fetch.h"

namespace millrace::client::detail {

namespace {

/// The one that is meant, as the node finds it.
Result<const wasm::Transform*> find_export(const wasm::Module& module, const Transform& wanted) {
  const auto& all = module.transforms();
  const bool named = !wanted.export_name.empty();
  const auto* found = !named && all.size() == 1
                          ? &all.front()
                          : module.find(named ? wanted.export_name : wanted.function);
  if (!found) {
    return Error{
        ErrorCode::kUndefinedFunction,
        named ? fmt::format("function \"{}\" has no export \"{}\"", wanted.function,
                            wanted.export_name)
              : fmt::format("function \"{}\" has several exports: say which", wanted.function),
        std::nullopt,
        fmt::format("It has {}.",
                    fmt::join(all | std::views::transform(&wasm::Transform::name), ", "))};
  }
  if (found->kind == wasm::Kind::kAggregate || found->kind == wasm::Kind::kScalar) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("\"{}.{}\" is of the kind {}, which cannot stand in a client",
                             wanted.function, found->name, wasm::to_string(found->kind)),
                 std::nullopt,
                 "An aggregate's state is in the node's log: CREATE TRANSFORM. A scalar is for "
                 "SQL: CREATE FUNCTION name(types) RETURNS type."};
  }
  return found;
}

}  // namespace

Modules::Modules(const Options& options)
    : node_(options.node), transforms_(options.transforms), look_again_(options.look_again) {}

Modules::~Modules() = default;

Result<std::unique_ptr<Modules>> Modules::open(const Options& options) {
  std::unique_ptr<Modules> made(new Modules(options));
  wasm::EngineOptions engine{.lanes = 1, .cache_folder = options.cache_folder};
  if (options.log) {
    engine.log = [log = options.log](const wasm::LogLine& line) {
      log(line.transform, wasm::to_string(line.level), line.text);
    };
  }
  MR_TRY(made->engine_, wasm::Engine::start(*made->env_, std::move(engine)));
  MR_TRY(made->now_, made->load(nullptr, {}));
  const auto follows = [](const Transform& each) { return each.hash.empty(); };
  if (std::ranges::any_of(options.transforms, follows)) {
    made->follower_ =
        std::jthread([&modules = *made](const std::stop_token& stop) { modules.follow(stop); });
  }
  return made;
}

std::shared_ptr<const Loaded> Modules::now() const {
  std::lock_guard lock(mutex_);
  return now_;
}

Result<> Modules::following() const {
  std::lock_guard lock(mutex_);
  return following_;
}

Result<std::shared_ptr<wasm::Module>> Modules::module(const Transform& transform,
                                                      const std::shared_ptr<wasm::Module>& before,
                                                      const std::stop_token& stop) {
  MR_TRY(const auto fetched, fetch_module(node_, transform.function, transform.hash,
                                          before ? before->hash() : "", stop));
  if (fetched.unchanged && before) return before;
  MR_TRY(auto module, engine_->load(fetched.bytes));
  if (!transform.hash.empty() && module->hash() != transform.hash) {
    return Error{ErrorCode::kProtocol,
                 fmt::format("the node at {} gives the module {} of function \"{}\", not {}", node_,
                             module->hash(), transform.function, transform.hash)};
  }
  return module;
}

Result<std::shared_ptr<const Loaded>> Modules::load(const Loaded* before,
                                                    const std::stop_token& stop) {
  auto loaded = std::make_shared<Loaded>();
  wasm::ChainOptions options{.place = "a client", .steps = {}, .pauses = false};
  // One function is one module in all places, also when it is replaced just now.
  std::map<std::pair<std::string, std::string>, std::shared_ptr<wasm::Module>> seen;
  for (size_t i = 0; i < transforms_.size(); ++i) {
    const auto& each = transforms_[i];
    auto& one = seen[{each.function, each.hash}];
    if (before && !each.hash.empty()) one = before->modules[i];
    if (!one) {
      MR_TRY(one, module(each, before ? before->modules[i] : nullptr, stop));
    }
    MR_TRY(const auto* found, find_export(*one, each));
    loaded->modules.push_back(one);
    loaded->names.push_back(each.function + "." + found->name);
    loaded->filters_only = loaded->filters_only && found->kind == wasm::Kind::kFilter;
    options.steps.push_back({.module = one,
                             .transform = found->name,
                             .params = {each.params.begin(), each.params.end()},
                             .limits = each.limits});
  }
  if (before && before->modules == loaded->modules) return std::shared_ptr<const Loaded>();
  if (!options.steps.empty()) {
    MR_TRY(loaded->chain, wasm::Chain::open(*engine_, std::move(options)));
    MR_TRY(loaded->chain->start());
  }
  return std::shared_ptr<const Loaded>(std::move(loaded));
}

void Modules::follow(const std::stop_token& stop) {
  const auto never = [] { return false; };
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, stop, look_again_, never);
    }
    if (stop.stop_requested()) return;
    auto loaded = load(now().get(), stop);
    if (stop.stop_requested()) return;
    std::lock_guard lock(mutex_);
    if (loaded) {
      if (*loaded) now_ = std::move(*loaded);
      following_ = {};
      continue;
    }
    if (following_ || following_.error().text != loaded.error().text) {
      logging::warn("modules are not followed", {{"reason", loaded.error().text}});
    }
    following_ = std::move(loaded).error();
  }
}

}  // namespace millrace::client::detail
