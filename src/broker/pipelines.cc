#include "broker/pipelines.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/logging.h"
#include "broker/detail/pipelines_impl.h"
#include "catalog/function.h"
#include "catalog/pipeline.h"

namespace millrace::broker {

using catalog::Object;

namespace detail {

namespace {

/// Small, so that compaction soon has closed ones to work on.
constexpr const char* kSegmentBytes = "16777216";
constexpr const char* kBatchBytesMax = "67108864";  // a state of any size that a guest may keep

std::shared_ptr<PipelinePlan> plan_of(const Object& pipeline, const catalog::Snapshot& snapshot) {
  auto plan = std::make_shared<PipelinePlan>();
  plan->object = pipeline;
  plan->inputs = catalog::pipeline_topics(pipeline, catalog::kPipelineInputs);
  plan->outputs = catalog::pipeline_topics(pipeline, catalog::kPipelineOutputs);
  plan->state_topic = catalog::pipeline_state_topic(pipeline);
  plan->stateful = std::ranges::any_of(pipeline.transforms, [&](const auto& step) {
    return catalog::export_kind(snapshot, step) == "aggregate";
  });
  plan->paused = !catalog::pipeline_option(pipeline, catalog::kPipelinePaused).empty();
  return plan;
}

/// The offset of the option kPipelineStart in `partition`.
io::Task<Result<Offset>> offset_of(std::shared_ptr<Partition> partition, std::string start) {
  constexpr std::string_view kOffset = "offset ", kTime = "timestamp ";
  const Offset first = partition->start_offset();
  const Offset end = partition->high_watermark();
  const auto number = [&](size_t from) {
    int64_t n = 0;
    std::from_chars(start.data() + from, start.data() + start.size(), n);
    return n;
  };
  if (start == "beginning") co_return first;
  if (start.starts_with(kOffset)) co_return std::clamp<Offset>(number(kOffset.size()), first, end);
  if (!start.starts_with(kTime)) co_return end;
  auto found = co_await partition->offset_for_time(number(kTime.size()));
  if (!found) co_return std::move(found).error();
  co_return found->offset < 0 ? end : found->offset;
}

}  // namespace

Result<> PipelinesImpl::begin() {
  MR_TRY(drop_orphans());
  const auto snapshot = around_.catalog.snapshot();
  for (const auto* object : snapshot->list()) {
    if (object->kind != catalog::Kind::kPipeline) continue;
    if (const auto started = start(*object); !started) {
      logging::error("cannot start a transform",
                     {{"transform", object->name}, {"reason", started.error().text}});
    }
  }
  home_.spawn(gate_, keep_looking());
  return {};
}

Result<> PipelinesImpl::drop_orphans() {
  const auto snapshot = around_.catalog.snapshot();
  for (const auto& topic : around_.broker.list()) {
    const std::string_view name = topic->object.name;
    if (!name.starts_with(catalog::kPipelineStatePrefix)) continue;
    const auto id = Uuid::parse(name.substr(catalog::kPipelineStatePrefix.size()));
    if (id && snapshot->find(*id)) continue;
    MR_TRY(home_.block_on(around_.broker.drop(topic->object.name)));
  }
  return {};
}

size_t PipelinesImpl::partitions_of(const std::vector<std::string>& topics) const {
  size_t most = 0;
  for (const auto& name : topics) {
    if (const auto topic = around_.broker.find(name)) {
      most = std::max(most, topic->partitions.size());
    }
  }
  return most;
}

Result<std::shared_ptr<const Topic>> PipelinesImpl::state_topic(const Object& pipeline,
                                                                size_t partitions) {
  auto name = catalog::pipeline_state_topic(pipeline);
  auto topic = around_.broker.find(name);
  if (topic && topic->partitions.size() >= partitions) return topic;
  Object object;
  object.name = std::move(name);
  object.internal = true;
  object.partitions = static_cast<int32_t>(partitions);
  object.options = {{"cleanup.policy", "compact"},
                    {"segment.bytes", kSegmentBytes},
                    {"max.message.bytes", kBatchBytesMax}};
  return home_.block_on(around_.broker.create(std::move(object), topic != nullptr, false));
}

Result<> PipelinesImpl::prepare(const Object& pipeline, const Object* old) {
  const auto inputs = catalog::pipeline_topics(pipeline, catalog::kPipelineInputs);
  const auto known =
      old ? catalog::pipeline_topics(*old, catalog::kPipelineInputs) : std::vector<std::string>();
  MR_TRY(const auto states, state_topic(pipeline, partitions_of(inputs)));
  for (const auto& input : inputs) {
    if (std::ranges::find(known, input) != known.end()) continue;
    const auto topic = around_.broker.find(input);
    if (!topic) {
      return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", input)};
    }
    for (size_t i = 0; i < topic->partitions.size(); ++i) {
      auto noting = note_start(states->partitions[i], input, topic->partitions[i],
                               catalog::pipeline_option(pipeline, catalog::kPipelineStart));
      MR_TRY(home_.block_on(std::move(noting)));
    }
  }
  return {};
}

io::Task<Result<>> PipelinesImpl::note_start(std::shared_ptr<Partition> states, std::string input,
                                             std::shared_ptr<Partition> partition,
                                             std::string start) {
  MR_CO_TRY(const auto at, co_await offset_of(std::move(partition), std::move(start)));
  log::BatchBuilder batch;
  batch.add(around_.env.now_ms(), PipelineState::position_key(input), std::to_string(at));
  MR_CO_TRY(co_await states->append(batch.finish(), log::Ack::kDurable));
  co_return Result<>();
}

void PipelinesImpl::add_task(Running& running) {
  const auto partition = static_cast<int32_t>(running.tasks.size());
  auto& shard = around_.runtime.shard_of(std::hash<std::string>()(running.plan->object.name) +
                                         running.tasks.size());
  running.tasks.push_back(std::make_shared<PipelineTask>(around_, options_, state_bytes_,
                                                         running.plan, partition, shard));
  running.tasks.back()->begin();
}

Result<> PipelinesImpl::start(const Object& pipeline) {
  stop(pipeline.name);
  std::lock_guard changing(changing_);
  Running running{plan_of(pipeline, *around_.catalog.snapshot()), {}};
  const size_t count = partitions_of(running.plan->inputs);
  MR_TRY(const auto states, state_topic(pipeline, count));
  if (running.plan->stateful && states->partitions.size() != count) {
    running.plan->fail("the inputs of an aggregate have got partitions: its keys have moved");
  }
  std::lock_guard lock(mutex_);
  if (closed_) return Error{ErrorCode::kShuttingDown, "the node is stopping"};
  for (size_t i = 0; i < count; ++i) add_task(running);
  running_.insert_or_assign(pipeline.name, std::move(running));
  return {};
}

void PipelinesImpl::stop(std::string_view name) {
  std::lock_guard changing(changing_);
  Running running;
  {
    std::lock_guard lock(mutex_);
    const auto found = running_.find(name);
    if (found == running_.end()) return;
    running = std::move(found->second);
    running_.erase(found);
  }
  for (const auto& task : running.tasks) home_.block_on(task->close());
}

Result<> PipelinesImpl::forget(const Object& pipeline) {
  const auto name = catalog::pipeline_state_topic(pipeline);
  for (const auto& input : catalog::pipeline_topics(pipeline, catalog::kPipelineInputs)) {
    const auto topic = around_.broker.find(input);
    if (!topic) continue;
    for (const auto& partition : topic->partitions) {
      MR_TRY(home_.block_on(partition->hold("transform " + name, std::nullopt)));
    }
  }
  return around_.broker.find(name) ? home_.block_on(around_.broker.drop(name)) : Result<>();
}

io::Task<void> PipelinesImpl::keep_looking() {
  while (!gate_.closed()) {
    co_await home_.sleep(options_.look_interval, &gate_);
    std::vector<std::string> names;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [name, running] : running_) {
        const bool works = !running.plan->failed && !running.plan->paused;
        if (works && partitions_of(running.plan->inputs) > running.tasks.size()) {
          names.push_back(name);
        }
      }
    }
    for (auto& name : names) {
      if (!gate_.closed()) co_await look(std::move(name));
    }
  }
}

io::Task<void> PipelinesImpl::look(std::string name) {
  std::shared_ptr<PipelinePlan> plan;
  {
    std::lock_guard lock(mutex_);
    const auto found = running_.find(name);
    if (found == running_.end()) co_return;
    plan = found->second.plan;
  }
  if (plan->stateful) {
    plan->fail("the inputs of an aggregate have got partitions: its keys have moved");
    co_return;
  }
  const size_t count = partitions_of(plan->inputs);
  if (const auto grown = co_await grow(plan->object, count); !grown) {
    logging::warn("a transform cannot take an input's new partitions yet",
                  {{"transform", name}, {"reason", grown.error().text}});
    co_return;
  }
  std::lock_guard lock(mutex_);
  const auto found = running_.find(name);
  if (closed_ || found == running_.end() || found->second.plan != plan) co_return;
  while (found->second.tasks.size() < count) add_task(found->second);
}

io::Task<Result<>> PipelinesImpl::grow(const Object& pipeline, size_t partitions) {
  const auto topic = around_.broker.find(catalog::pipeline_state_topic(pipeline));
  if (!topic) co_return Error{ErrorCode::kUndefinedObject, "its topic is missing"};
  if (topic->partitions.size() >= partitions) co_return Result<>();
  auto object = topic->object;
  object.partitions = static_cast<int32_t>(partitions);
  auto growing = around_.broker.create(std::move(object), true, false);
  MR_CO_TRY(co_await std::move(growing));
  co_return Result<>();
}

std::vector<PipelineStatus> PipelinesImpl::status() const {
  std::vector<PipelineStatus> out;
  std::lock_guard lock(mutex_);
  for (const auto& [name, running] : running_) {
    auto& sum = out.emplace_back();
    sum.name = name;
    std::string retrying;
    bool started = true;
    for (const auto& task : running.tasks) {
      const auto counts = task->counts();
      const auto& each = counts.sums;
      if (retrying.empty()) retrying = counts.retrying;
      started &= counts.started;
      add(sum, each);
      sum.state_keys += each.state_keys;
      sum.state_bytes += each.state_bytes;
      sum.lag += each.lag;
    }
    const auto failure = running.plan->failure();
    sum.state = running.plan->paused ? "paused"
                : !failure.empty()   ? "failed"
                : !retrying.empty()  ? "retrying"
                : !started           ? "starting"
                                     : "running";
    sum.reason = running.plan->paused ? "" : failure.empty() ? retrying : failure;
  }
  return out;
}

void PipelinesImpl::close() {
  std::vector<std::string> names;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    for (const auto& [name, running] : running_) names.push_back(name);
  }
  home_.block_on(home_.call(gate_.close()));
  for (const auto& name : names) stop(name);
}

}  // namespace detail

Result<std::unique_ptr<Pipelines>> Pipelines::open(Surroundings surroundings, Options options) {
  auto pipelines = std::make_unique<detail::PipelinesImpl>(surroundings, options);
  MR_TRY(pipelines->begin());
  return std::unique_ptr<Pipelines>(std::move(pipelines));
}

}  // namespace millrace::broker
