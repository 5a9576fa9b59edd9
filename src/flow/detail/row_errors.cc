#include "flow/detail/row_errors.h"

#include "sql/format.h"

namespace millrace::flow {

namespace {
// A letter says which row it was; it is no place for a row of any size.
constexpr size_t kJsonBytesMax = 64u << 10;
}  // namespace

std::string failed_row_json(const Delta& row, std::vector<std::string> names) {
  const auto types = row.rows.GetTypes();
  if (names.size() != types.size()) {
    names.clear();
    for (size_t i = 1; i <= types.size(); ++i) names.push_back(std::to_string(i));
  }
  duckdb::DataChunk chunk;
  if (!types.empty()) {
    chunk.InitializeEmpty(types);
    chunk.Reference(const_cast<duckdb::DataChunk&>(row.rows));
  }
  chunk.SetCardinality(1);
  std::string text;
  if (auto writer = sql::JsonWriter::make(names, {types.begin(), types.end()})) {
    chunk.Flatten();
    (*writer)->begin(chunk);
    (*writer)->write(0, text);
  } else {  // a type without a JSON form
    text = chunk.ToString();
  }
  if (text.size() > kJsonBytesMax) text.resize(kJsonBytesMax);
  return text;
}

void tell_failed_key(const Evaluator& keys, const RowCodec& codec, const char* key,
                     std::string reason, DeltaStream& out) {
  auto row = std::make_shared<Delta>();
  make_chunk(row->rows, keys.types(), 1);
  codec.decode({&key, 1}, row->rows);
  row->rows.SetCardinality(1);
  row->weights.push_back(1);
  std::vector<std::string> names;
  for (size_t i = 0; i < keys.size(); ++i) names.push_back(keys[i].GetName());
  auto json = failed_row_json(*row, std::move(names));
  out.errors.push_back({std::move(row), std::nullopt, std::move(reason), std::move(json)});
}

}  // namespace millrace::flow
