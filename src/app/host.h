#pragma once

#include "app/system_tables.h"
#include "connect/connectors.h"
#include "flow/flows.h"
#include "sql/relation.h"
#include "table/tables.h"

namespace millrace::app {

/// Gives sql what lives above it: tables' rows, and views' dataflows.
class NodeHost : public sql::Host {
 public:
  NodeHost(table::Tables& tables, flow::Flows& flows, SystemSources sources)
      : tables_(tables), flows_(flows), sources_(sources) {}

  std::shared_ptr<sql::Relation> relation(const catalog::Object& object) override;
  Result<> check_view(const catalog::Object& view) override;
  Result<> check_connector(const catalog::Object& connector) override {
    return sources_.connectors.check(connector);
  }
  Result<> created(const catalog::Object& object) override;
  Result<> dropping(const catalog::Object& object) override;
  std::vector<sql::SystemTable> system_tables() override { return app::system_tables(sources_); }
  Result<std::string> explain(const catalog::Object& object) override;
  Result<std::unique_ptr<sql::Subscription>> subscribe(const catalog::Object& object,
                                                       sql::SubscribeOptions options) override;
  /// The same by the view's name.
  Result<std::unique_ptr<sql::Subscription>> subscribe(const std::string& view,
                                                       const catalog::Snapshot& snapshot,
                                                       sql::SubscribeOptions options);

 private:
  table::Tables& tables_;
  flow::Flows& flows_;
  const SystemSources sources_;
};

}  // namespace millrace::app
