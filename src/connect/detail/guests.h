#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "broker/transforms.h"
#include "catalog/catalog.h"
#include "connect/connectors.h"
#include "connect/detail/progress.h"
#include "connect/detail/records.h"
#include "wasm/chain.h"

namespace millrace::connect {

/// What came out of a connector's transforms. Lives no longer than the batch that went in.
struct Shaped {
  std::optional<wasm::Output> output;  // holds what `records` view; none: as they went in
  std::span<const wasm::RecordView> records;
  struct Failed {
    uint32_t input = 0;
    std::string why;
  };
  std::vector<Failed> letters;  // to be set aside
};

/// The transforms of one connector. Any thread that is no shard's.
class Guests {
 public:
  Guests(const Connectors::Rooms& rooms, const catalog::Object& connector, Progress& progress);

  /// Sends `records` through. Errors: kGuestFailed and kInvalidRecord when a record fails and ON
  /// ERROR is reject; those of opening the functions.
  Result<Shaped> shape(const Records& records);

 private:
  Result<broker::OpenedChain> open();

  const Connectors::Rooms& rooms_;
  const catalog::Object& connector_;
  Progress& progress_;
  std::mutex mutex_;  // a source that is fed has many threads
  broker::OpenedChain chain_;
};

}  // namespace millrace::connect
