#include "app/host.h"

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
      return nullptr;
  }
  return nullptr;
}

Result<> NodeHost::check_view(const catalog::Object& view) { return flows_.check(view); }

Result<> NodeHost::created(const catalog::Object& object) {
  if (object.kind == Kind::kTable) return tables_.add(object);
  if (object.kind == Kind::kMaterializedView) return flows_.add(object);
  return {};
}

Result<> NodeHost::dropping(const catalog::Object& object) {
  if (object.kind == Kind::kTable) return tables_.remove(object.name);
  if (object.kind == Kind::kMaterializedView) return flows_.remove(object.name);
  return {};
}

Result<std::string> NodeHost::explain(const catalog::Object& object) {
  return flows_.describe(object.name);
}

}  // namespace millrace::app
