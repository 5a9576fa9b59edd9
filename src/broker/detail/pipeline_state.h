#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/ids.h"
#include "log/record_batch.h"
#include "wasm/chain.h"

namespace millrace::broker::detail {

/// What one task of a pipeline has committed: where it stands in its inputs, and what its aggregate
/// keeps by key. Beside it stands what the batch under way changes. One thread at a time.
///
/// As records of the pipeline's topic: the key "o" and an input's name has the next offset as text,
/// the key "s" and a record's key the state; no value: forgotten.
class PipelineState final : public wasm::StateReader {
 public:
  static std::string position_key(std::string_view input) { return "o" + std::string(input); }

  /// A record of the topic, in order. Errors: kCorruptRecord.
  Result<> load(const log::RecordView& record);
  /// Where it goes on in `input`; none: it is new to it.
  std::optional<Offset> position(std::string_view input) const;

  Result<> read(std::span<wasm::StateView> states) override;
  void change(std::span<const wasm::StateView> states);
  bool has_changes() const { return !changed_.empty(); }
  /// The changes, and `positions`, as batches, each at most some 256 KiB or one record.
  std::string changes(const std::map<std::string, Offset>& positions, TimestampMs now) const;
  /// They are durable.
  void commit(const std::map<std::string, Offset>& positions);

  size_t keys() const { return states_.size(); }
  /// What the states take in memory, those of the batch under way included.
  size_t bytes() const { return bytes_ + changed_bytes_; }

 private:
  void put(std::string_view key, std::optional<std::string_view> value);

  std::map<std::string, Offset, std::less<>> positions_;
  std::unordered_map<std::string, std::string> states_;
  size_t bytes_ = 0;
  std::unordered_map<std::string, std::optional<std::string>> changed_;
  size_t changed_bytes_ = 0;
};

}  // namespace millrace::broker::detail
