// Bytes as the JSON value of a topic's record. Finds: crashes, a record that fits when all columns
// are asked for and not when one field is, and rows that are others once written and read again.
#include <duckdb.hpp>

#include <cstdlib>

#include "log/record_batch.h"
#include "sql/format.h"
#include "test/fuzz/seeds.h"

namespace millrace::sql {
namespace {

using Row = std::vector<duckdb::Value>;

const catalog::Object& topic() {
  static const catalog::Object object = [] {
    catalog::Object made;
    made.name = "t";
    for (const auto& [name, type] : std::vector<std::pair<std::string, std::string>>{
             {"b", "BOOLEAN"},
             {"i", "INTEGER"},
             {"u", "UBIGINT"},
             {"h", "HUGEINT"},
             {"f", "FLOAT"},
             {"d", "DOUBLE"},
             {"n", "DECIMAL(18, 4)"},
             {"s", "VARCHAR"},
             {"x", "BLOB"},
             {"day", "DATE"},
             {"t", "TIMESTAMP"},
             {"z", "TIMESTAMPTZ"},
             {"span", "INTERVAL"},
             {"id", "UUID"},
             {"e", "ENUM('a', 'b')"},
             {"j", "JSON"},
             {"l", "INTEGER[]"},
             {"m", "MAP(VARCHAR, BIGINT)"},
             {"o", "STRUCT(a INTEGER, b STRUCT(c VARCHAR, d DOUBLE[]))"}}) {
      made.columns.push_back({.name = name, .type = type});
    }
    return made;
  }();
  return object;
}

class Reader {
 public:
  explicit Reader(std::vector<size_t> columns) {
    auto made = Decoder::make(topic(), std::move(columns));
    if (!made) std::abort();
    decoder_ = std::move(*made);
    const auto& types = decoder_->types();
    chunk_.Initialize(duckdb::Allocator::DefaultAllocator(),
                      duckdb::vector<duckdb::LogicalType>(types.begin(), types.end()));
  }
  /// The row, or nothing: the record does not fit.
  std::optional<Row> read(const std::string& value) {
    log::BatchBuilder builder;
    builder.add(1'700'000'000'000, std::nullopt, value);
    const std::string batch = builder.finish();
    chunk_.Reset();
    std::vector<BadRecord> bad;
    const auto full = [](duckdb::DataChunk&) { std::abort(); };
    if (!decoder_->decode(batch, 0, 0, INT64_MAX, chunk_, full, &bad)) std::abort();
    if (bad.size() + chunk_.size() != 1) std::abort();
    if (!bad.empty()) return std::nullopt;
    chunk_.Verify();
    Row row;
    for (size_t i = 0; i < chunk_.ColumnCount(); ++i) row.push_back(chunk_.GetValue(i, 0));
    return row;
  }
  duckdb::DataChunk& chunk() { return chunk_; }
  const std::vector<duckdb::LogicalType>& types() const { return decoder_->types(); }

 private:
  std::unique_ptr<Decoder> decoder_;
  duckdb::DataChunk chunk_;
};

std::vector<size_t> all_columns() {
  std::vector<size_t> columns(topic().columns.size());
  for (size_t i = 0; i < columns.size(); ++i) columns[i] = i;
  return columns;
}

std::vector<size_t> one_field() {
  const size_t a[] = {0};
  const size_t c[] = {1, 0};
  const size_t last = topic().columns.size() - 1;
  return {*field_column(last, a), *field_column(last, c)};
}

std::string written(Reader& reader) {
  static const auto writer = [&] {
    std::vector<std::string> names;
    for (const auto& column : topic().columns) names.push_back(column.name);
    auto made = JsonWriter::make(std::move(names), reader.types());
    if (!made) std::abort();
    return std::move(*made);
  }();
  std::string out;
  writer->begin(reader.chunk());
  writer->write(0, out);
  return out;
}

bool same(const Row& a, const Row& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!duckdb::Value::NotDistinctFrom(a[i], b[i])) return false;
  }
  return true;
}

void check(const std::string& value) {
  static Reader whole(all_columns());
  static Reader fields(one_field());
  const auto row = whole.read(value);
  const auto part = fields.read(value);
  if (row.has_value() != part.has_value()) std::abort();
  if (!row) return;
  whole.read(value);
  const auto again = whole.read(written(whole));
  if (!again || !same(*row, *again)) std::abort();
}

}  // namespace
}  // namespace millrace::sql

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::sql::check(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"b":true,"i":-7,"u":18446744073709551615,"h":"170141183460469231731687303715884105727","f":1.5,"d":1e300})",
      R"({"n":"1.2345","s":"a\u00e9\n\"","x":"AAEC","day":"2020-02-29","t":"2020-01-01 12:00:00.000001"})",
      R"({"z":"2020-01-01T00:00:00+02:00","span":"1 day 02:00:00","id":"6f1f7a4e-7e3c-4b0e-9e64-0d8f3d6d2a11","e":"b"})",
      R"({"j":{"any":[1,null,"x"]},"l":[1,null,3],"m":{"k":1,"q":null},"o":{"a":1,"b":{"c":"s","d":[0.1,null]}}})",
      R"({"d":0.714420000000000000000000000,"f":0.714420000000000000000000000,"s":"\n"})",
      R"({"o":{"a":null,"b":null},"l":[],"m":{},"s":null,"other":[[[{}]]]})",
      "null",
      "[]",
  };
}
