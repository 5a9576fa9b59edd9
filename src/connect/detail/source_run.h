#pragma once

#include <memory>
#include <string>
#include <vector>

#include "connect/connectors.h"
#include "connect/detail/batches.h"
#include "connect/detail/guests.h"
#include "connect/detail/progress.h"
#include "connect/detail/source.h"

namespace millrace::connect {

/// One run of a source: what it reads goes into the topic, and its position into the topic
/// broker::kSourcePositionsTopic, in one transaction. So each record is in the topic once, however
/// often a run ends and another begins. On the connector's thread.
class SourceRun {
 public:
  SourceRun(const Connectors::Rooms& rooms, const catalog::Object& object, Progress& progress,
            std::unique_ptr<Source> source);
  /// Until the connector is to stop, or something fails.
  Result<> run();

  /// Forgets the position that a source has kept.
  static Result<> forget(const Connectors::Rooms& rooms, const catalog::Object& object);

 private:
  Result<> begin();
  Result<> keep(const SourceBatch& batch);
  Result<> add_letters(const SourceBatch& batch, const Shaped& shaped, Batches& batches);
  PartitionPtr target(int32_t partition);
  io::Task<Result<>> commit(std::vector<Piece> pieces);
  io::Task<Result<>> append_all(std::vector<Piece> pieces);

  const Connectors::Rooms& rooms_;
  const catalog::Object& object_;
  Progress& progress_;
  std::unique_ptr<Source> source_;
  Guests guests_;
  io::Shard& shard_;
  const std::string transactional_id_;

  std::shared_ptr<const broker::Topic> topic_;
  PartitionPtr positions_;
  size_t batch_bytes_ = 0;  // where a batch is cut
  broker::Producer producer_;
  Batches::Sequences sequences_;
  uint32_t next_partition_ = 0;  // for records from nowhere in particular
};

}  // namespace millrace::connect
