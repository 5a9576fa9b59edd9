#include "broker/broker.h"

#include <fmt/format.h>

#include "base/logging.h"
#include "broker/detail/broker_impl.h"
#include "catalog/function.h"
#include "catalog/replacement.h"

namespace millrace::broker {

namespace detail {

namespace {

constexpr size_t kOpenAtOnce = 16;  // partitions of one shard: their reads overlap

Error stopping() { return Error{ErrorCode::kShuttingDown, "the node is stopping"}; }

/// Takes the next partition from the list until it is empty.
io::Task<void> work_off(std::vector<PartitionImpl*>& left,
                        const std::function<io::Task<Result<>>(PartitionImpl&)>& step,
                        Result<>& out) {
  while (!left.empty()) {
    PartitionImpl& partition = *left.back();
    left.pop_back();
    auto result = co_await step(partition);
    if (!result && out) out = std::move(result);
  }
}

PartitionImpl& impl(const std::shared_ptr<Partition>& partition) {
  return static_cast<PartitionImpl&>(*partition);
}

}  // namespace

BrokerImpl::BrokerImpl(io::Runtime& runtime, io::Env& env, catalog::Catalog& catalog,
                       Options options)
    : runtime_(runtime),
      env_(env),
      catalog_(catalog),
      options_(std::move(options)),
      home_(runtime.shard(0)),
      shared_(std::make_shared<PartitionShared>(env, runtime)),
      topics_(std::make_shared<Topics>()),
      turns_(home_) {
  for (size_t i = 0; i < runtime.shard_count(); ++i) {
    retention_gates_.push_back(std::make_unique<io::Gate>());
  }
}

io::Task<Result<>> BrokerImpl::start() {
  MR_CO_TRY(env_.files().make_folder(options_.path));
  MR_CO_TRY(producer_ids_, ProducerIds::open(env_.files(), options_.path + "/producer_ids"));
  MR_CO_TRY(co_await end_replacements());
  Partitions all;
  const auto snapshot = catalog_.snapshot();
  for (const auto* object : snapshot->list()) {
    if (!catalog::has_log(*object)) continue;
    MR_CO_TRY(auto rules, PartitionRules::make(*object));
    auto partitions = make_partitions(std::move(rules), 0);
    all.insert(all.end(), partitions.begin(), partitions.end());
    publish(*object, std::move(partitions));
  }
  MR_CO_TRY(co_await open_all(std::move(all)));
  MR_CO_TRY(tidy());
  for (size_t i = 0; i < runtime_.shard_count(); ++i) {
    auto& shard = runtime_.shard(i);
    shard.spawn(*retention_gates_[i], keep_retention(shard, *retention_gates_[i]));
    shard.spawn(*retention_gates_[i], keep_compacting(shard, *retention_gates_[i]));
  }
  report();
  co_return Result<>{};
}

std::shared_ptr<const Topic> BrokerImpl::find(std::string_view name) const {
  return topics_->find(name);
}
std::shared_ptr<const Topic> BrokerImpl::find(const Uuid& id) const { return topics_->find(id); }
std::vector<std::shared_ptr<const Topic>> BrokerImpl::list() const { return topics_->list(); }

io::Task<Result<>> BrokerImpl::drop(std::string name) {
  return home_.call(drop_here(std::move(name)));
}

io::Task<Result<>> BrokerImpl::drop_here(std::string name) {
  if (!gate_.try_enter()) co_return stopping();
  auto result = co_await drop_in_turn(std::move(name));
  gate_.leave();
  co_return result;
}

io::Task<Result<>> BrokerImpl::drop_in_turn(std::string name) {
  auto turn = co_await turns_.take();
  const auto snapshot = catalog_.snapshot();
  const auto* object = snapshot->find(name);
  const std::string exact = object ? object->name : name;
  MR_CO_TRY(co_await catalog_.drop(exact));
  const auto topic = topics_->find(exact);
  if (!topic) co_return Result<>{};
  topics_->erase(exact);
  auto why = Error{ErrorCode::kUnknownPartition, fmt::format("\"{}\" was dropped", exact)};
  auto closed = co_await close_all(topic->partitions, std::move(why));
  if (!closed) logging::warn("dropped log did not close", {{"reason", closed.error().text}});
  TopicCounters::remove(env_.metrics(), exact);
  MR_CO_TRY(auto paths, set_aside(catalog::log_name(topic->object), 0,
                                  static_cast<int32_t>(topic->partitions.size())));
  remove_folders(std::move(paths));
  co_return Result<>{};
}

io::Task<Result<int64_t>> BrokerImpl::next_producer_id() {
  return home_.call(next_producer_id_here());
}

io::Task<Result<int64_t>> BrokerImpl::next_producer_id_here() {
  if (gate_.closed()) co_return stopping();
  co_return producer_ids_->next();
}

io::Task<Result<>> BrokerImpl::close() { return home_.call(close_here()); }

io::Task<Result<>> BrokerImpl::close_here() {
  if (gate_.closed()) co_return Result<>{};
  co_await gate_.close();
  for (size_t i = 0; i < retention_gates_.size(); ++i) {
    auto closing = retention_gates_[i]->close();
    co_await runtime_.shard(i).call(std::move(closing));
  }
  Partitions all;
  for (const auto& topic : topics_->list()) {
    all.insert(all.end(), topic->partitions.begin(), topic->partitions.end());
  }
  co_return co_await close_all(std::move(all), stopping());
}

BrokerImpl::Partitions BrokerImpl::make_partitions(std::shared_ptr<const PartitionRules> rules,
                                                   int32_t from) {
  Partitions out;
  const size_t first = std::hash<std::string>()(rules->object.name);
  for (int32_t p = from; p < rules->object.partitions; ++p) {
    // In turn from where the name falls: a topic's partitions are spread over all shards.
    auto& shard = runtime_.shard_of(first + static_cast<size_t>(p));
    out.push_back(std::make_shared<PartitionImpl>(shared_, shard, rules, p));
  }
  return out;
}

BrokerImpl::Ref BrokerImpl::publish(catalog::Object object, Partitions partitions) {
  auto topic = std::make_shared<const Topic>(Topic{std::move(object), std::move(partitions)});
  topics_->put(topic);
  return topic;
}

io::Task<Result<>> BrokerImpl::each(Partitions partitions, Step step) {
  std::vector<std::vector<PartitionImpl*>> by_shard(runtime_.shard_count());
  for (const auto& partition : partitions) {
    by_shard[partition->shard().index()].push_back(&impl(partition));
  }
  std::vector<Result<>> results(by_shard.size());
  io::Gate all;
  for (size_t i = 0; i < by_shard.size(); ++i) {
    if (by_shard[i].empty()) continue;
    home_.spawn(all, each_on(runtime_.shard(i), std::move(by_shard[i]), step, results[i]));
  }
  co_await all.close();
  for (auto& result : results) {
    if (!result) co_return std::move(result);
  }
  co_return Result<>{};
}

io::Task<void> BrokerImpl::each_on(io::Shard& shard, std::vector<PartitionImpl*> partitions,
                                   const Step& step, Result<>& out) {
  co_await shard.enter();
  {
    io::Gate workers;
    for (size_t i = 0; i < std::min(kOpenAtOnce, partitions.size()); ++i) {
      shard.spawn(workers, work_off(partitions, step, out));
    }
    co_await workers.close();
  }
  co_await home_.enter();
}

io::Task<Result<>> BrokerImpl::open_all(Partitions partitions) {
  return each(std::move(partitions), [this](PartitionImpl& partition) {
    return partition.open(folder(partition.log_name(), partition.index()));
  });
}

io::Task<Result<>> BrokerImpl::close_all(Partitions partitions, Error why) {
  return each(std::move(partitions),
              [why = std::move(why)](PartitionImpl& partition) { return partition.close(why); });
}

std::string BrokerImpl::folder(std::string_view log, int32_t partition) const {
  return fmt::format("{}/{}-{}", options_.path, log, partition);
}

io::Task<void> BrokerImpl::keep_retention(io::Shard& shard, io::Gate& gate) {
  for (;;) {
    co_await shard.sleep(options_.cleanup_interval, &gate);
    for (const auto& topic : topics_->list()) {
      for (const auto& partition : topic->partitions) {
        if (gate.closed()) co_return;
        if (&partition->shard() != &shard) continue;
        auto result = co_await impl(partition).enforce_retention();
        if (result || result.error().code == ErrorCode::kUnknownPartition) continue;
        logging::warn("retention failed", {{"topic", partition->topic()},
                                           {"partition", partition->index()},
                                           {"reason", result.error().text}});
      }
    }
    if (gate.closed()) co_return;
  }
}

/// Apart from retention, which must not wait for a long compaction; one partition of a shard at a
/// time, so that their memory is bounded.
io::Task<void> BrokerImpl::keep_compacting(io::Shard& shard, io::Gate& gate) {
  for (;;) {
    co_await shard.sleep(options_.cleanup_interval, &gate);
    for (const auto& topic : topics_->list()) {
      for (const auto& partition : topic->partitions) {
        if (gate.closed()) co_return;
        if (&partition->shard() != &shard) continue;
        auto result = co_await impl(partition).compact(gate);
        if (result || result.error().code == ErrorCode::kUnknownPartition) continue;
        logging::warn("compaction failed", {{"topic", partition->topic()},
                                            {"partition", partition->index()},
                                            {"reason", result.error().text}});
      }
    }
    if (gate.closed()) co_return;
  }
}

void BrokerImpl::report() {
  auto& metrics = env_.metrics();
  auto& topics = metrics.gauge("millrace_broker_topics", "Topics, tables and changelogs.");
  auto& partitions = metrics.gauge("millrace_broker_partitions", "Open partitions.");
  auto& bytes = metrics.gauge("millrace_broker_log_bytes", "Bytes of all partitions on disk.");
  metrics.before_render([weak = std::weak_ptr(topics_), &topics, &partitions, &bytes] {
    const auto served = weak.lock();
    if (!served) return;
    size_t partition_count = 0;
    uint64_t byte_count = 0;
    const auto all = served->list();
    for (const auto& topic : all) {
      partition_count += topic->partitions.size();
      for (const auto& partition : topic->partitions) byte_count += partition->size_bytes();
    }
    topics.set(static_cast<double>(all.size()));
    partitions.set(static_cast<double>(partition_count));
    bytes.set(static_cast<double>(byte_count));
  });
}

namespace {

io::Task<Result<std::unique_ptr<Broker>>> open_here(std::unique_ptr<BrokerImpl> broker) {
  if (auto started = co_await broker->start(); !started) {
    auto closed = co_await broker->close();  // the reason is the start's failure, not this one's
    static_cast<void>(closed);
    co_return std::move(started).error();
  }
  co_return std::unique_ptr<Broker>(std::move(broker));
}

}  // namespace

}  // namespace detail

io::Task<Result<std::unique_ptr<Broker>>> Broker::open(io::Runtime& runtime, io::Env& env,
                                                       catalog::Catalog& catalog, Options options) {
  auto broker = std::make_unique<detail::BrokerImpl>(runtime, env, catalog, std::move(options));
  auto& home = broker->home();
  return home.call(detail::open_here(std::move(broker)));
}

}  // namespace millrace::broker
