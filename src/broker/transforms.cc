#include "broker/transforms.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/config.h"
#include "broker/dead_letter.h"
#include "broker/detail/look_back.h"
#include "broker/detail/transforms_impl.h"
#include "catalog/function.h"

namespace millrace::broker {

using catalog::Transform;
using detail::LoadedChain;

namespace detail {

namespace {

/// What the declaration says, within what the node allows.
Result<wasm::Limits> limits_of(const Transform& step, const wasm::Limits& max) {
  wasm::Limits limits;
  const auto take = [&](const char* name, uint64_t most, auto set) -> Result<> {
    const auto found = step.options.find(name);
    if (found == step.options.end()) return {};
    MR_TRY(const auto value, config::parse_integer(found->second));
    if (value < 0 || static_cast<uint64_t>(value) > most) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("{} = {} is more than the {} that this node allows a transform",
                               name, value, most)};
    }
    set(static_cast<uint64_t>(value));
    return {};
  };
  MR_TRY(take(catalog::kMemoryLimit, max.memory_bytes,
              [&](uint64_t value) { limits.memory_bytes = value; }));
  MR_TRY(take(catalog::kTimeSliceLimit, static_cast<uint64_t>(max.time_slice.count()),
              [&](uint64_t value) { limits.time_slice = std::chrono::milliseconds(value); }));
  MR_TRY(take(catalog::kExpansionLimit, max.output_ratio,
              [&](uint64_t value) { limits.output_ratio = value; }));
  return limits;
}

}  // namespace

// ---- modules

Result<> TransformsImpl::start() {
  MR_TRY(env_.files().make_folder(options_.path));
  MR_TRY(forget_modules());
  wasm::EngineOptions options;
  options.lanes = options_.lanes;
  options.cache_folder = options_.path + "/compiled";
  options.log = [this](const wasm::LogLine& line) { logs_.add(line, env_.now_ms()); };
  MR_TRY(engine_, wasm::Engine::start(env_, std::move(options)));
  return {};
}

Result<> TransformsImpl::forget_modules() {
  std::set<std::string> used;
  const auto snapshot = catalog_.snapshot();
  for (const auto* object : snapshot->list()) {
    if (object->kind == catalog::Kind::kFunction) used.insert(catalog::module_hash(*object));
  }
  MR_TRY(const auto names, env_.files().list(options_.path));
  for (const auto& name : names) {
    if (!name.ends_with(kModuleEnd)) continue;
    if (used.contains(name.substr(0, name.size() - kModuleEnd.size()))) continue;
    MR_TRY(env_.files().remove(options_.path + "/" + name));
  }
  return {};
}

std::string TransformsImpl::file_of(std::string_view hash) const {
  return fmt::format("{}/{}{}", options_.path, hash, kModuleEnd);
}

Result<KeptModule> TransformsImpl::add_module(std::string_view bytes) {
  std::string assembled;
  if (bytes.starts_with('(') || bytes.starts_with(';')) {  // its text form
    MR_TRY(assembled, wasm::assemble(bytes));
    bytes = assembled;
  }
  MR_TRY(const auto module, engine_->load(bytes));
  const auto path = file_of(module->hash());
  if (!env_.files().exists(path)) MR_TRY(env_.files().replace_file(path, bytes));
  keep(module);
  KeptModule out{.hash = module->hash(), .bytes = module->bytes(), .exports = {}};
  for (const auto& each : module->transforms()) {
    out.exports += fmt::format("{}{} {}", out.exports.empty() ? "" : ", ",
                               wasm::to_string(each.kind), each.name);
  }
  return out;
}

Result<std::string> TransformsImpl::module_bytes(std::string_view hash) {
  const bool hex = hash.size() == 64 && std::ranges::all_of(hash, [](char c) {
                     return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                   });
  if (!hex || !env_.files().exists(file_of(hash))) {
    return Error{ErrorCode::kNotFound, fmt::format("there is no module with the hash {}", hash)};
  }
  return env_.files().read_file(file_of(hash));
}

void TransformsImpl::keep(const std::shared_ptr<wasm::Module>& module) {
  std::lock_guard lock(mutex_);
  modules_.insert_or_assign(module->hash(), module);
}

std::shared_ptr<wasm::Module> TransformsImpl::kept(const std::string& hash) const {
  std::lock_guard lock(mutex_);
  const auto found = modules_.find(hash);
  return found == modules_.end() ? nullptr : found->second;
}

Result<std::string> TransformsImpl::hash_of(const std::string& function) const {
  const auto snapshot = catalog_.snapshot();
  const auto* object = snapshot->find(function);
  if (object && object->kind == catalog::Kind::kFunction) return catalog::module_hash(*object);
  return Error{ErrorCode::kUndefinedObject, fmt::format("there is no function \"{}\"", function)};
}

void TransformsImpl::functions_changed() {
  version_.fetch_add(1);
  std::set<std::string> used;
  const auto snapshot = catalog_.snapshot();
  for (const auto* object : snapshot->list()) used.insert(catalog::module_hash(*object));
  std::lock_guard lock(mutex_);
  std::erase_if(modules_, [&](const auto& each) { return !used.contains(each.first); });
  std::erase_if(scalars_, [&](const auto& each) { return !snapshot->find(each.first.first); });
}

Result<> TransformsImpl::resume(std::string_view function) {
  MR_TRY(const auto hash, hash_of(std::string(function)));
  if (const auto module = kept(hash)) module->resume();
  return {};
}

// ---- chains

Result<wasm::Step> TransformsImpl::step_of(const Transform& step,
                                           std::shared_ptr<wasm::Module> module) const {
  wasm::Step made{.module = std::move(module),
                  .transform = step.export_name,
                  .params = {step.params.begin(), step.params.end()}};
  MR_TRY(made.limits, limits_of(step, options_.limits_max));
  return made;
}

Result<std::shared_ptr<wasm::Module>> TransformsImpl::load(const std::string& hash) {
  if (auto module = kept(hash)) return module;
  MR_TRY(const auto bytes, module_bytes(hash));
  MR_TRY(auto module, engine_->load(bytes));
  keep(module);
  return module;
}

Result<> TransformsImpl::check(const Transform& step) {
  MR_TRY(const auto hash, hash_of(step.function));
  return start_once(step, hash);
}

Result<> TransformsImpl::check_scalar(const catalog::Object& function) {
  return start_once(catalog::scalar_step(function), catalog::module_hash(function));
}

Result<> TransformsImpl::start_once(const Transform& step, const std::string& hash) {
  MR_TRY(auto module, load(hash));
  MR_TRY(auto made, step_of(step, std::move(module)));
  // Whether it takes one: what stands in it is known when it begins.
  MR_TRY(const auto wanted, look_back_of(step));
  if (wanted) made.look_back = std::make_shared<wasm::OwnedBatch>();
  wasm::ChainOptions options{.place = "when it is declared", .steps = {std::move(made)}};
  MR_TRY(const auto chain, wasm::Chain::open(*engine_, std::move(options)));
  return chain->start();
}

// ---- functions of SQL

Result<std::shared_ptr<wasm::Chain>> TransformsImpl::scalar(const std::string& function,
                                                            const std::string& signature,
                                                            ScalarPlace place) {
  const auto as_bound = [&](const LoadedScalar& loaded) -> Result<std::shared_ptr<wasm::Chain>> {
    if (loaded.signature == signature) return loaded.guests;
    return Error{ErrorCode::kUndefinedFunction,
                 fmt::format("function {} was replaced by {}{} meanwhile; try again", function,
                             function, loaded.signature)};
  };
  const uint64_t version = version_.load();  // before the catalog is looked at
  {
    std::lock_guard lock(mutex_);
    const auto found = scalars_.find({function, place});
    if (found != scalars_.end() && found->second.version == version) return as_bound(found->second);
  }
  const auto snapshot = catalog_.snapshot();
  const auto* object = snapshot->find(function);
  if (!object || !catalog::is_scalar(*object)) {
    return Error{ErrorCode::kUndefinedFunction,
                 fmt::format("there is no function \"{}\" of SQL any more", function)};
  }
  MR_TRY(auto module, load(catalog::module_hash(*object)));
  MR_TRY(auto step, step_of(catalog::scalar_step(*object), std::move(module)));
  wasm::ChainOptions options{.place = fmt::format("function {} in a {}", function,
                                                  place == ScalarPlace::kView ? "view" : "query"),
                             .steps = {std::move(step)},
                             .pauses = place == ScalarPlace::kView};
  LoadedScalar loaded{
      .version = version, .signature = catalog::scalar_signature(*object), .guests = nullptr};
  MR_TRY(loaded.guests, wasm::Chain::open(*engine_, std::move(options)));
  std::lock_guard lock(mutex_);
  auto& slot = scalars_[{function, place}];
  // Another thread may have loaded it meanwhile: one counts for all.
  if (!slot.guests || slot.version < version) slot = std::move(loaded);
  return as_bound(slot);
}

io::Task<Result<std::shared_ptr<wasm::Module>>> TransformsImpl::module_of(std::string function) {
  MR_CO_TRY(const auto hash, hash_of(function));
  if (auto module = kept(hash)) co_return module;
  auto read = [this, &hash] { return module_bytes(hash); };
  auto reading = runtime_.blocking(std::move(read));
  MR_CO_TRY(auto bytes, co_await std::move(reading));
  auto loading = engine_->load_in_background(std::move(bytes));
  MR_CO_TRY(auto module, co_await std::move(loading));
  keep(module);
  co_return module;
}

io::Task<Result<OpenedChain>> TransformsImpl::open_chain(std::vector<Transform> steps,
                                                         std::string place, LookBacks look_backs) {
  OpenedChain opened{.version = version_.load(), .guests = {}};  // before the catalog is looked at
  wasm::ChainOptions options{.place = std::move(place), .steps = {}};
  look_backs.resize(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    auto loading = module_of(steps[i].function);
    MR_CO_TRY(auto module, co_await std::move(loading));
    MR_CO_TRY(auto made, step_of(steps[i], std::move(module)));
    made.look_back = std::move(look_backs[i]);
    options.steps.push_back(std::move(made));
  }
  MR_CO_TRY(opened.guests, wasm::Chain::open(*engine_, std::move(options)));
  co_return opened;
}

std::shared_ptr<LoadedChain> TransformsImpl::loaded(const TopicTransforms& transforms,
                                                    const ChainKey& key) const {
  auto& ready = transforms.ready();
  std::lock_guard lock(ready.mutex);
  const auto found = ready.chains.find(key);
  if (found == ready.chains.end() || found->second->version != version_.load()) return nullptr;
  return found->second;
}

io::Task<Result<std::shared_ptr<LoadedChain>>> TransformsImpl::chain_for(
    std::shared_ptr<const TopicTransforms> transforms, ChainKey key) {
  if (auto chain = loaded(*transforms, key)) co_return chain;
  auto chain = std::make_shared<LoadedChain>();
  chain->version = version_.load();  // before the catalog is looked at
  chain->steps = transforms->steps(key.place, key.group, key.user);
  chain->terms.topic = transforms->topic();
  chain->terms.filters_only = true;
  chain->terms.has_offsets = key.place == Transform::Place::kFetch;
  chain->terms.keys_required =
      key.place == Transform::Place::kProduce && transforms->ready().keys_required;
  chain->terms.inflated_bytes_max = transforms->ready().inflated_bytes_max;
  wasm::ChainOptions options{
      .place = fmt::format("topic {} on {}{}{}{}{}", transforms->topic(),
                           catalog::name_of(key.place), key.group.empty() ? "" : " for group ",
                           key.group, key.user.empty() ? "" : " for user ", key.user),
      .steps = {}};
  for (const auto& step : chain->steps) {
    auto loading = module_of(step.function);
    MR_CO_TRY(auto module, co_await std::move(loading));
    const auto* transform = module->find(step.export_name);
    if (!transform || transform->kind != wasm::Kind::kFilter) chain->terms.filters_only = false;
    chain->terms.names.push_back(step.function + "." + step.export_name);
    chain->terms.on_error.push_back(step.on_error);
    MR_CO_TRY(auto made, step_of(step, std::move(module)));
    MR_CO_TRY(const auto wanted, look_back_of(step));
    if (const auto topic = wanted ? broker_.find(transforms->topic()) : nullptr) {
      auto reading = read_look_back(look_back_sources(*topic), *wanted, env_.now_ms());
      MR_CO_TRY(made.look_back, co_await std::move(reading));
    }
    options.steps.push_back(std::move(made));
  }
  if (!chain->steps.empty()) {
    MR_CO_TRY(chain->guests, wasm::Chain::open(*engine_, std::move(options)));
  }
  co_return remember(transforms, std::move(key), std::move(chain));
}

std::shared_ptr<LoadedChain> TransformsImpl::remember(
    const std::shared_ptr<const TopicTransforms>& transforms, ChainKey key,
    std::shared_ptr<LoadedChain> chain) {
  {
    std::lock_guard lock(mutex_);
    topics_.insert_or_assign(transforms->topic(), transforms);
  }
  auto& ready = transforms->ready();
  std::lock_guard lock(ready.mutex);
  auto& slot = ready.chains[std::move(key)];
  // Another batch may have loaded it meanwhile: one counts for all.
  if (!slot || slot->version < chain->version) slot = std::move(chain);
  return slot;
}

// ---- batches

io::Task<Result<TransformedBatches>> TransformsImpl::run(std::shared_ptr<LoadedChain> chain,
                                                         int32_t partition,
                                                         std::string_view batches) {
  const TimestampMs now = env_.now_ms();
  auto work = [&chain, partition, now, batches] {
    return transform_batches(*chain->guests, chain->terms, partition, now, batches);
  };
  auto running = chain->guests->on_lane(std::move(work));
  auto out = co_await std::move(running);
  if (out) chain->lost.fetch_add(out->lost, std::memory_order_relaxed);
  co_return out;
}

io::Task<Result<>> TransformsImpl::put_letters(std::string topic,
                                               std::vector<std::string> letters) {
  if (letters.empty()) co_return Result<>();
  auto source = broker_.find(topic);
  if (!source) {
    co_return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", topic)};
  }
  auto opening = open_dead_letters(broker_, std::move(source));
  MR_CO_TRY(const auto partition, co_await std::move(opening));
  for (auto& batch : letters) {
    auto appending = partition->append(std::move(batch), log::Ack::kDurable);
    MR_CO_TRY(co_await std::move(appending));
  }
  co_return Result<>();
}

io::Task<Result<std::string>> TransformsImpl::produced(
    std::shared_ptr<const TopicTransforms> transforms, int32_t partition, std::string batches) {
  auto loading = chain_for(transforms, ChainKey{Transform::Place::kProduce});
  MR_CO_TRY(auto chain, co_await std::move(loading));
  if (!chain->guests) co_return batches;
  auto running = run(chain, partition, batches);
  MR_CO_TRY(auto out, co_await std::move(running));
  if (out.error) co_return std::move(*out.error);
  auto writing = put_letters(transforms->topic(), std::move(out.letters));
  MR_CO_TRY(co_await std::move(writing));
  co_return std::move(out.batches);
}

void TransformsImpl::seen(std::string_view group, std::string_view host, std::string_view client_id,
                          bool member) {
  readers_.seen(group, host, client_id, member);
}

Result<std::string> TransformsImpl::group_of(const TopicTransforms& transforms,
                                             const Fetcher& fetcher) const {
  const auto has_groups = [](const Transform& each) { return !each.group.empty(); };
  if (std::ranges::none_of(transforms.all(), has_groups)) return std::string();
  const auto steps_for = [&](const std::string& group) {
    return transforms.steps(Transform::Place::kFetch, group, fetcher.user);
  };
  std::optional<std::string> one;
  for (const auto& group : readers_.groups_of(fetcher.host, fetcher.client_id)) {
    if (one && steps_for(*one) != steps_for(group)) {
      return Error{
          ErrorCode::kNotAllowed,
          fmt::format("a client at {} with client.id \"{}\" speaks for the groups \"{}\" and "
                      "\"{}\", for which topic \"{}\" has different transforms",
                      fetcher.host, fetcher.client_id, *one, group, transforms.topic()),
          std::nullopt, "Give the consumers of each group a client.id of their own."};
    }
    one = group;
  }
  // Groups that the topic has nothing of their own for share one chain.
  const auto is_theirs = [&](const Transform& each) { return each.group == one; };
  return std::ranges::any_of(transforms.all(), is_theirs) ? *one : std::string();
}

Result<ChainKey> TransformsImpl::key_of(const TopicTransforms& transforms,
                                        const Fetcher& fetcher) const {
  ChainKey key{Transform::Place::kFetch};
  MR_TRY(key.group, group_of(transforms, fetcher));
  // Users that the topic has nothing of their own for share one chain.
  const auto is_theirs = [&](const Transform& each) { return each.user == fetcher.user; };
  if (std::ranges::any_of(transforms.all(), is_theirs)) key.user = fetcher.user;
  return key;
}

io::Task<Result<std::string>> TransformsImpl::fetched(
    std::shared_ptr<const TopicTransforms> transforms, int32_t partition, Fetcher fetcher,
    std::string batches) {
  MR_CO_TRY(auto key, key_of(*transforms, fetcher));
  auto loading = chain_for(transforms, std::move(key));
  MR_CO_TRY(auto chain, co_await std::move(loading));
  if (!chain->guests) co_return batches;
  auto running = run(chain, partition, batches);
  MR_CO_TRY(auto out, co_await std::move(running));
  // What stands before the failure is the consumer's; the next fetch begins with it.
  if (out.error && out.batches.empty()) co_return std::move(*out.error);
  auto writing = put_letters(transforms->topic(), std::move(out.letters));
  MR_CO_TRY(co_await std::move(writing));
  co_return std::move(out.batches);
}

// ---- what is told

std::vector<TransformCounts> TransformsImpl::counts() const {
  std::map<std::string, std::shared_ptr<const TopicTransforms>> topics;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, weak] : topics_) {
      if (auto transforms = weak.lock()) topics.emplace(name, std::move(transforms));
    }
  }
  std::vector<TransformCounts> out;
  for (const auto& [name, transforms] : topics) {
    auto& ready = transforms->ready();
    std::lock_guard lock(ready.mutex);
    for (const auto& [key, chain] : ready.chains) {
      if (!chain->guests) continue;
      const auto counters = chain->guests->counters();
      auto& each = out.emplace_back(TransformCounts{counters});
      each.topic = name;
      each.place = key.place;
      each.group = key.group;
      each.user = key.user;
      each.steps = chain->steps;
      each.paused = std::ranges::any_of(chain->guests->options().steps,
                                        [](const auto& step) { return step.module->paused(); });
      each.record_errors = chain->lost.load(std::memory_order_relaxed);
    }
  }
  return out;
}

std::vector<ModuleLogLine> TransformsImpl::logs() const {
  auto lines = logs_.lines();
  const auto snapshot = catalog_.snapshot();
  for (auto& line : lines) {
    for (const auto* object : snapshot->list()) {
      if (catalog::module_hash(*object) != line.module) continue;
      line.function += (line.function.empty() ? "" : ", ") + object->name;
    }
  }
  return lines;
}

}  // namespace detail

Result<std::unique_ptr<Transforms>> Transforms::open(io::Runtime& runtime, io::Env& env,
                                                     catalog::Catalog& catalog, Broker& broker,
                                                     Options options) {
  auto transforms =
      std::make_unique<detail::TransformsImpl>(runtime, env, catalog, broker, std::move(options));
  MR_TRY(transforms->start());
  return std::unique_ptr<Transforms>(std::move(transforms));
}

}  // namespace millrace::broker
