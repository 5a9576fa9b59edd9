#include "connect/connectors.h"

#include <fmt/format.h>

#include <map>
#include <mutex>

#include "connect/detail/connector.h"
#include "connect/detail/sink_run.h"
#include "connect/detail/source_run.h"

namespace millrace::connect {

namespace {

class ConnectorsImpl final : public Connectors {
 public:
  explicit ConnectorsImpl(Rooms rooms) : rooms_(rooms) {
    rooms_.env.metrics().before_render([weak = std::weak_ptr(running_)] {
      const auto running = weak.lock();
      if (!running) return;
      for (const auto& connector : running->list()) connector->report();
    });
  }
  ~ConnectorsImpl() override { stop(); }

  Result<> check(const catalog::Object& object) override {
    MR_TRY(recipe_of(object));
    return {};
  }

  Result<> start(const catalog::Object& object) override {
    auto recipe = recipe_of(object);
    std::lock_guard changing(changes_);
    // The one before has ended when the next begins: there are never two.
    take(object.name);
    if (stopped_) return Error{ErrorCode::kShuttingDown, "the node is stopping"};
    auto connector = std::make_shared<Connector>(rooms_, object, std::move(recipe));
    std::lock_guard lock(running_->mutex);
    running_->connectors.insert_or_assign(object.name, std::move(connector));
    return {};
  }

  Result<> remove(const catalog::Object& object) override {
    std::lock_guard changing(changes_);
    if (const auto gone = take(object.name)) gone->forget_metrics();
    if (object.kind == catalog::Kind::kSource) return SourceRun::forget(rooms_, object);
    return SinkRun::forget(rooms_, object);
  }

  void stop() override {
    std::lock_guard changing(changes_);
    stopped_ = true;
    std::map<std::string, std::shared_ptr<Connector>> all;
    {
      std::lock_guard lock(running_->mutex);
      all.swap(running_->connectors);
    }
    for (auto& [name, connector] : all) connector->stop();  // at the same time
    for (auto& [name, connector] : all) connector->end();
  }

  Result<uint64_t> feed(const std::string& source, std::string_view body) override {
    std::shared_ptr<Connector> connector;
    {
      std::lock_guard lock(running_->mutex);
      const auto found = running_->connectors.find(source);
      if (found != running_->connectors.end()) connector = found->second;
    }
    if (!connector || connector->object().kind != catalog::Kind::kSource) {
      return Error{ErrorCode::kUndefinedObject, fmt::format("there is no source \"{}\"", source)};
    }
    return connector->feed(body);
  }

  std::vector<ConnectorStatus> status() const override {
    std::vector<ConnectorStatus> out;
    for (const auto& connector : running_->list()) out.push_back(connector->status());
    return out;
  }

  std::vector<broker::TransformCounts> counts() const override {
    std::vector<broker::TransformCounts> out;
    for (const auto& connector : running_->list()) {
      if (auto counts = connector->counts()) out.push_back(std::move(*counts));
    }
    return out;
  }

 private:
  /// Shared with who renders the metrics.
  struct Running {
    std::mutex mutex;
    std::map<std::string, std::shared_ptr<Connector>> connectors;
    std::vector<std::shared_ptr<Connector>> list() {
      std::lock_guard lock(mutex);
      std::vector<std::shared_ptr<Connector>> out;
      for (const auto& [name, connector] : connectors) out.push_back(connector);
      return out;
    }
  };

  /// Ends the connector of that name; null: there is none.
  std::shared_ptr<Connector> take(const std::string& name) {
    std::shared_ptr<Connector> gone;
    {
      std::lock_guard lock(running_->mutex);
      const auto found = running_->connectors.find(name);
      if (found == running_->connectors.end()) return nullptr;
      gone = std::move(found->second);
      running_->connectors.erase(found);
    }
    gone->end();
    return gone;
  }

  const Rooms rooms_;
  std::mutex changes_;  // one at a time; may take as long as a connector takes to end
  bool stopped_ = false;
  const std::shared_ptr<Running> running_ = std::make_shared<Running>();
};

}  // namespace

std::unique_ptr<Connectors> Connectors::make(Rooms rooms) {
  return std::make_unique<ConnectorsImpl>(rooms);
}

}  // namespace millrace::connect
