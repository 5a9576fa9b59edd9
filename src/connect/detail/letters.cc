#include "connect/detail/letters.h"

#include <fmt/format.h>

namespace millrace::connect {

void add_letter(log::BatchBuilder& letters, TimestampMs now, const catalog::Object& connector,
                const std::string& topic, const Shaped::Failed& failed, const Records& records) {
  const auto& record = records.records[failed.input];
  log::RecordView view{.offset = record.offset,
                       .timestamp = record.timestamp,
                       .key = record.key,
                       .value = record.value,
                       .headers = {}};
  for (const auto& header : record.headers) view.headers.push_back({header.name, header.value});
  const auto reason =
      fmt::format("{} {}: {}", catalog::name_of(connector.kind), connector.name, failed.why);
  broker::add_dead_letter(
      letters, now,
      {.reason = reason, .topic = topic, .partition = records.partitions[failed.input]}, view);
}

}  // namespace millrace::connect
