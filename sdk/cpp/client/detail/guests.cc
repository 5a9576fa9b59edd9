#include "detail/guests.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::client::detail {

Result<std::unique_ptr<Guests>> Guests::open(const Options& options) {
  auto guests = std::make_unique<Guests>();
  MR_TRY(guests->modules_, Modules::open(options));
  for (const auto& each : options.transforms) guests->on_error_.push_back(each.on_error);
  return guests;
}

Result<Shaped> Guests::shape(std::span<const wasm::RecordView> records) {
  Shaped shaped;
  shaped.records = records;
  counts_.records_in += records.size();
  const auto loaded = modules_->now();  // one for the whole batch
  if (loaded->chain && !records.empty()) {
    auto output = loaded->chain->apply({.records = records});
    if (output) {
      for (const auto& error : output->errors()) {
        MR_TRY(fail(error.input, on_error_[error.step],
                    fmt::format("{}: {}", loaded->names[error.step], error.message), shaped));
      }
      shaped.output = std::move(*output);
      shaped.records = shaped.output->records();
      if (loaded->filters_only) {
        for (const auto& each : shaped.records) shaped.as_they_were.push_back(records[each.input]);
        shaped.records = shaped.as_they_were;
      }
    } else {
      shaped.records = {};
      MR_TRY(fail_all(records.size(), output.error().text, shaped));
    }
  }
  counts_.records_out += shaped.records.size();
  return shaped;
}

Result<> Guests::fail_all(size_t records, const std::string& why, Shaped& shaped) {
  const auto strictest = *std::ranges::min_element(on_error_);
  if (strictest == OnError::kReject) {
    counts_.failed += records;
    return Error{ErrorCode::kGuestFailed, why};
  }
  for (uint32_t i = 0; i < records; ++i) MR_TRY(fail(i, strictest, why, shaped));
  return {};
}

Result<> Guests::fail(uint32_t input, OnError on_error, std::string why, Shaped& shaped) {
  ++counts_.failed;
  if (on_error == OnError::kReject) {
    return Error{ErrorCode::kGuestFailed,
                 fmt::format("record {} of the batch failed in {}", input, why)};
  }
  if (on_error == OnError::kDeadLetter) shaped.letters.push_back({input, std::move(why)});
  return {};
}

}  // namespace millrace::client::detail
