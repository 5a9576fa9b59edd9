#include "base/logging.h"
#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<InitProducerIdResponse> init_producer_id(Context& context, InitProducerIdRequest request) {
  InitProducerIdResponse response;
  if (request.transactional_id) {
    logging::info("refused a transactional producer: transactions are not supported yet",
                  {{"transactional_id", *request.transactional_id}});
    response.error_code = wire::kUnsupportedVersion;
    co_return response;
  }
  // A producer that asks again, with the id that it had, gets a new one, as from Kafka.
  auto id = co_await context.broker().next_producer_id();
  if (id) {
    response.producer_id = *id;
  } else {
    response.error_code = wire_code(id.error());
    response.producer_epoch = -1;
  }
  co_return response;
}

}  // namespace millrace::kafka
