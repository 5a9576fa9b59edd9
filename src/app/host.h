#pragma once

#include "flow/flows.h"
#include "sql/relation.h"
#include "table/tables.h"

namespace millrace::app {

/// Gives sql what lives above it: tables' rows, and views' dataflows.
class NodeHost : public sql::Host {
 public:
  NodeHost(table::Tables& tables, flow::Flows& flows) : tables_(tables), flows_(flows) {}

  std::shared_ptr<sql::Relation> relation(const catalog::Object& object) override;
  Result<> check_view(const catalog::Object& view) override;
  Result<> created(const catalog::Object& object) override;
  Result<> dropping(const catalog::Object& object) override;
  Result<std::string> explain(const catalog::Object& object) override;

 private:
  table::Tables& tables_;
  flow::Flows& flows_;
};

}  // namespace millrace::app
