#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

io::Task<EndTxnResponse> end_txn(Context& context, EndTxnRequest request) {
  constexpr int16_t kKnowsFenced = 2;
  constexpr int16_t kBumpsEpoch = 5;  // KIP-890
  EndTxnResponse response;
  const broker::Producer producer{request.producer_id, request.producer_epoch};
  auto next =
      co_await context.transactions().end(std::move(request.transactional_id), producer,
                                          request.committed, context.version() >= kBumpsEpoch);
  if (next) {
    response.producer_id = next->id;
    response.producer_epoch = next->epoch;
  } else {
    response.error_code = transaction_code(next.error(), context.version() >= kKnowsFenced);
  }
  co_return response;
}

}  // namespace millrace::kafka
