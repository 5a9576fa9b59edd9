#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

namespace {

io::Task<Result<broker::Producer>> give(Context& context, InitProducerIdRequest request) {
  if (!request.transactional_id) {
    // A producer that asks again, with the id that it had, gets a new one, as from Kafka.
    MR_CO_TRY(const int64_t id, co_await context.broker().next_producer_id());
    co_return broker::Producer{id, 0};
  }
  std::optional<broker::Producer> expected;
  if (request.producer_id >= 0 && request.producer_epoch >= 0) {
    expected = broker::Producer{request.producer_id, request.producer_epoch};
  } else if (request.producer_id >= 0 || request.producer_epoch >= 0) {
    co_return Error{ErrorCode::kInvalidArgument, "producer id and epoch go together"};
  }
  co_return co_await context.transactions().init(*request.transactional_id,
                                                 request.transaction_timeout_ms, expected);
}

}  // namespace

io::Task<InitProducerIdResponse> init_producer_id(Context& context, InitProducerIdRequest request) {
  constexpr int16_t kKnowsFenced = 4;
  InitProducerIdResponse response;
  response.producer_epoch = -1;
  if (request.enable2_pc || request.keep_prepared_txn) {
    // Two-phase commit (KIP-939) is off, as it is in Kafka unless configured.
    response.error_code = request.keep_prepared_txn ? wire::kUnsupportedVersion
                                                    : wire::kTransactionalIdAuthorizationFailed;
    co_return response;
  }
  auto given = co_await give(context, std::move(request));
  if (given) {
    response.producer_id = given->id;
    response.producer_epoch = given->epoch;
  } else {
    response.error_code = transaction_code(given.error(), context.version() >= kKnowsFenced);
  }
  co_return response;
}

}  // namespace millrace::kafka
