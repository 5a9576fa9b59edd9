#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "flow/detail/dead_letters.h"
#include "flow/detail/lanes.h"
#include "flow/detail/sink.h"
#include "flow/detail/source_registry.h"
#include "flow/detail/view.h"
#include "flow/detail/view_relation.h"
#include "flow/flows.h"

namespace millrace::flow {

/// The views that run, for metrics at the time of a scrape and for subscriptions; outlives the
/// flows.
struct RunningViews {
  std::shared_ptr<View> find(const std::string& name) {
    std::lock_guard lock(mutex);
    const auto found = views.find(name);
    return found == views.end() ? nullptr : found->second.lock();
  }

  void set(const std::string& name, const std::shared_ptr<View>& view) {
    std::lock_guard lock(mutex);
    views[name] = view;
  }

  std::mutex mutex;
  std::map<std::string, std::weak_ptr<View>> views;
};

class BridgeBuilder;
class Periodic;

/// The views of a node, by the names of their objects; a replacement has one of its own until it
/// takes the place of another (detail/replacing.cc).
class FlowsImpl : public Flows {
 public:
  FlowsImpl(io::Runtime& runtime, io::Env& env, broker::Broker& broker, sql::Engine& engine,
            Options options);
  ~FlowsImpl() override { stop(); }

  Result<> check(const catalog::Object& view) override;
  Result<> add(const catalog::Object& view) override;
  Result<> remove(const std::string& name) override;
  Result<std::string> describe(const std::string& name) override;
  std::vector<ViewStatus> status() override;
  std::shared_ptr<sql::Relation> find(const std::string& name) override;
  Result<std::unique_ptr<sql::Subscription>> subscribe(const std::string& name,
                                                       sql::SubscribeOptions options) override;
  Result<> wait_caught_up(const std::string& name, std::chrono::milliseconds limit) override;
  void stop() override;

 private:
  struct Entry {
    std::shared_ptr<View> view;
    std::shared_ptr<ViewRelation> relation;  // with the object as the catalog has it
  };

  std::string snapshot_folder(const catalog::Object& view) const;
  Result<std::unique_ptr<Dataflow>> plan(const catalog::Object& view, size_t shares);
  Result<View::Parts> assemble(const catalog::Object& object);
  Result<> connect(View::Parts& parts);
  Result<> wait_caught_up(const std::string& name, Clock::time_point deadline);
  Entry entry(const std::string& name);
  std::shared_ptr<View> view(const std::string& name);
  void listen(const std::shared_ptr<View>& view);
  void let_go(const std::shared_ptr<View>& view, bool release_holds);
  /// It needs nothing of its inputs any more.
  void release_inputs(const std::shared_ptr<View>& view);
  /// What writes a sink's topic, beside the view of its query.
  Result<> start_sink(const catalog::Object& object,
                      const std::shared_ptr<broker::Partition>& changelog);
  void stop_sink(const std::string& name, bool release_holds);
  void report_lag();
  Result<> start(catalog::Object object);
  void start_again(const catalog::Object& object);
  std::optional<Entry> take(const std::string& name);
  /// Starts views anew whose inputs are not what they were: they recover with what is there now.
  void refresh();
  bool is_stale(const View& view) const;
  /// Replacements that have caught up take their place, on a thread that may wait.
  void look_at_replacements();
  void put_in_place(const std::string& name);
  Result<> swap(const std::string& name, const Entry& next);
  /// The same of a view whose changelog goes on, since others stand in it.
  Result<> bridge_over(const std::string& name, const Entry& next);
  Result<> change_over(const std::string& name, const Entry& next, BridgeBuilder& bridge,
                       catalog::Object& object, std::string& epoch);
  Result<> check_bridge(const catalog::Object& object, const BridgeBuilder& bridge);
  void end_attempt(const std::string& name, const Entry& next, const Error& why);
  Result<> finish_bridge(catalog::Object& view);
  bool is_bridged_over(const catalog::Object& replacement) const;
  void forget(const catalog::Object& object);

  const std::shared_ptr<StateBudget> budget_;
  io::Runtime& runtime_;
  io::Env& env_;
  broker::Broker& broker_;
  sql::Engine& engine_;
  const Options options_;
  SourceRegistry sources_;
  std::vector<std::unique_ptr<io::Gate>> gates_;  // one a shard
  std::shared_ptr<Lanes> lanes_;
  std::shared_ptr<Background> background_ = std::make_shared<Background>();  // writes snapshots
  std::shared_ptr<DeadLetters> dead_letters_;
  std::shared_ptr<Periodic> refresh_;
  std::shared_ptr<Periodic> replace_;
  Background replacing_;
  std::shared_ptr<RunningViews> running_ = std::make_shared<RunningViews>();

  std::mutex changing_;  // one view is added or removed at a time
  std::mutex mutex_;
  std::map<std::string, Entry> views_;
  std::map<std::string, std::shared_ptr<Sink>> sinks_;  // by the name of their view
  std::map<std::string, Error> not_started_;
  bool stopped_ = false;
  bool swapping_ = false;  // a replacement is taking its place
};

/// Where the view's inputs end now.
View::Positions ends_of(const View& view);
Error no_such_view(const std::string& name);

}  // namespace millrace::flow
