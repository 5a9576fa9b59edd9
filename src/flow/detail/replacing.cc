#include <fmt/format.h>

#include <filesystem>

#include "base/logging.h"
#include "catalog/replacement.h"
#include "catalog/sink.h"
#include "flow/detail/bridge.h"
#include "flow/detail/flows_impl.h"

// CREATE OR REPLACE MATERIALIZED VIEW: the new view is computed beside the old, and takes its
// place.

namespace millrace::flow {

namespace {

// How long a replacement may take to the last record while the view before it stands still.
constexpr auto kReplaceWait = std::chrono::seconds(30);

}  // namespace

std::string FlowsImpl::snapshot_folder(const catalog::Object& view) const {
  const auto data = std::filesystem::path(broker_.options().path).parent_path();
  return (data / "views" / catalog::state_id(view)).string();
}

void FlowsImpl::forget(const catalog::Object& object) {
  SnapshotFiles(env_, runtime_.shard(0), snapshot_folder(object)).remove_all();
}

// ---- replacing a view

void FlowsImpl::look_at_replacements() {
  std::lock_guard lock(mutex_);
  if (stopped_ || swapping_) return;
  for (const auto& [name, entry] : views_) {
    if (!catalog::is_replacement(entry.relation->object()) || !entry.view->is_live()) continue;
    swapping_ = true;
    replacing_.push([this, name] { put_in_place(name); });
    return;
  }
}

void FlowsImpl::put_in_place(const std::string& name) {
  std::lock_guard changing(changing_);
  std::unique_lock lock(mutex_);
  const auto next = views_.find(name);
  if (next != views_.end() && !stopped_) {
    const Entry entry = next->second;
    lock.unlock();
    if (auto done = swap(name, entry); !done)
      logging::warn("a view is not replaced yet",
                    {{"view", entry.view->object().name}, {"reason", done.error().text}});
    lock.lock();
  }
  swapping_ = false;
}

/// The old view stands still, and is read, while the new one takes in the last records. Then the
/// catalog says that the new one is it; who asks for the view in that moment waits.
Result<> FlowsImpl::swap(const std::string& name, const Entry& next) {
  if (next.relation->object().options.contains(catalog::kBridgedOption))
    return bridge_over(name, next);
  auto object = catalog::as_stated(next.relation->object());
  object.options[catalog::kChangelogOption] = name;
  const auto before = broker_.find(object.name);
  if (!before) return no_such_view(object.name);
  const auto old = entry(object.name);  // it may have failed to start
  if (old.view) {
    lanes_->remove(old.view);
    old.view->close(false);
  }
  auto done = next.view->wait_shown(ends_of(*next.view), Clock::now() + kReplaceWait);
  if (done) {
    std::lock_guard lock(mutex_);
    auto topic = runtime_.shard(0).block_on(broker_.create(object, true, false));
    if (topic) {
      views_[object.name] = {next.view,
                             std::make_shared<ViewRelation>(next.view, (*topic)->object)};
      views_.erase(name);
      running_->set(object.name, next.view);
      next.view->take_place();
      not_started_.erase(object.name);
    } else {
      done = std::move(topic).error();
    }
  }
  if (old.view) let_go(old.view, done.has_value());
  if (!done) {
    if (old.view) start_again(old.relation->object());
    return done;
  }
  lanes_->wake(next.view);
  forget(before->object);
  logging::info("a view was replaced", {{"view", object.name}});
  return {};
}

// ---- under those that read it

/// As above, but the changelog goes on: an epoch in it turns the old rows into the new ones, and
/// the new view writes what follows. The catalog's record, which says where, is the moment of the
/// change; until the bridge is on the disk the replacement's log stays, so that it can be made
/// again.
Result<> FlowsImpl::bridge_over(const std::string& name, const Entry& next) {
  auto object = catalog::as_stated(next.relation->object());
  const auto before = broker_.find(object.name);
  const auto beside = broker_.find(name);
  if (!before || !beside) return no_such_view(object.name);
  BridgeBuilder bridge(before->partitions[0], beside->partitions[0]);
  MR_TRY(bridge.advance());  // most of it, while both go on
  const auto old = entry(object.name);
  if (old.view) {
    lanes_->remove(old.view);
    old.view->close(false);
  }
  std::string epoch;
  auto done = next.view->wait_shown(ends_of(*next.view), Clock::now() + kReplaceWait);
  if (done) {
    let_go(next.view, false);
    done = change_over(name, next, bridge, object, epoch);
    if (!done) end_attempt(name, next, done.error());
  }
  stop_sink(object.name, false);  // what it wrote last stays
  if (old.view) let_go(old.view, done.has_value());
  if (!done) {
    if (old.view) start_again(old.relation->object());
    return done;
  }
  auto& log = *before->partitions[0];
  const auto written = log.shard().block_on(log.append(std::move(epoch), log::Ack::kDurable));
  if (!written)  // the start tries it once more
    logging::warn("a view's changelog cannot be written",
                  {{"view", object.name}, {"reason", written.error().text}});
  start_again(object);
  release_inputs(next.view);  // the one that was just started holds them
  forget(before->object);
  logging::info("a view was replaced under those that read it", {{"view", object.name}});
  return {};
}

/// Neither view runs. Gives the bridge in `epoch` and the view as it is from now on in `object`;
/// when it fails, nothing has changed.
Result<> FlowsImpl::change_over(const std::string& name, const Entry& next, BridgeBuilder& bridge,
                                catalog::Object& object, std::string& epoch) {
  const auto before = broker_.find(object.name);
  const auto beside = broker_.find(name);
  for (const auto kind : {ViewLetters::Kind::kFailed, ViewLetters::Kind::kLate})
    MR_TRY(ViewLetters(broker_, beside->object, beside->partitions[0], kind).recover());
  MR_TRY(bridge.advance());
  MR_TRY(check_bridge(object, bridge));
  MR_TRY(epoch, bridge.bytes(options_.state_bytes_max == 0 ? SIZE_MAX : options_.state_bytes_max));
  const auto& options = before->object.options;
  if (const auto log = options.find(catalog::kChangelogOption); log != options.end())
    object.options[catalog::kChangelogOption] = log->second;
  const auto from = catalog::changelog_id(beside->object);
  object.options[catalog::kBridgeOption] =
      catalog::Bridge{bridge.at(), bridge.epoch(), from}.to_string();
  std::lock_guard lock(mutex_);
  MR_TRY(const auto topic, runtime_.shard(0).block_on(broker_.create(object, true, false)));
  object = topic->object;
  // It answers until it is started over the changelog that it goes on with.
  views_[object.name] = {next.view, std::make_shared<ViewRelation>(next.view, object)};
  views_.erase(name);
  not_started_.erase(object.name);
  return {};
}

/// What others have built upon, they must be able to take back.
Result<> FlowsImpl::check_bridge(const catalog::Object& object, const BridgeBuilder& bridge) {
  if (catalog::is_sink(object) && object.options.at("sink.format") == "plain" &&
      bridge.takes_back())
    return Error{ErrorCode::kNotSupported,
                 fmt::format("{} holds rows that the new query does not give, and a sink of format "
                             "'plain' takes none back: create a sink of another name",
                             catalog::sink_topic(object))};
  if (!bridge.changes()) return {};
  std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : views_)
    for (const auto& source : entry.view->sources()) {
      if (source.source->object().name != object.name) continue;
      for (const size_t column : source.reader->columns)
        if (bridge.bounded().contains(column))
          return Error{ErrorCode::kNotSupported,
                       fmt::format("{} reads its column \"{}\", of which it has promised that what "
                                   "lies before the watermark is final: drop {} first",
                                   catalog::shown_name(entry.view->object()),
                                   source.source->object().columns.at(column).name,
                                   catalog::shown_name(entry.view->object()))};
    }
  return {};
}

/// A replacement that did not take its place, and does not run, goes on; unless it never could.
void FlowsImpl::end_attempt(const std::string& name, const Entry& next, const Error& why) {
  if (why.code != ErrorCode::kNotSupported) return start_again(next.relation->object());
  take(name);
  release_inputs(next.view);
  std::lock_guard lock(mutex_);
  not_started_.emplace(name, why);
}

bool FlowsImpl::is_bridged_over(const catalog::Object& replacement) const {
  if (!catalog::is_replacement(replacement)) return false;
  const auto view = broker_.find(replacement.options.at(catalog::kReplacesOption));
  const auto bridge = view ? catalog::bridge_of(view->object) : std::nullopt;
  return bridge && bridge->from == catalog::changelog_id(replacement);
}

/// Writes the bridge that the view's definition speaks of, if a crash came before it, and lets the
/// replacement's log go.
Result<> FlowsImpl::finish_bridge(catalog::Object& view) {
  const auto bridge = catalog::bridge_of(view);
  const auto beside =
      bridge ? broker_.find(std::string(catalog::kChangelogPrefix) + bridge->from) : nullptr;
  if (!beside) return {};
  const auto topic = broker_.find(view.name);
  if (!topic) return no_such_view(view.name);
  auto& log = *topic->partitions[0];
  MR_TRY(const auto next, find_commit(log, bridge->at));
  if (!next || !is_bridge(*next) || next->epochs.back().epoch.number != bridge->epoch) {
    if (!next) MR_TRY(log.shard().block_on(log.truncate_to(bridge->at)));  // what was torn
    BridgeBuilder again(topic->partitions[0], beside->partitions[0]);
    MR_TRY(again.advance());
    if (next) {  // the disk had refused the record, and has it: the old view went on
      view.options[catalog::kBridgeOption] =
          catalog::Bridge{again.at(), again.epoch(), bridge->from}.to_string();
      MR_TRY(const auto changed, log.shard().block_on(broker_.create(view, true, false)));
      view = changed->object;
    }
    MR_TRY(auto epoch, again.bytes(SIZE_MAX));
    MR_TRY(log.shard().block_on(log.append(std::move(epoch), log::Ack::kDurable)));
  }
  return log.shard().block_on(broker_.drop(beside->object.name));
}

}  // namespace millrace::flow
