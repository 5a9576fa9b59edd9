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
  explicit ConnectorsImpl(Rooms rooms) : rooms_(rooms) {}
  ~ConnectorsImpl() override { stop(); }

  Result<> check(const catalog::Object& object) override {
    MR_TRY(recipe_of(object));
    return {};
  }

  Result<> start(const catalog::Object& object) override {
    MR_TRY(auto recipe, recipe_of(object));
    std::lock_guard changing(changes_);
    // The one before has ended when the next begins: there are never two.
    take(object.name);
    if (stopped_) return Error{ErrorCode::kShuttingDown, "the node is stopping"};
    auto connector = std::make_shared<Connector>(rooms_, object, std::move(recipe));
    std::lock_guard lock(mutex_);
    connectors_.insert_or_assign(object.name, std::move(connector));
    return {};
  }

  Result<> remove(const catalog::Object& object) override {
    std::lock_guard changing(changes_);
    take(object.name);
    if (object.kind == catalog::Kind::kSource) return SourceRun::forget(rooms_, object);
    return SinkRun::forget(rooms_, object);
  }

  void stop() override {
    std::lock_guard changing(changes_);
    stopped_ = true;
    std::map<std::string, std::shared_ptr<Connector>> all;
    {
      std::lock_guard lock(mutex_);
      all.swap(connectors_);
    }
    for (auto& [name, connector] : all) connector->stop();  // at the same time
    for (auto& [name, connector] : all) connector->end();
  }

  Result<uint64_t> feed(const std::string& source, std::string_view body) override {
    std::shared_ptr<Connector> connector;
    {
      std::lock_guard lock(mutex_);
      const auto found = connectors_.find(source);
      if (found != connectors_.end()) connector = found->second;
    }
    if (!connector || connector->object().kind != catalog::Kind::kSource) {
      return Error{ErrorCode::kUndefinedObject, fmt::format("there is no source \"{}\"", source)};
    }
    return connector->feed(body);
  }

  std::vector<ConnectorStatus> status() const override {
    std::vector<ConnectorStatus> out;
    for (const auto& connector : list()) out.push_back(connector->status());
    return out;
  }

  std::vector<broker::TransformCounts> counts() const override {
    std::vector<broker::TransformCounts> out;
    for (const auto& connector : list()) {
      if (auto counts = connector->counts()) out.push_back(std::move(*counts));
    }
    return out;
  }

 private:
  std::vector<std::shared_ptr<Connector>> list() const {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Connector>> out;
    for (const auto& [name, connector] : connectors_) out.push_back(connector);
    return out;
  }
  /// Ends the connector of that name, if there is one.
  void take(const std::string& name) {
    std::shared_ptr<Connector> gone;
    {
      std::lock_guard lock(mutex_);
      const auto found = connectors_.find(name);
      if (found == connectors_.end()) return;
      gone = std::move(found->second);
      connectors_.erase(found);
    }
    gone->end();
  }

  const Rooms rooms_;
  std::mutex changes_;  // one at a time; may take as long as a connector takes to end
  bool stopped_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Connector>> connectors_;
};

}  // namespace

std::unique_ptr<Connectors> Connectors::make(Rooms rooms) {
  return std::make_unique<ConnectorsImpl>(rooms);
}

}  // namespace millrace::connect
