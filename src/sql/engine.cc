#include "sql/engine.h"

#include <fmt/format.h>

#include "sql/detail/core.h"
#include "sql/detail/planning.h"
#include "sql/detail/produce_check.h"

namespace millrace::sql {

Result<std::shared_ptr<Relation>> Core::relation(const catalog::Object& object) {
  if (object.kind == catalog::Kind::kTopic) return make_topic_relation(*this, object);
  auto* served_by = host.load();
  auto relation = served_by ? served_by->relation(object) : nullptr;
  if (!relation) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("{} \"{}\" is not being served yet; try again",
                             catalog::name_of(object.kind), object.name)};
  }
  return relation;
}

namespace {

class EngineImpl : public Engine {
 public:
  EngineImpl(io::Runtime& runtime, io::Env& env, catalog::Catalog& catalog, broker::Broker& broker,
             Options options)
      : core_{runtime, env, catalog, broker}, options_(options), planner_(core_) {}

  void set_host(Host* host) override { core_.host = host; }
  Result<std::unique_ptr<Session>> connect(std::string user, std::string database) override {
    (void)user, (void)database;
    return Error{ErrorCode::kNotSupported, "sessions"};
  }
  Result<PlannedQuery> plan(const std::string& query) override { return planner_.plan(query); }
  broker::ProduceCheck& produce_check() override { return produce_check_; }

 private:
  Core core_;
  Options options_;
  ViewPlanner planner_;
  TopicProduceCheck produce_check_;
};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(io::Runtime& runtime, io::Env& env,
                                             catalog::Catalog& catalog, broker::Broker& broker,
                                             Options options) {
  return std::unique_ptr<Engine>(
      std::make_unique<EngineImpl>(runtime, env, catalog, broker, options));
}

}  // namespace millrace::sql
