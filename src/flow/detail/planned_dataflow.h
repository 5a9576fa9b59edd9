#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "flow/detail/plan_translator.h"

namespace millrace::flow {

/// One of a dataflow's shares as the plan gave it; the shares of a dataflow are alike.
struct PlannedShare {
  sql::PlannedQuery query;  // first: the operators need its context to the end
  std::vector<Dataflow::Input> inputs;
  std::vector<FlowNode> nodes;  // children before parents; the last is the view
  bool append_only = false;
  std::optional<size_t> first_retracting = std::nullopt;
};

std::unique_ptr<Dataflow> make_planned_dataflow(std::vector<PlannedShare> shares, Spread spread);

}  // namespace millrace::flow
