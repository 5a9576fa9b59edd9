#include "flow/detail/place.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace millrace::flow {

namespace {

std::optional<Place> read_place(std::string_view text, std::string_view owner) {
  if (!owner.empty()) {
    if (!text.starts_with(owner) || text.substr(owner.size(), 1) != ".") return std::nullopt;
    text.remove_prefix(owner.size() + 1);
  }
  Place place;
  const char* end = text.data() + text.size();
  const auto [dot, bad] = std::from_chars(text.data(), end, place.at);
  if (bad != std::errc() || dot == end) return std::nullopt;
  if (std::from_chars(dot + 1, end, place.index).ec != std::errc()) return std::nullopt;
  return place;
}

}  // namespace

Result<log::ReadResult> read_log(broker::Partition& partition, Offset from, size_t bytes) {
  return partition.shard().block_on(partition.read(from, bytes));
}

std::string place_text(std::string_view owner, const Place& place) {
  return fmt::format("{}{}{}.{}", owner, owner.empty() ? "" : ".", place.at, place.index);
}

Result<std::optional<Place>> last_place(broker::Partition& partition, std::string_view owner,
                                        TimestampMs since) {
  std::optional<Place> last;
  for (Offset end = partition.high_watermark(); end > partition.start_offset() && !last;) {
    MR_TRY(const auto read, read_log(partition, end - 1, 1));
    Offset first = end - 1;
    bool is_old = false;
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (record.offset >= end) return;
      first = std::min(first, record.offset);
      is_old = record.timestamp < since;
      for (const auto& header : record.headers) {
        if (header.key != kPlaceHeader) continue;
        if (const auto place = read_place(header.value.value_or(""), owner)) last = place;
      }
    }));
    if (is_old) break;
    end = first;
  }
  return last;
}

}  // namespace millrace::flow
