#pragma once

#include <duckdb.hpp>

#include <memory>
#include <span>
#include <vector>

#include "flow/detail/delta.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// Brings the rows of one stream together by their keys: those with equal keys go to the same
/// share. Each producer splits its part, on any thread; when all have, each share gathers its own,
/// in the order of producers, on any thread: so what a share gets does not depend on who ran when.
class Exchange {
 public:
  /// `keys[i]` are producer i's own, all alike.
  Exchange(std::vector<std::unique_ptr<Evaluator>> keys, size_t shares);

  void split(size_t producer, const DeltaStream& in);
  DeltaStream gather(size_t share) const;
  void clear();

 private:
  struct Producer {
    std::unique_ptr<Evaluator> keys;
    std::vector<DeltaStream> parts;  // by share
    std::vector<uint32_t> share_of;  // the rows of the chunk at hand
  };
  void assign(Producer& producer, const std::shared_ptr<const Delta>& chunk) const;

  size_t shares_;
  std::vector<Producer> producers_;
};

/// A column is bounded when every stream bounds it.
std::vector<Frontier> meet(std::span<const DeltaStream* const> streams);
/// The streams' chunks one after the other.
DeltaStream concat(std::span<const DeltaStream* const> streams);
/// The `part`-th of so many runs of the stream's chunks.
DeltaStream part_of(const DeltaStream& stream, size_t part, size_t parts);
/// Chunks with vectors of their own over the same values, for a second thread: reading a vector may
/// change how it refers to them.
DeltaStream hand_over(const DeltaStream& stream);

}  // namespace millrace::flow
