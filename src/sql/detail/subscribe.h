#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "sql/detail/ddl.h"
#include "sql/detail/planning.h"
#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"
#include "sql/engine.h"

namespace millrace::sql {

/// What follows SUBSCRIBE. Errors: kSyntax.
Result<SubscribeTo> parse_subscribe(std::string_view sql, TokenReader& reader);

/// Runs SUBSCRIBE for sessions: finds what is subscribed to, makes the view of a query, and gives
/// the changes as rows. Any thread.
class Subscriber {
 public:
  Subscriber(Core& core, Definitions& definitions, ViewPlanner& planner)
      : core_(core), definitions_(definitions), planner_(planner) {}

  /// The result's columns: `epoch`, `weight`, with PROGRESS `token`, then those of the rows.
  Result<Listing> shape(const SubscribeTo& subscribe);
  Result<std::unique_ptr<Cursor>> open(const SubscribeTo& subscribe);

 private:
  /// What is subscribed to by name when it is a materialized view; else null.
  const catalog::Object* view(const catalog::Snapshot& snapshot,
                              const SubscribeTo& subscribe) const;
  Result<std::string> query_of(const SubscribeTo& subscribe) const;

  Core& core_;
  Definitions& definitions_;
  ViewPlanner& planner_;
};

}  // namespace millrace::sql
