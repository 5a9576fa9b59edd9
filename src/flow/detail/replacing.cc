#include <filesystem>

#include "base/logging.h"
#include "catalog/replacement.h"
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
  return (data / "views" / catalog::changelog_id(view)).string();
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

}  // namespace millrace::flow
