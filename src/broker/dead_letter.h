#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"
#include "log/record_batch.h"

namespace millrace::broker {

/// A record that was set aside: key, value and headers as they were, and before its own headers
/// those that say why, and where it was: reason, topic, partition, offset, timestamp; from a share
/// group also group and delivery_count.
struct DeadLetter {
  std::string_view reason;
  std::string_view topic;
  int32_t partition = 0;
  std::string_view group = {};  // empty: no share group gave it up
  int delivery_count = 0;
};

/// "<topic>.dead_letter"
std::string dead_letter_topic(std::string_view topic);
bool is_dead_letter_topic(std::string_view topic);

/// Adds the letter of `record` to `batch`.
void add_dead_letter(log::BatchBuilder& batch, TimestampMs now, const DeadLetter& letter,
                     const log::RecordView& record);

/// The partition that holds the letters of `source`; its topic is created when there is none. Takes
/// batches as large as `source` does, and some. Errors: those of Broker::create().
io::Task<Result<std::shared_ptr<Partition>>> open_dead_letters(Broker& broker,
                                                               std::shared_ptr<const Topic> source);

}  // namespace millrace::broker
