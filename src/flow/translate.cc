#include "flow/detail/planned_dataflow.h"

namespace millrace::flow {

namespace {

Result<PlannedShare> translate_share(sql::PlannedQuery query, const ObjectFinder& finder,
                                     Emit emit) {
  PlanTranslator translator(*query.context, finder);
  MR_TRY(auto stream, translator.translate(*query.plan));
  MR_TRY(stream, translator.in_order_of(*query.plan, std::move(stream)));
  // The view is the last node; what the plan's root refers to may stand before others.
  auto nodes = translator.take_nodes();
  if (emit == Emit::kOnWindowClose) {
    nodes.push_back({make_emit_on_close(query.names, {query.types.begin(), query.types.end()}),
                     {stream.node},
                     0});
    stream.append_only = true;
  } else if (stream.node + 1 != nodes.size()) {
    nodes.push_back({make_union(), {stream.node}, 0});
  }
  if (stream.scope.types != query.types)
    return Error{ErrorCode::kInternal, "the view's plan gives other types than its query"};
  query.plan.reset();
  return PlannedShare{std::move(query), translator.take_inputs(), std::move(nodes),
                      stream.append_only, translator.first_retracting()};
}

}  // namespace

Result<std::unique_ptr<Dataflow>> translate(std::vector<sql::PlannedQuery> plans,
                                            const ObjectFinder& finder, Emit emit, Spread spread) {
  try {
    std::vector<PlannedShare> shares;
    for (auto& plan : plans) {
      MR_TRY(auto share, translate_share(std::move(plan), finder, emit));
      shares.push_back(std::move(share));
      if (shares.back().nodes.size() != shares[0].nodes.size())
        return Error{ErrorCode::kInternal, "one query was planned in two ways"};
    }
    return make_planned_dataflow(std::move(shares), spread);
  } catch (const std::exception& thrown) {
    auto error = library_error(thrown, "the view cannot be planned");
    if (error.code == ErrorCode::kInternal) error.code = ErrorCode::kNotSupported;
    return error;
  }
}

Result<std::unique_ptr<Dataflow>> translate(std::vector<sql::PlannedQuery> plans, Emit emit,
                                            Spread spread) {
  const auto finder = [](const duckdb::LogicalOperator& get) { return sql::scanned_object(get); };
  return translate(std::move(plans), finder, emit, spread);
}

Result<std::unique_ptr<Dataflow>> translate(sql::PlannedQuery query, Emit emit) {
  std::vector<sql::PlannedQuery> plans;
  plans.push_back(std::move(query));
  return translate(std::move(plans), emit, Spread{});
}

}  // namespace millrace::flow
