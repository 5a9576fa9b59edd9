#include "app/host.h"

#include <fmt/format.h>

#include "catalog/connector.h"

namespace millrace::app {

using catalog::Kind;

std::shared_ptr<sql::Relation> NodeHost::relation(const catalog::Object& object) {
  switch (object.kind) {
    case Kind::kTable:
      return tables_.find(object.name);
    case Kind::kMaterializedView:
      return flows_.find(object.name);
    case Kind::kTopic:
    case Kind::kView:
    case Kind::kFunction:
    case Kind::kPipeline:
    case Kind::kSource:
    case Kind::kSink:
    case Kind::kUser:
      return nullptr;
  }
  return nullptr;
}

Result<> NodeHost::check_view(const catalog::Object& view) { return flows_.check(view); }

Result<> NodeHost::created(const catalog::Object& object) {
  if (object.kind == Kind::kTable) return tables_.add(object);
  if (object.kind == Kind::kMaterializedView) return flows_.add(object);
  if (catalog::is_connector(object)) return sources_.connectors.start(object);
  return {};
}

Result<> NodeHost::dropping(const catalog::Object& object) {
  if (object.kind == Kind::kTable) return tables_.remove(object.name);
  if (object.kind == Kind::kMaterializedView) return flows_.remove(object.name);
  if (catalog::is_connector(object)) return sources_.connectors.remove(object);
  return {};
}

Result<std::string> NodeHost::explain(const catalog::Object& object) {
  return flows_.describe(object.name);
}

Result<std::unique_ptr<sql::Subscription>> NodeHost::subscribe(const catalog::Object& object,
                                                               sql::SubscribeOptions options) {
  return flows_.subscribe(object.name, std::move(options));
}

Result<std::unique_ptr<sql::Subscription>> NodeHost::subscribe(const std::string& view,
                                                               const catalog::Snapshot& snapshot,
                                                               sql::SubscribeOptions options) {
  const auto* object = snapshot.find(view);
  if (!object)
    return Error{ErrorCode::kUndefinedObject, fmt::format("\"{}\" does not exist", view)};
  if (object->kind != Kind::kMaterializedView)
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("\"{}\" is a {}, and only a materialized view can be subscribed to here",
                    object->name, catalog::name_of(object->kind)),
        std::nullopt, "SUBSCRIBE, over the PostgreSQL protocol, takes topics and tables too."};
  return subscribe(*object, std::move(options));
}

}  // namespace millrace::app
