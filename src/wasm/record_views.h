#pragma once

#include <functional>
#include <span>
#include <vector>

#include "wasm/records.h"

namespace millrace::wasm {

/// Somebody's records as guests are given them; views, so the records outlive them. Each view's
/// input is its place among them.
class RecordViews {
 public:
  /// `name`: the member of their headers that is the name. Without `has_offsets` none is given.
  template <typename Records, typename Name>
  RecordViews(const Records& records, Name name, bool has_offsets) {
    size_t headers = 0;
    for (const auto& record : records) headers += record.headers.size();
    headers_.reserve(headers);  // spans into it are given out
    views_.reserve(records.size());
    for (const auto& record : records) {
      const size_t first = headers_.size();
      for (const auto& header : record.headers)
        headers_.push_back({std::invoke(name, header), header.value});
      views_.push_back({.timestamp = record.timestamp,
                        .offset = has_offsets ? record.offset : -1,
                        .key = record.key,
                        .value = record.value,
                        .headers = std::span(headers_).subspan(first),
                        .input = static_cast<uint32_t>(views_.size())});
    }
  }
  RecordViews(const RecordViews&) = delete;
  RecordViews& operator=(const RecordViews&) = delete;

  std::span<const RecordView> all() const { return views_; }

 private:
  std::vector<HeaderView> headers_;
  std::vector<RecordView> views_;
};

}  // namespace millrace::wasm
