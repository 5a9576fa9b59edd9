#include "flow/detail/late_rows.h"

#include <fmt/format.h>

#include "flow/detail/evaluator.h"
#include "sql/format.h"

namespace millrace::flow {

namespace {
// Of an epoch's late rows, in its commit.
constexpr size_t kLateBytesMax = 24u << 20;
}  // namespace

std::vector<FailedRow> late_records(const std::vector<LateRows>& late, int64_t watermark_us) {
  std::vector<FailedRow> records;
  const auto watermark = duckdb::Timestamp::ToString(duckdb::timestamp_t(watermark_us));
  size_t bytes = 0, left_out = 0;
  for (const auto& [names, delta] : late) {
    const auto types = delta->rows.GetTypes();
    duckdb::DataChunk chunk;
    chunk.InitializeEmpty(types);
    chunk.Reference(const_cast<duckdb::DataChunk&>(delta->rows));
    chunk.Flatten();
    auto writer = sql::JsonWriter::make(names, {types.begin(), types.end()});
    if (writer) (*writer)->begin(chunk);
    for (size_t row = 0; row < delta->weights.size(); ++row) {
      if (bytes >= kLateBytesMax) {
        ++left_out;
        continue;
      }
      FailedRow record{watermark, {}, delta->weights[row]};
      if (writer) {
        (*writer)->write(row, record.json);
      } else {  // a type without a JSON form
        duckdb::DataChunk one;
        duckdb::SelectionVector sel(1);
        sel.set_index(0, row);
        slice_chunk(chunk, sel, 1, one);
        record.json = one.ToString();
      }
      bytes += record.json.size();
      records.push_back(std::move(record));
    }
  }
  if (left_out > 0)
    records.push_back({watermark, fmt::format(R"({{"more_late_rows":{}}})", left_out)});
  return records;
}

}  // namespace millrace::flow
