#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

io::Task<ListTransactionsResponse> list_transactions(Context& context,
                                                     ListTransactionsRequest request) {
  ListTransactionsResponse response;
  broker::TransactionFilter filter;
  for (auto& name : request.state_filters) {
    if (const auto state = broker::transaction_state_of(name)) {
      filter.states.push_back(*state);
    } else {
      response.unknown_state_filters.push_back(name);
    }
  }
  // Only states that there are not: nothing is in one of them.
  if (!request.state_filters.empty() && filter.states.empty()) co_return response;
  filter.producer_ids = std::move(request.producer_id_filters);
  filter.duration_ms = request.duration_filter;
  filter.pattern = std::move(request.transactional_id_pattern).value_or(std::string());
  auto found = co_await context.transactions().list(std::move(filter));
  if (!found) {
    response.error_code = transaction_code(found.error(), true);
    co_return response;
  }
  for (auto& transaction : *found) {
    auto& state = response.transaction_states.emplace_back();
    state.transactional_id = std::move(transaction.transactional_id);
    state.producer_id = transaction.producer.id;
    state.transaction_state = name_of(transaction.state);
  }
  co_return response;
}

}  // namespace millrace::kafka
