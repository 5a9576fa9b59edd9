#include "flow/flows.h"

#include <fmt/format.h>

#include <charconv>
#include <thread>

#include "base/logging.h"
#include "catalog/replacement.h"
#include "catalog/sink.h"
#include "flow/detail/bridge.h"
#include "flow/detail/closes_check.h"
#include "flow/detail/flows_impl.h"
#include "flow/detail/spread.h"
#include "flow/detail/subscription.h"
#include "sql/view_options.h"

namespace millrace::flow {

namespace {

// How soon a view sees that an input has more partitions.
constexpr auto kRefresh = std::chrono::seconds(1);
// Of a new view's dataflow: more would cut chunks too small.
constexpr size_t kSharesMax = 8;
// Of an epoch's input, from which on its shares are stepped by several lanes.
constexpr size_t kSpreadRows = 512;
// How often is looked whether a view that was closed is back.
constexpr auto kClosedLook = std::chrono::milliseconds(5);
// How often is looked whether a replacement has caught up.
constexpr auto kReplaceLook = std::chrono::milliseconds(100);

/// A topic's watermark_idle_timeout.
int64_t idle_timeout_us(const catalog::Object& topic) {
  const auto text = broker::effective_options(topic)["watermark.idle.timeout.ms"];
  int64_t ms = -1;
  std::from_chars(text.data(), text.data() + text.size(), ms);
  return ms < 0 ? Watermark::kNever : ms * 1000;
}

}  // namespace

/// Does something again and again on a lane.
class Periodic : public Job {
 public:
  Periodic(std::chrono::milliseconds every, std::function<void()> work)
      : every_(every), work_(std::move(work)) {}
  std::optional<Clock::time_point> run() override {
    work_();
    return Clock::now() + every_;
  }

 private:
  const std::chrono::milliseconds every_;
  const std::function<void()> work_;
};

size_t decoded_bytes_max(const Flows::Options& options) {
  constexpr size_t kMost = 64u << 20;
  return options.state_bytes_max == 0 ? kMost : std::min(kMost, options.state_bytes_max / 8);
}

FlowsImpl::FlowsImpl(io::Runtime& runtime, io::Env& env, broker::Broker& broker,
                     sql::Engine& engine, Options options)
    : budget_(std::make_shared<StateBudget>(StateBudget::Limits{
          options.state_bytes_max, options.resident_bytes_max, options.spill_folder})),
      runtime_(runtime),
      env_(env),
      broker_(broker),
      engine_(engine),
      options_(options),
      sources_(env, broker, engine, decoded_bytes_max(options)),
      lanes_(std::make_shared<Lanes>(options.lanes)),
      dead_letters_(std::make_shared<DeadLetters>(env, broker, sources_, lanes_)),
      refresh_(std::make_shared<Periodic>(kRefresh, [this] { refresh(); })),
      replace_(std::make_shared<Periodic>(kReplaceLook, [this] { look_at_replacements(); })) {
  for (size_t i = 0; i < runtime.shard_count(); ++i) gates_.push_back(std::make_unique<io::Gate>());
  report_lag();
  lanes_->wake(dead_letters_);
  lanes_->wake(refresh_);
  lanes_->wake(replace_);
}

View::Positions ends_of(const View& view) {
  View::Positions ends;
  for (const auto& source : view.sources()) {
    auto& marks = ends.emplace_back();
    for (const auto& partition : source.source->topic().partitions)
      marks.push_back(partition->last_stable_offset());
  }
  return ends;
}

Error no_such_view(const std::string& name) {
  return Error{ErrorCode::kUndefinedObject, fmt::format("there is no materialized view {}", name)};
}

Result<std::unique_ptr<Dataflow>> FlowsImpl::plan(const catalog::Object& view, size_t shares) {
  std::vector<sql::PlannedQuery> plans;
  for (size_t i = 0; i < shares; ++i) {
    MR_TRY(auto query, engine_.plan(view.query));
    plans.push_back(std::move(query));
  }
  const bool on_close = sql::ViewOptions::of(view).emit_on_window_close;
  return translate(std::move(plans), on_close ? Emit::kOnWindowClose : Emit::kChanges,
                   {lanes_.get(), kSpreadRows});
}

Result<> FlowsImpl::check(const catalog::Object& view) {
  MR_TRY(auto dataflow, plan(view, 1));
  MR_TRY(ChangelogWriter::make(dataflow->names(), dataflow->types()));
  if (catalog::is_sink(view) && view.options.at("sink.format") == "plain" &&
      !dataflow->append_only())
    return Error{ErrorCode::kNotSupported,
                 fmt::format("a sink of format 'plain' writes rows that stay, and this query takes "
                             "rows back: {}",
                             dataflow->retracts()),
                 std::nullopt, "Use format = 'upsert' with a key, or format = 'debezium'."};
  if (sql::ViewOptions::of(view).emit_on_window_close)
    MR_TRY(check_closes(*dataflow, env_.now_ms() * 1000,
                        [this](const catalog::Object& read) { return plan(read, 1); }));
  return {};
}

Result<View::Parts> FlowsImpl::assemble(const catalog::Object& object) {
  View::Parts parts;
  parts.object = object;
  parts.memory = std::make_shared<StateMemory>(budget_);
  const StateMemory::Scope scope(parts.memory);
  if (catalog::is_replacement(object)) {
    parts.object.name = object.options.at(catalog::kReplacesOption);
    parts.object.internal = catalog::as_stated(object).internal;
  }
  const auto topic = broker_.find(object.name);
  if (!topic || topic->partitions.empty()) return no_such_view(object.name);
  parts.changelog = topic->partitions[0];
  const auto bridge = catalog::bridge_of(object);
  const Offset began = bridge ? bridge->at : parts.changelog->start_offset();
  MR_TRY(const auto first, find_commit(*parts.changelog, began));
  parts.shares = first ? first->shares : std::clamp<size_t>(options_.lanes, 1, kSharesMax);
  MR_TRY(parts.dataflow, plan(object, parts.shares));
  MR_TRY(parts.writer, ChangelogWriter::make(parts.dataflow->names(), parts.dataflow->types()));
  const auto on_error = object.options.find("on_error");
  if (on_error == object.options.end() || on_error->second == "dead_letter")
    parts.letters =
        std::make_unique<ViewLetters>(broker_, object, parts.changelog, ViewLetters::Kind::kFailed);
  if (sql::ViewOptions::of(object).keep_late)
    parts.late =
        std::make_unique<ViewLetters>(broker_, object, parts.changelog, ViewLetters::Kind::kLate);
  MR_TRY(connect(parts));
  parts.snapshots =
      std::make_unique<SnapshotFiles>(env_, parts.changelog->shard(), snapshot_folder(object));
  parts.background = background_;
  return parts;
}

Result<> FlowsImpl::connect(View::Parts& parts) {
  std::map<std::string, size_t> by_name;
  std::vector<std::vector<size_t>> columns;  // what is read of each source
  for (const auto& wanted : parts.dataflow->inputs()) {
    const auto& name = wanted.object.name;
    const auto [at, added] = by_name.emplace(name, parts.sources.size());
    if (added) {
      MR_TRY(auto source, sources_.get(name));
      parts.sources.push_back({std::move(source), nullptr, {}, std::nullopt, {}});
      columns.emplace_back();
    }
    auto& source = parts.sources[at->second];
    ViewInput input;
    input.source = at->second;
    input.columns = wanted.columns;
    if (source.is_table()) {
      const auto gives =
          wanted.append_only ? UpsertInput::Gives::kVersions : UpsertInput::Gives::kChanges;
      MR_TRY(input.upsert, UpsertInput::make(wanted.object, wanted.columns, gives));
      input.columns = input.upsert->columns();
    } else if (source.source->watermark_column()) {
      const auto found = std::ranges::find(input.columns, *source.source->watermark_column());
      if (found != input.columns.end()) {
        input.frontier_column = found - input.columns.begin();
        source.watermark.emplace(source.source->topic().partitions.size(),
                                 idle_timeout_us(source.source->object()));
      }
    }
    auto& all = columns[at->second];
    all.insert(all.end(), input.columns.begin(), input.columns.end());
    parts.inputs.push_back(std::move(input));
  }
  for (size_t i = 0; i < parts.sources.size(); ++i) {
    auto& source = parts.sources[i];
    MR_TRY(source.reader, source.source->subscribe(std::move(columns[i])));
    source.positions.resize(source.source->topic().partitions.size());
  }
  return {};
}

Result<> FlowsImpl::add(const catalog::Object& object) {
  std::lock_guard changing(changing_);
  if (is_bridged_over(object)) return {};  // what it was for has its log
  if (const auto running = view(object.name)) {
    running->set_paused(object.options.contains("paused"));
    lanes_->wake(running);
    std::lock_guard lock(mutex_);
    views_[object.name].relation = std::make_shared<ViewRelation>(running, object);
    return {};
  }
  auto started = start(object);
  std::lock_guard lock(mutex_);
  not_started_.erase(object.name);
  if (!started) not_started_.emplace(object.name, started.error());
  return started;
}

Result<> FlowsImpl::start(catalog::Object object) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return Error{ErrorCode::kShuttingDown, "the node is stopping"};
  }
  MR_TRY(finish_bridge(object));
  MR_TRY(auto parts, assemble(object));
  const auto changelog = parts.changelog;
  const size_t shard = changelog->shard().index();
  auto view = std::make_shared<View>(env_, options_, *lanes_, std::move(parts));
  view->set_paused(object.options.contains("paused"));
  const std::weak_ptr<View> job = view;
  const std::weak_ptr<Lanes> lanes = lanes_;
  auto wake = [job, lanes] {
    const auto alive = job.lock();
    const auto running = lanes.lock();
    if (alive && running) running->wake(alive);
  };
  auto opened = view->open(*gates_[shard], wake);
  if (opened && catalog::is_sink(object)) opened = start_sink(object, changelog);
  if (!opened) {
    let_go(view, true);
    return opened;
  }
  {
    std::lock_guard lock(mutex_);
    views_[object.name] = {view, std::make_shared<ViewRelation>(view, object)};
  }
  if (!catalog::is_replacement(object)) running_->set(object.name, view);
  listen(view);
  wake();
  lanes_->wake(dead_letters_);  // its topics may be new
  return {};
}

void FlowsImpl::listen(const std::shared_ptr<View>& view) {
  const std::weak_ptr<View> job = view;
  const std::weak_ptr<Lanes> lanes = lanes_;
  for (const auto& source : view->sources())
    for (const auto& partition : source.source->topic().partitions)
      partition->on_advance(view->who(), [job, lanes] {
        const auto alive = job.lock();
        const auto running = lanes.lock();
        if (alive && running) running->wake(alive);
      });
}

Result<> FlowsImpl::start_sink(const catalog::Object& object,
                               const std::shared_ptr<broker::Partition>& changelog) {
  MR_TRY(auto sink, Sink::make(broker_, object, changelog));
  {
    std::lock_guard lock(mutex_);
    sinks_[object.name] = sink;
  }
  const std::weak_ptr<Sink> job = sink;
  const std::weak_ptr<Lanes> lanes = lanes_;
  changelog->on_advance("sink", [job, lanes] {
    const auto alive = job.lock();
    const auto running = lanes.lock();
    if (alive && running) running->wake(alive);
  });
  return {};
}

void FlowsImpl::stop_sink(const std::string& name, bool release_holds) {
  std::shared_ptr<Sink> sink;
  {
    std::lock_guard lock(mutex_);
    const auto found = sinks_.find(name);
    if (found == sinks_.end()) return;
    sink = std::move(found->second);
    sinks_.erase(found);
  }
  sink->changelog().on_advance("sink", nullptr);
  lanes_->remove(sink);
  sink->close(release_holds);
}

void FlowsImpl::let_go(const std::shared_ptr<View>& view, bool release_holds) {
  stop_sink(view->object().name, release_holds);
  lanes_->remove(view);
  view->close(!release_holds);
  for (const auto& source : view->sources())
    for (const auto& partition : source.source->topic().partitions)
      partition->on_advance(view->who(), nullptr);
  if (release_holds) release_inputs(view);
}

void FlowsImpl::release_inputs(const std::shared_ptr<View>& view) {
  for (const auto& source : view->sources())
    for (const auto& partition : source.source->topic().partitions) {
      auto released = partition->shard().block_on(partition->hold(view->who(), std::nullopt));
      if (!released)
        logging::warn("cannot let go of a log",
                      {{"view", view->object().name}, {"reason", released.error().text}});
    }
}

std::optional<FlowsImpl::Entry> FlowsImpl::take(const std::string& name) {
  {
    std::lock_guard lock(running_->mutex);
    running_->views.erase(name);
  }
  std::lock_guard lock(mutex_);
  not_started_.erase(name);
  const auto found = views_.find(name);
  if (found == views_.end()) return std::nullopt;
  auto entry = std::move(found->second);
  views_.erase(found);
  return entry;
}

Result<> FlowsImpl::remove(const std::string& name) {
  std::lock_guard changing(changing_);
  const auto topic = broker_.find(name);
  if (const auto entry = take(name)) let_go(entry->view, true);
  if (topic) forget(topic->object);  // it may have failed to start, and run before that
  return {};
}

bool FlowsImpl::is_stale(const View& view) const {
  if (view.starts_again()) return true;
  return std::ranges::any_of(view.sources(), [&](const auto& source) {
    const auto now = broker_.find(source.source->object().name);
    return now && !is_same(*now, source.source->topic());
  });
}

void FlowsImpl::refresh() {
  std::unique_lock changing(changing_, std::try_to_lock);
  if (!changing) return;
  std::vector<Entry> stale;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    for (const auto& [name, entry] : views_)
      if (is_stale(*entry.view)) stale.push_back(entry);
  }
  for (const auto& [view, relation] : stale) {
    auto object = relation->object();
    object.options.erase("paused");
    if (view->paused()) object.options["paused"] = "true";
    logging::info("the view is computed again",
                  {{"view", object.name},
                   {"reason", view->starts_again() ? "a snapshot" : "an input has changed"}});
    let_go(view, false);  // its rows can still be read, until the new view is there
    start_again(object);
  }
}

void FlowsImpl::start_again(const catalog::Object& object) {
  auto started = start(object);
  if (started) return;
  take(object.name);
  std::lock_guard lock(mutex_);
  not_started_.emplace(object.name, started.error());
  logging::error("cannot start a view again",
                 {{"view", object.name}, {"reason", started.error().text}});
}

FlowsImpl::Entry FlowsImpl::entry(const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto found = views_.find(name);
  return found == views_.end() ? Entry() : found->second;
}

std::shared_ptr<View> FlowsImpl::view(const std::string& name) { return entry(name).view; }

std::shared_ptr<sql::Relation> FlowsImpl::find(const std::string& name) {
  return entry(name).relation;
}

std::vector<ViewStatus> FlowsImpl::status() {
  struct Running {
    std::shared_ptr<View> view;
    std::shared_ptr<Sink> sink;
    bool crosses;  // to the place of what it replaces
  };
  std::vector<Running> running;
  std::vector<ViewStatus> all;
  std::map<std::string, ViewStatus> replacements;  // by the view that they replace
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : views_) {
      const auto sink = sinks_.find(name);
      const bool beside = catalog::is_replacement(entry.view->object()) && !entry.view->in_place();
      running.push_back({entry.view, sink == sinks_.end() ? nullptr : sink->second,
                         beside && !catalog::is_replacement(entry.relation->object())});
    }
    for (const auto& [name, why] : not_started_) {
      const auto topic = broker_.find(name);
      if (!topic) continue;  // its creation failed
      auto& failed = catalog::is_replacement(topic->object)
                         ? replacements[catalog::shown_name(topic->object)]
                         : all.emplace_back();
      failed.name = catalog::shown_name(topic->object);
      failed.kind = catalog::shown_kind(topic->object);
      failed.state = "failed";
      failed.progress = 0;
      failed.error = why.text;
    }
  }
  for (const auto& [view, sink, crosses] : running) {
    if (!crosses && catalog::is_replacement(view->object()) && !view->in_place()) {
      replacements[catalog::shown_name(view->object())] = view->status();
      continue;
    }
    auto& status = all.emplace_back(view->status());
    if (crosses) status.state = "replacing";
    const auto stopped = sink ? sink->error() : std::nullopt;
    if (!stopped) continue;
    status.state = "failed";
    status.error = stopped->text;
  }
  for (auto& status : all) {
    const auto next = replacements.find(status.name);
    if (next == replacements.end()) continue;
    status.state = "replacing";
    status.progress = next->second.progress;
    status.lag = next->second.lag;
    if (!next->second.error.empty()) status.error = "its replacement: " + next->second.error;
  }
  std::ranges::sort(all, {}, &ViewStatus::name);
  return all;
}

Result<std::unique_ptr<sql::Subscription>> FlowsImpl::subscribe(const std::string& name,
                                                                sql::SubscribeOptions options) {
  SubscriptionSource source;
  Entry found;
  {
    std::lock_guard lock(mutex_);  // a replacement changes them together
    source.topic = broker_.find(name);
    if (const auto at = views_.find(name); at != views_.end()) found = at->second;
  }
  if (!found.relation || !source.topic || source.topic->partitions.empty())
    return no_such_view(name);
  if (catalog::is_sink(found.relation->object()))
    return Error{ErrorCode::kNotSupported,
                 fmt::format("{} keeps no rows: subscribe to the sink's topic", name)};
  source.view = [running = running_, name] { return running->find(name); };
  return open_subscription(std::move(source), std::move(options));
}

Result<std::string> FlowsImpl::describe(const std::string& name) {
  const auto found = view(name);
  if (!found) return no_such_view(name);
  return found->describe();
}

Result<> FlowsImpl::wait_caught_up(const std::string& name, std::chrono::milliseconds limit) {
  return wait_caught_up(name, Clock::now() + limit);
}

Result<> FlowsImpl::wait_caught_up(const std::string& name, Clock::time_point deadline) {
  for (;;) {
    const auto found = view(name);
    if (!found) return no_such_view(name);
    for (const auto& source : found->sources()) {
      const auto& object = source.source->object();
      if (object.kind == catalog::Kind::kMaterializedView)
        MR_TRY(wait_caught_up(object.name, deadline));
    }
    auto shown = found->wait_shown(ends_of(*found), deadline);
    const bool closed = !shown && shown.error().code == ErrorCode::kCancelled;
    const bool stopping = [this] {
      std::lock_guard lock(mutex_);
      return stopped_;
    }();
    if (!closed || stopping || Clock::now() >= deadline) return shown;
    std::this_thread::sleep_for(kClosedLook);  // it is started anew, or another takes its place
  }
}

void FlowsImpl::report_lag() {
  auto& metrics = env_.metrics();
  metrics.before_render([&metrics, weak = std::weak_ptr<RunningViews>(running_)] {
    const auto report = weak.lock();
    if (!report) return;
    std::lock_guard lock(report->mutex);
    for (const auto& [name, view] : report->views)
      if (const auto alive = view.lock())
        metrics
            .gauge("millrace_flow_lag_records", "Records of the inputs not yet in the view",
                   {{"view", name}})
            .set(static_cast<double>(alive->lag()));
  });
}

void FlowsImpl::stop() {
  std::map<std::string, Entry> views;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(stopped_, true)) return;
  }
  replacing_.stop();
  lanes_->stop();
  {
    std::lock_guard lock(mutex_);
    views = views_;
  }
  for (const auto& [name, entry] : views) let_go(entry.view, false);
  background_->stop();
  dead_letters_->stop();
  for (size_t i = 0; i < gates_.size(); ++i) runtime_.shard(i).block_on(gates_[i]->close());
}

std::unique_ptr<Flows> Flows::make(io::Runtime& runtime, io::Env& env, broker::Broker& broker,
                                   sql::Engine& engine, Options options) {
  return std::make_unique<FlowsImpl>(runtime, env, broker, engine, options);
}

}  // namespace millrace::flow
