#include "sql/engine.h"

#include <fmt/format.h>

#include <duckdb/main/valid_checker.hpp>
#include <mutex>

#include "sql/detail/core.h"
#include "sql/detail/ddl.h"
#include "sql/detail/errors.h"
#include "sql/detail/planning.h"
#include "sql/detail/produce_check.h"
#include "sql/detail/session.h"
#include "sql/detail/storage.h"

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
  const auto& served = relation->object();
  if (served.id != object.id || served.columns != object.columns) {
    // They may be others than those that the statement was bound to.
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("{} \"{}\" was replaced meanwhile; try again",
                             catalog::name_of(object.kind), object.name)};
  }
  return relation;
}

namespace {

class EngineImpl : public Engine {
 public:
  EngineImpl(io::Runtime& runtime, io::Env& env, catalog::Catalog& catalog, broker::Broker& broker,
             Options options)
      : core_{runtime, env, catalog, broker},
        options_(options),
        planner_(core_),
        definitions_(core_, planner_) {}

  void set_host(Host* host) override { core_.host = host; }
  Result<std::unique_ptr<Session>> connect(std::string user, std::string) override {
    MR_TRY(auto db, guarded([&] { return instance(); }));
    return make_session(std::move(db), {core_, definitions_, planner_, kVersion}, std::move(user));
  }
  Result<PlannedQuery> plan(const std::string& query) override { return planner_.plan(query); }
  broker::ProduceCheck& produce_check() override { return produce_check_; }

 private:
  // What version() says: clients look for PostgreSQL's number to know what they may ask for.
  static constexpr const char* kVersion = "PostgreSQL 15.0 (Millrace)";

  /// Opened when first needed, to keep a node's start short and its idle memory small; opened anew
  /// when an internal error of DuckDB has spoiled it.
  std::shared_ptr<duckdb::DuckDB> instance() {
    std::lock_guard lock(mutex_);
    if (instance_ && duckdb::ValidChecker::IsInvalidated(*instance_->instance)) instance_.reset();
    if (!instance_) {
      instance_ = open_instance(
          core_, {.threads = options_.threads, .memory_bytes = options_.memory_bytes});
    }
    return instance_;
  }

  Core core_;
  Options options_;
  ViewPlanner planner_;
  Definitions definitions_;
  std::mutex mutex_;
  std::shared_ptr<duckdb::DuckDB> instance_;
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
