#pragma once

#include <cstdint>
#include <string>

namespace millrace::log {

/// Who a batch is from, for what the node itself writes in a transaction.
struct ProducerStamp {
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
};

/// Makes `batch` (one RecordBatch v2 of BatchBuilder) a transactional one of that producer.
void stamp_transactional(std::string& batch, const ProducerStamp& stamp);

}  // namespace millrace::log
