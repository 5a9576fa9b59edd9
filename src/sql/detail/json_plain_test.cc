#include "sql/detail/json_plain.h"

#include <gtest/gtest.h>

#include <random>

#include "sql/format.h"

namespace millrace::sql {
namespace {

const std::vector<std::pair<std::string, std::string>> kColumns = {
    {"b", "BOOLEAN"},
    {"tiny", "TINYINT"},
    {"u", "UBIGINT"},
    {"a_long_name", "BIGINT"},
    {"f", "FLOAT"},
    {"d", "DOUBLE"},
    {"n", "DECIMAL(18, 4)"},
    {"s", "VARCHAR"},
    {"x", "BLOB"},
    {"day", "DATE"},
    {"t", "TIMESTAMP"},
    {"z", "TIMESTAMPTZ"},
    {"id", "UUID"},
    {"e", "ENUM('a', 'b')"},
    {"j", "JSON"},
    {"l", "INTEGER[]"},
    {"o", "STRUCT(k INTEGER, v STRUCT(c VARCHAR, d DOUBLE))"}};

/// Asked: each column whole, or, when `some`, a few and fields.
std::vector<JsonReader::Column> columns(bool some, std::vector<duckdb::LogicalType>& types) {
  std::vector<JsonReader::Column> out;
  for (size_t i = 0; i < kColumns.size(); ++i) {
    const auto& [name, type] = kColumns[i];
    out.push_back({name, *shape_of(*parse_type(type)), name == "tiny", {}});
    const Shape& shape = out.back().shape;
    const auto ask = [&](std::vector<size_t> path, const Shape& asked) {
      out.back().asked.push_back({std::move(path), types.size()});
      types.push_back(asked.type);
    };
    if (!some) {
      ask({}, shape);
    } else if (name == "o") {
      ask({0}, shape.children[0]);
      ask({1, 0}, shape.children[1].children[0]);
    } else if (i % 3 == 0) {
      ask({}, shape);
    }
  }
  return out;
}

const std::string kWhole =
    R"({"b":true,"tiny":-7,"u":18,"a_long_name":123456789012345678,"f":1.5,"d":-0.1e-3,"n":12.5,)"
    R"("s":"plain text, and é","x":"AAEC","day":"2024-02-29","t":1700000000000,)"
    R"("z":"2024-01-01T10:00:00.25+02:00","id":"00112233-4455-6677-8899-aabbccddeeff","e":"b",)"
    R"("j":{"q":[1, "2", null, {}], "r":-0.5e7},"more":{"x":[[]]},)"
    R"("o":{"k":5,"v":{"c":"deep","other":false,"d":7}}})";

struct Rows {
  duckdb::DataChunk chunk;
  explicit Rows(const std::vector<duckdb::LogicalType>& types) {
    chunk.Initialize(duckdb::Allocator::DefaultAllocator(),
                     duckdb::vector<duckdb::LogicalType>(types.begin(), types.end()));
  }
  std::string text(size_t row) {
    std::string out;
    for (size_t i = 0; i < chunk.ColumnCount(); ++i) out += chunk.GetValue(i, row).ToString() + "|";
    return out;
  }
};

/// What stands behind a record in the log may look like more of it.
std::string padded(const std::string& json) {
  std::string text = json + "9\",\"s\":1}}}";
  while (text.size() < json.size() + simdjson::SIMDJSON_PADDING) text += "]} \"12,";
  return text;
}

std::string changed(std::mt19937_64& random) {
  static const std::vector<std::string> kPieces = {
      " ",           "\n",        "\\",          "\\n",         "\"",     "\xff",
      "é",           "{",         "}",           "[",           "]",      ":",
      ",",           "null",      "true",        "-",           "0",      "1e5",
      "9",           ".5",        "99999999",    "\"s\":\"\",", "\"B\":", "\"l\":[1],",
      "\"o\":null,", "\"u\":-1,", "\"n\":1e99,", "\"f\":1e39,"};
  std::string text = kWhole;
  for (size_t n = random() % 3 + 1; n > 0; --n) {
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, random() % 8 + 1);
        break;
      case 2:
        text.insert(at, kPieces[random() % kPieces.size()]);
        break;
      default:
        text.replace(at, 1, kPieces[random() % kPieces.size()]);
    }
    if (text.empty()) break;
  }
  if (random() % 8 == 0) text.resize(random() % (text.size() + 1));
  return text;
}

class Pair {
 public:
  explicit Pair(bool some)
      : columns_(columns(some, types_)),
        plain_(columns_),
        parser_(columns_, false),
        quick_(types_),
        slow_(types_) {
    plain_.begin(quick_.chunk);
  }
  /// Whether the plain reader took it; then the parser gives the same row.
  bool same(const std::string& json) {
    const std::string text = padded(json);
    const std::string_view record = std::string_view(text).substr(0, json.size());
    const std::string whole = padded(kWhole);
    while (!plain_.read(std::string_view(whole).substr(0, kWhole.size()), 0)) {
    }
    if (!plain_.read(record, 0)) return false;
    quick_.chunk.SetCardinality(1);
    slow_.chunk.SetCardinality(1);
    EXPECT_TRUE(parser_.read(record, text.size(), slow_.chunk, 0)) << json << "\n"
                                                                   << parser_.reason();
    EXPECT_EQ(quick_.text(0), slow_.text(0)) << json;
    quick_.chunk.Verify();
    if (++records_ % 1000 == 0) {  // strings pile up
      quick_.chunk.Reset();
      slow_.chunk.Reset();
      plain_.begin(quick_.chunk);
    }
    return true;
  }

 private:
  std::vector<duckdb::LogicalType> types_;
  std::vector<JsonReader::Column> columns_;
  PlainReader plain_;
  JsonReader parser_;
  Rows quick_, slow_;
  size_t records_ = 0;
};

TEST(PlainReader, ReadsFieldsAsTheParserDoes) {
  Pair some(true);
  for (const std::string& json : std::vector<std::string>{
           kWhole, R"({"tiny":1})", " { \"tiny\" : 1 , \"s\" : null } \n",
           R"({"z":null,"tiny":0,"u":0})", R"({"S":"other case","tiny":0,"o":{"v":{"C":"x"}}})"})
    EXPECT_TRUE(some.same(json)) << json;
}

TEST(PlainReader, LeavesToTheParserWhatIsNotPlain) {
  Pair some(true);
  for (const char* json :
       {R"({"tiny":1,"s":"\n"})", R"({"tiny":1,"tiny":2})", R"({"tiny":1.0})", R"({"tiny":200})",
        R"({"tiny":null})", R"({"s":"tiny is missing"})", R"({"tiny":01})", R"({"tiny":1,})",
        R"({"tiny":1}})", R"({"tiny":1,"s":"ab)", R"({"tiny":1)", "{\"tiny\":1,\"s\":\"\xff\"}",
        "{\"tiny\":1,\"s\":\"\t\"}", R"({"tiny":1,"l":[1]})", "", "[]", R"({"tiny":nul})"})
    EXPECT_FALSE(some.same(json)) << json;
}

TEST(PlainReader, AgreesWithTheParserOnRecordsChangedAtRandom) {
  const char* given = std::getenv("MR_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("MR_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  Pair some(true);
  size_t plain = 0;
  for (int i = 0; i < 30'000 && !HasFailure(); ++i) plain += some.same(changed(random)) ? 1 : 0;
  EXPECT_GT(plain, 1000u);
}

TEST(PlainReader, LeavesWholeStructsToTheParser) {
  std::vector<duckdb::LogicalType> types;
  const auto all = columns(false, types);
  PlainReader plain(all);
  Rows rows(types);
  plain.begin(rows.chunk);
  const std::string text = padded(kWhole);
  EXPECT_FALSE(plain.read(std::string_view(text).substr(0, kWhole.size()), 0));
}

}  // namespace
}  // namespace millrace::sql
