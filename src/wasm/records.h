#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace millrace::wasm {

struct HeaderView {
  std::string_view name = {};
  std::optional<std::string_view> value = {};
};

/// One record on its way through guests. Views live as long as who gave the record says.
struct RecordView {
  TimestampMs timestamp = 0;
  Offset offset = -1;  // -1: it has none yet
  std::optional<std::string_view> key = {};
  std::optional<std::string_view> value = {};
  std::span<const HeaderView> headers = {};  // of a SQL row: its arguments, without names
  uint32_t input = 0;  // of an output: the index of the caller's record that it comes from
};

/// What a stateful transform keeps of one key. No value: nothing is kept (yet, or any more).
struct StateView {
  std::optional<std::string_view> key = {};
  std::optional<std::string_view> value = {};
};

/// Records that go through guests in one call.
struct Batch {
  std::span<const RecordView> records = {};
  /// When keys, values and headers lie in one buffer (a decompressed record batch), that buffer:
  /// it is then copied in one go. May be empty, and records may lie elsewhere: those are copied
  /// one by one.
  std::string_view bytes = {};
};

/// A batch that holds its own bytes.
class OwnedBatch {
 public:
  OwnedBatch() = default;
  OwnedBatch(const OwnedBatch&) = delete;
  OwnedBatch& operator=(const OwnedBatch&) = delete;

  /// Copies what `record` shows.
  void add(const RecordView& record);
  /// Valid until the next add().
  Batch view() const { return {.records = records_}; }
  size_t size() const { return records_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  std::optional<std::string_view> keep(std::optional<std::string_view> text);

  std::deque<std::string> texts_;  // a deque: views into it stay
  std::deque<std::vector<HeaderView>> headers_;
  std::vector<RecordView> records_;
  size_t bytes_ = 0;
};

}  // namespace millrace::wasm
