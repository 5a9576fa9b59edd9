#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

io::Task<AddOffsetsToTxnResponse> add_offsets_to_txn(Context& context,
                                                     AddOffsetsToTxnRequest request) {
  constexpr int16_t kKnowsFenced = 2;
  AddOffsetsToTxnResponse response;
  const broker::Producer producer{request.producer_id, request.producer_epoch};
  auto added = co_await context.transactions().add_group(std::move(request.transactional_id),
                                                         producer, std::move(request.group_id));
  if (!added) {
    response.error_code = transaction_code(added.error(), context.version() >= kKnowsFenced);
  }
  co_return response;
}

}  // namespace millrace::kafka
