#pragma once

#include <memory>

#include "sql/detail/ddl.h"
#include "sql/engine.h"

namespace millrace::sql {

/// What sessions share.
struct SessionSetup {
  Core& core;
  Definitions& definitions;
  ViewPlanner& planner;
  std::string version;
};

/// A session over `instance`.
Result<std::unique_ptr<Session>> make_session(std::shared_ptr<duckdb::DuckDB> instance,
                                              SessionSetup setup, std::string user);

}  // namespace millrace::sql
