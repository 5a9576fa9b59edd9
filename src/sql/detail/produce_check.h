#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "broker/broker.h"
#include "sql/format.h"

namespace millrace::sql {

/// Refuses batches that hold a record that does not fit the topic's columns. Decoders are kept, one
/// for each version of a topic that is not in use. Any thread.
class TopicProduceCheck : public broker::ProduceCheck {
 public:
  Result<> check(const catalog::Object& topic, std::string_view batches) override;

 private:
  using Key = std::pair<Uuid, uint64_t>;  // id and version
  Result<std::unique_ptr<Decoder>> take(const catalog::Object& topic);
  void give_back(const catalog::Object& topic, std::unique_ptr<Decoder> decoder);

  std::mutex mutex_;
  std::multimap<Key, std::unique_ptr<Decoder>> idle_;
};

}  // namespace millrace::sql
