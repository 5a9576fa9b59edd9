#include "wasm/records.h"

namespace millrace::wasm {

std::optional<std::string_view> OwnedBatch::keep(std::optional<std::string_view> text) {
  if (!text || text->empty()) return text ? std::optional<std::string_view>("") : std::nullopt;
  bytes_ += text->size();
  return texts_.emplace_back(*text);
}

void OwnedBatch::add(const RecordView& record) {
  RecordView copy = record;
  copy.key = keep(record.key);
  copy.value = keep(record.value);
  if (!record.headers.empty()) {
    auto& headers = headers_.emplace_back();
    for (const auto& header : record.headers) {
      headers.push_back({.name = *keep(header.name), .value = keep(header.value)});
    }
    copy.headers = headers;
  }
  records_.push_back(copy);
}

}  // namespace millrace::wasm
