#include <algorithm>
#include <set>

#include "log/detail/markers.h"
#include "log/partition_log.h"

namespace millrace::log {

void leave_out_aborted(ReadResult& result) {
  if (result.aborted.empty()) return;
  auto waiting = result.aborted;
  std::ranges::sort(waiting, {}, &AbortedTransaction::first_offset);
  auto next = waiting.begin();
  std::set<int64_t> aborting;  // producers between the first record and the marker
  std::string kept;
  std::string_view rest = result.batches;
  while (const auto header = parse_batch_header(rest)) {
    const auto batch = rest.substr(0, header->total_bytes());
    rest.remove_prefix(batch.size());
    for (; next != waiting.end() && next->first_offset <= header->last_offset(); ++next) {
      aborting.insert(next->producer_id);
    }
    if (header->control()) {
      const auto marker = detail::parse_marker(*header, batch);
      if (marker && !marker->commit) aborting.erase(header->producer_id);
    } else if (!header->transactional() || !aborting.contains(header->producer_id)) {
      kept += batch;
    }
  }
  result.batches = std::move(kept);
}

}  // namespace millrace::log
