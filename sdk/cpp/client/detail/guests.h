#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "detail/modules.h"
#include "millrace/client.h"
#include "wasm/chain.h"

namespace millrace::client::detail {

/// What came out of a batch. Lives no longer than the batch that went in.
struct Shaped {
  std::optional<wasm::Output> output;          // holds what `records` view
  std::span<const wasm::RecordView> records;   // what goes on
  std::vector<wasm::RecordView> as_they_were;  // of filters, which change nothing
  struct Letter {
    uint32_t input = 0;
    std::string why;
  };
  std::vector<Letter> letters;  // to be set aside first
};

/// Sends batches through the modules, and does what ON ERROR says, as a topic of a node. One thread
/// at a time.
class Guests {
 public:
  static Result<std::unique_ptr<Guests>> open(const Options& options);

  /// Errors: kGuestFailed, when a record, or the batch, fails and that is to be rejected.
  Result<Shaped> shape(std::span<const wasm::RecordView> records);

  const Modules& modules() const { return *modules_; }
  const Counts& counts() const { return counts_; }

 private:
  Result<> fail_all(size_t records, const std::string& why, Shaped& shaped);
  Result<> fail(uint32_t input, OnError on_error, std::string why, Shaped& shaped);

  std::unique_ptr<Modules> modules_;
  std::vector<OnError> on_error_;  // by transform
  Counts counts_;
};

}  // namespace millrace::client::detail
