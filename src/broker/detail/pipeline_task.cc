#include "broker/detail/pipeline_task.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/dead_letter.h"
#include "broker/detail/look_back.h"
#include "catalog/pipeline.h"
#include "log/recompress.h"
#include "log/stamp.h"

namespace millrace::broker::detail {

namespace {

/// What is read of all inputs for one transaction.
constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kLoadBytes = 1 << 20;
/// What waits for records looks around now and then.
constexpr auto kIdle = std::chrono::seconds(1);
constexpr int32_t kTransactionTimeoutMs = 60'000;

/// What another attempt would meet again.
bool is_final(ErrorCode code) {
  switch (code) {
    case ErrorCode::kGuestFailed:
    case ErrorCode::kInvalidRecord:
    case ErrorCode::kInvalidTimestamp:
    case ErrorCode::kRecordTooLarge:
    case ErrorCode::kCorruptRecord:
    case ErrorCode::kUndefinedFunction:
    case ErrorCode::kUndefinedObject:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kInvalidPartitions:
      return true;
    default:
      return false;
  }
}

/// Makes `batches`, the first of their transaction in a partition, the producer's.
void stamp_all(std::string& batches, const Producer& producer) {
  std::string out;
  std::string_view rest = batches;
  int32_t sequence = 0;
  while (const auto header = log::parse_batch_header(rest)) {
    std::string batch(rest.substr(0, header->total_bytes()));
    rest.remove_prefix(batch.size());
    log::stamp_transactional(batch, {producer.id, producer.epoch, sequence});
    sequence += header->record_count;
    out += batch;
  }
  batches = std::move(out);
}

}  // namespace

void PipelinePlan::fail(std::string why) {
  std::lock_guard lock(mutex_);
  if (failed.exchange(true)) return;
  why_ = std::move(why);
}

std::string PipelinePlan::failure() const {
  std::lock_guard lock(mutex_);
  return why_;
}

PipelineTask::PipelineTask(Pipelines::Surroundings& around, const Pipelines::Options& options,
                           std::atomic<size_t>& all_state_bytes, std::shared_ptr<PipelinePlan> plan,
                           int32_t partition, io::Shard& shard)
    : around_(around),
      options_(options),
      all_state_bytes_(all_state_bytes),
      plan_(std::move(plan)),
      partition_(partition),
      shard_(shard),
      id_(fmt::format("{}-{}", plan_->state_topic, partition)),
      advanced_(std::make_shared<io::Signal>(shard)),
      wake_(gate_, [signal = advanced_] { signal->notify_all(); }) {}

PipelineTask::~PipelineTask() { all_state_bytes_ -= state_bytes_; }

void PipelineTask::begin() { shard_.spawn(gate_, run()); }

io::Task<void> PipelineTask::close() { return shard_.call(gate_.close()); }

io::Task<void> PipelineTask::run() {
  pause_ = options_.retry_min;
  while (!gate_.closed() && !plan_->failed) {
    const auto done = co_await work();
    listen(false);
    if (done || gate_.closed()) break;
    if (is_final(done.error().code)) {
      logging::error("a transform has stopped",
                     {{"transform", plan_->object.name}, {"reason", done.error().text}});
      plan_->fail(done.error().text);
      break;
    }
    logging::warn("a transform begins again",
                  {{"transform", plan_->object.name}, {"reason", done.error().text}});
    {
      std::lock_guard lock(mutex_);
      counts_.retrying = done.error().text;
    }
    co_await shard_.sleep(pause_, &gate_);
    pause_ = std::min(pause_ * 2, options_.retry_max);
  }
}

io::Task<Result<>> PipelineTask::work() {
  MR_CO_TRY(co_await recover());
  note_started();
  if (plan_->paused) co_return Result<>();
  listen(true);
  while (!gate_.closed() && !plan_->failed) {
    MR_CO_TRY(co_await open_guests());
    MR_CO_TRY(set_terms());
    MR_CO_TRY(auto inputs, co_await gather());
    if (inputs.empty()) {
      co_await advanced_->wait_until(std::chrono::steady_clock::now() + kIdle);
      continue;
    }
    const TimestampMs now = around_.env.now_ms();
    auto guests = [this, &inputs, now] {
      return run_pipeline(*chain_.guests, terms_, state_, now, inputs);
    };
    auto running = chain_.guests->on_lane(std::move(guests));
    auto result = co_await std::move(running);
    note_guests();
    note_state();
    if (result.error) co_return std::move(*result.error);
    if (all_state_bytes_ > options_.state_bytes_max) {
      co_return Error{ErrorCode::kInvalidArgument,
                      fmt::format("the states of aggregates take {} bytes, more than there are for "
                                  "them ({})",
                                  all_state_bytes_.load(), options_.state_bytes_max)};
    }
    for (const auto& input : inputs) {
      for (auto& each : inputs_) {
        if (each.index == input.input) each.at = input.next;
      }
    }
    MR_CO_TRY(co_await commit(std::move(result)));
  }
  co_return Result<>();
}

Result<> PipelineTask::find_inputs() {
  inputs_.clear();
  for (size_t i = 0; i < plan_->inputs.size(); ++i) {
    const auto topic = around_.broker.find(plan_->inputs[i]);
    if (!topic) {
      return Error{ErrorCode::kUndefinedObject,
                   fmt::format("there is no topic \"{}\"", plan_->inputs[i])};
    }
    if (static_cast<size_t>(partition_) >= topic->partitions.size()) continue;
    MR_TRY(const auto config, to_log_config(effective_options(topic->object)));
    inputs_.push_back({.index = i,
                       .partition = topic->partitions[static_cast<size_t>(partition_)],
                       .inflated_bytes_max = log::intake_rules(config, false).inflated_bytes_max});
  }
  const auto states = around_.broker.find(plan_->state_topic);
  if (!states || static_cast<size_t>(partition_) >= states->partitions.size()) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("partition {} of its topic {} is missing",
                                                          partition_, plan_->state_topic)};
  }
  state_log_ = states->partitions[static_cast<size_t>(partition_)];
  return {};
}

/// What is committed, once the transaction before is ended.
io::Task<Result<>> PipelineTask::recover() {
  MR_CO_TRY(find_inputs());
  if (!plan_->paused) {
    MR_CO_TRY(producer_,
              co_await around_.transactions.init(id_, kTransactionTimeoutMs, std::nullopt));
  }
  state_ = PipelineState();
  MR_CO_TRY(co_await load_state());
  note_state();
  for (auto& input : inputs_) {
    // A partition that came after the pipeline is taken from its beginning.
    input.at = state_.position(plan_->inputs[input.index]).value_or(0);
  }
  MR_CO_TRY(co_await hold_inputs());
  co_return Result<>();
}

io::Task<Result<>> PipelineTask::load_state() {
  Offset from = state_log_->start_offset();
  while (from < state_log_->last_stable_offset()) {
    MR_CO_TRY(auto read, co_await state_log_->read(from, kLoadBytes, log::Isolation::kCommitted));
    log::leave_out_aborted(read);
    auto load = [this, &read]() -> Result<> {
      Result<> sound;
      MR_TRY(log::for_each_record(read.batches, false, [&](const log::RecordView& record) {
        if (sound) sound = state_.load(record);
      }));
      return sound;
    };
    auto loading = around_.runtime.blocking(std::move(load));
    MR_CO_TRY(co_await std::move(loading));
    if (read.next_offset <= from) break;
    from = read.next_offset;
  }
  co_return Result<>();
}

/// The functions as they are now: they change over between two transactions.
io::Task<Result<>> PipelineTask::open_guests() {
  if (chain_.guests && chain_.version == around_.transforms.version()) co_return Result<>();
  MR_CO_TRY(auto look_backs, co_await look_back());
  auto opening = around_.transforms.open_chain(
      plan_->object.transforms, "transform " + plan_->object.name, std::move(look_backs));
  MR_CO_TRY(auto opened, co_await std::move(opening));
  std::lock_guard lock(mutex_);
  if (chain_.guests) {
    const auto counters = chain_.guests->counters();
    guests_before_.failures += counters.failures;
    guests_before_.cpu_ns += counters.cpu_ns;
    guests_before_.memory_bytes = std::max(guests_before_.memory_bytes, counters.memory_bytes);
  }
  chain_ = std::move(opened);
  co_return Result<>();
}

/// What stands before its positions, so that guests begin after a crash as they would have gone on.
io::Task<Result<LookBacks>> PipelineTask::look_back() {
  LookBacks out;
  for (const auto& step : plan_->object.transforms) {
    auto& records = out.emplace_back();
    MR_CO_TRY(const auto wanted, look_back_of(step));
    if (!wanted) continue;
    std::vector<LookBackSource> sources;
    for (const auto& input : inputs_) {
      sources.push_back(
          {.partition = input.partition,
           .end = input.at,
           .pipeline = true,
           .input = plan_->inputs.size() > 1 ? plan_->inputs[input.index] : std::string()});
    }
    auto reading = read_look_back(std::move(sources), *wanted, around_.env.now_ms());
    MR_CO_TRY(records, co_await std::move(reading));
  }
  co_return out;
}

/// The outputs as they are now: they may have got partitions, or other options.
Result<> PipelineTask::set_terms() {
  terms_.inputs = plan_->inputs;
  terms_.stateful = plan_->stateful;
  terms_.partition = partition_;
  terms_.on_error = plan_->object.transforms.front().on_error;
  terms_.steps.clear();
  for (const auto& step : plan_->object.transforms) {
    terms_.steps.push_back(step.function + "." + step.export_name);
  }
  terms_.outputs.clear();
  for (const auto& name : plan_->outputs) {
    const auto topic = around_.broker.find(name);
    if (!topic) {
      return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", name)};
    }
    MR_TRY(const auto config, to_log_config(effective_options(topic->object)));
    terms_.outputs.push_back({.topic = name,
                              .partitions = topic->partitions.size(),
                              .batch_bytes_max = config.batch_bytes_max,
                              .keys_required = config.cleanup_compact});
  }
  return {};
}

io::Task<Result<std::vector<PipelineInput>>> PipelineTask::gather() {
  std::vector<PipelineInput> out;
  const size_t share = kReadBytes / std::max<size_t>(inputs_.size(), 1);
  for (auto& input : inputs_) {
    auto& partition = *input.partition;
    if (input.at < partition.start_offset()) {
      logging::warn("a transform's input was deleted before it was taken",
                    {{"transform", plan_->object.name},
                     {"topic", partition.topic()},
                     {"partition", partition.index()},
                     {"from", input.at},
                     {"until", partition.start_offset()}});
      input.at = partition.start_offset();
    }
    while (input.at < partition.last_stable_offset()) {
      MR_CO_TRY(auto read, co_await partition.read(input.at, share, log::Isolation::kCommitted));
      log::leave_out_aborted(read);
      if (read.next_offset <= input.at) break;
      if (read.batches.empty()) {  // an aborted transaction
        input.at = read.next_offset;
        continue;
      }
      out.push_back({.input = input.index,
                     .from = input.at,
                     .next = read.next_offset,
                     .batches = std::move(read.batches),
                     .inflated_bytes_max = input.inflated_bytes_max});
      break;
    }
  }
  co_return out;
}

std::map<std::string, Offset> PipelineTask::positions() const {
  std::map<std::string, Offset> out;
  for (const auto& input : inputs_) out.emplace(plan_->inputs[input.index], input.at);
  return out;
}

io::Task<Result<>> PipelineTask::commit(PipelineResult result) {
  const auto at = positions();
  const bool alone = result.outputs.empty() && result.letters.empty() && !state_.has_changes();
  PipelineResult done;
  done.records_in = result.records_in;
  done.records_out = result.records_out;
  done.record_errors = result.record_errors;
  if (alone) {
    // One batch: there is nothing that it could come apart from.
    auto batch = state_.changes(at, around_.env.now_ms());
    MR_CO_TRY(co_await state_log_->append(std::move(batch), log::Ack::kDurable));
  } else {
    MR_CO_TRY(auto appends, co_await appends_of(std::move(result)));
    MR_CO_TRY(co_await write(std::move(appends)));
  }
  state_.commit(at);
  pause_ = options_.retry_min;
  note(done);
  note_state();
  co_return co_await hold_inputs();
}

io::Task<Result<std::vector<PipelineTask::Append>>> PipelineTask::appends_of(
    PipelineResult result) {
  std::vector<Append> out;
  for (auto& [at, batches] : result.outputs) {
    const auto topic = around_.broker.find(terms_.outputs[at.first].topic);
    if (!topic || at.second >= topic->partitions.size()) {
      co_return Error{ErrorCode::kUndefinedObject,
                      fmt::format("topic \"{}\" has gone", terms_.outputs[at.first].topic)};
    }
    out.push_back({topic->partitions[at.second], std::move(batches), {}});
  }
  for (auto& [input, batches] : result.letters) {
    auto source = around_.broker.find(plan_->inputs[input]);
    if (!source) {
      co_return Error{ErrorCode::kUndefinedObject,
                      fmt::format("topic \"{}\" has gone", plan_->inputs[input])};
    }
    auto opening = open_dead_letters(around_.broker, std::move(source));
    MR_CO_TRY(auto letters, co_await std::move(opening));
    out.push_back({std::move(letters), std::move(batches), {}});
  }
  out.push_back({state_log_, state_.changes(positions(), around_.env.now_ms()), {}});
  co_return out;
}

/// All of `appends` in one transaction.
io::Task<Result<>> PipelineTask::write(std::vector<Append> appends) {
  std::vector<std::shared_ptr<Partition>> partitions;
  for (auto& each : appends) {
    stamp_all(each.batches, producer_);
    partitions.push_back(each.partition);
  }
  {
    auto admitting = around_.transactions.admit(id_, producer_, std::move(partitions), true);
    MR_CO_TRY(auto admitted, co_await std::move(admitting));
    for (const auto& each : admitted.partitions) {
      if (!each) co_return each.error();
    }
    io::Gate all;
    for (auto& each : appends) shard_.spawn(all, append(each));
    co_await all.close();
    MR_CO_TRY(co_await around_.transactions.recorded(admitted.admission));
  }
  for (auto& each : appends) MR_CO_TRY(std::move(each.outcome));
  MR_CO_TRY(producer_, co_await around_.transactions.end(id_, producer_, true, true));
  co_return Result<>();
}

io::Task<void> PipelineTask::append(Append& append) {
  auto appended = co_await append.partition->append(std::move(append.batches), log::Ack::kDurable);
  if (!appended) append.outcome = std::move(appended).error();
}

/// Retention keeps what is not yet taken.
io::Task<Result<>> PipelineTask::hold_inputs() {
  for (const auto& input : inputs_) {
    MR_CO_TRY(co_await input.partition->hold("transform " + plan_->state_topic, input.at));
  }
  std::lock_guard lock(mutex_);
  read_.clear();
  for (const auto& input : inputs_) read_.emplace_back(input.partition, input.at);
  co_return Result<>();
}

void PipelineTask::listen(bool on) {
  for (const auto& input : inputs_) {
    std::function<void()> wake;
    if (on) {
      wake = [&shard = shard_, weak = std::weak_ptr(advanced_)] {
        shard.post([weak] {
          if (const auto signal = weak.lock()) signal->notify_all();
        });
      };
    }
    input.partition->on_advance(id_, std::move(wake));
  }
}

void PipelineTask::note_started() {
  std::lock_guard lock(mutex_);
  counts_.started = true;
  counts_.retrying.clear();
}

void PipelineTask::note(const PipelineResult& result) {
  std::lock_guard lock(mutex_);
  auto& sums = counts_.sums;
  ++sums.batches;
  sums.records_in += result.records_in;
  sums.records_out += result.records_out;
  sums.record_errors += result.record_errors;
}

void PipelineTask::note_guests() {
  const auto counters = chain_.guests->counters();
  std::lock_guard lock(mutex_);
  counts_.sums.failures = guests_before_.failures + counters.failures;
  counts_.sums.cpu_ns = guests_before_.cpu_ns + counters.cpu_ns;
  counts_.sums.memory_bytes = std::max(guests_before_.memory_bytes, counters.memory_bytes);
}

void PipelineTask::note_state() {
  const size_t before = std::exchange(state_bytes_, state_.bytes());
  all_state_bytes_ += state_bytes_ - before;
  std::lock_guard lock(mutex_);
  counts_.sums.state_keys = state_.keys();
  counts_.sums.state_bytes = state_bytes_;
}

TaskCounts PipelineTask::counts() const {
  std::lock_guard lock(mutex_);
  auto counts = counts_;
  for (const auto& [partition, at] : read_) {
    counts.sums.lag += std::max<Offset>(0, partition->last_stable_offset() - at);
  }
  return counts;
}

}  // namespace millrace::broker::detail
