#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/transactions.h"
#include "log/record_batch.h"
#include "log/stamp.h"
#include "wasm/records.h"

namespace millrace::connect {

using PartitionPtr = std::shared_ptr<broker::Partition>;

/// Batches for one partition, back to back: one append.
struct Piece {
  PartitionPtr partition;
  std::string batches;
};

/// Gathers records by partition into transactional batches of one producer, whose sequences go on
/// from one transaction to the next.
class Batches {
 public:
  using Sequences = std::map<const broker::Partition*, int32_t>;
  Batches(broker::Producer producer, size_t batch_bytes, Sequences& sequences)
      : producer_(producer), batch_bytes_(batch_bytes), sequences_(sequences) {}

  void add(const PartitionPtr& partition, const wasm::RecordView& record);
  /// To add a record of about `bytes` to.
  log::BatchBuilder& builder(const PartitionPtr& partition, size_t bytes);
  /// All that was added.
  std::vector<Piece> finish();

 private:
  struct Open {
    Piece piece;
    log::BatchBuilder builder;
  };
  void seal(Open& open);

  const broker::Producer producer_;
  const size_t batch_bytes_;
  Sequences& sequences_;
  std::map<const broker::Partition*, Open> open_;
  std::vector<log::Header> headers_;
};

}  // namespace millrace::connect
