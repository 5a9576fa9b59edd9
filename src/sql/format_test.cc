#include "sql/format.h"

#include <gtest/gtest.h>

#include <random>

#include "log/record_batch.h"

namespace millrace::sql {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

catalog::Object topic(std::vector<catalog::Column> columns) {
  catalog::Object object;
  object.name = "t";
  object.columns = std::move(columns);
  return object;
}

struct Decoded {
  duckdb::vector<duckdb::vector<Value>> rows;
  std::vector<BadRecord> bad;
};

/// Offsets from 100 on.
std::string batch_of(const std::vector<std::optional<std::string>>& values) {
  log::BatchBuilder builder;
  for (const auto& value : values) builder.add(1'700'000'000'000, "k", value);
  std::string batch = builder.finish();
  log::patch_batch(batch.data(), 100, 0, std::nullopt);
  return batch;
}

Decoded decode(const catalog::Object& object, const std::string& batches,
               std::vector<size_t> columns = {}, Offset from = 0, Offset until = INT64_MAX) {
  if (columns.empty())
    for (size_t i = 0; i < std::max<size_t>(object.columns.size(), 1); ++i) columns.push_back(i);
  auto decoder = Decoder::make(object, columns);
  EXPECT_TRUE(decoder) << decoder.error().text;
  Decoded result;
  duckdb::DataChunk chunk;
  const auto& types = (*decoder)->types();
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(),
                   duckdb::vector<LogicalType>(types.begin(), types.end()));
  const auto take = [&](duckdb::DataChunk& full) {
    full.Verify();
    for (size_t row = 0; row < full.size(); ++row) {
      result.rows.emplace_back();
      for (size_t i = 0; i < full.ColumnCount(); ++i)
        result.rows.back().push_back(full.GetValue(i, row));
    }
    full.Reset();
  };
  const auto done = (*decoder)->decode(batches, 3, from, until, chunk, take, &result.bad);
  EXPECT_TRUE(done) << done.error().text;
  take(chunk);
  return result;
}

/// The value that a column of that type gets from a JSON text, as SQL shows it; or the reason.
std::string read_record(const std::string& type, const std::string& record) {
  const auto d = decode(topic({{"c", type}}), batch_of({record}));
  if (!d.bad.empty()) return d.bad[0].reason;
  return d.rows.at(0).at(0).ToString();
}
std::string read_one(const std::string& type, const std::string& json) {
  return read_record(type, "{\"c\":" + json + "}");
}

TEST(Format, ParsesTypesAsDeclared) {
  for (const std::string sql : {"BIGINT", "STRUCT(a INTEGER, b VARCHAR)[]", "MAP(VARCHAR, BLOB)",
                                "ENUM('a', 'b')", "DECIMAL(10,2)", "TIMESTAMP WITH TIME ZONE",
                                "INTEGER[3]", "BIT", "JSON", "STRUCT(j JSON, e ENUM('x'))[]"}) {
    auto type = parse_type(sql);
    ASSERT_TRUE(type) << sql << ": " << type.error().text;
    EXPECT_EQ(type->ToString(), sql);
  }
  EXPECT_FALSE(parse_type("nonsense"));
  EXPECT_FALSE(parse_type("INTEGER, d INTEGER"));
  EXPECT_FALSE(parse_type("INTEGER; DROP TABLE x"));
  EXPECT_FALSE(parse_type("STRUCT(a nonsense)"));
}

TEST(Format, ShowsHiddenColumnsAfterTheDeclaredOnes) {
  auto columns = columns_of(topic({{"a", "INTEGER", true}}));
  ASSERT_TRUE(columns);
  ASSERT_EQ(columns->size(), 6u);
  EXPECT_TRUE(columns->at(0).not_null);
  EXPECT_EQ(columns->at(1).name, "_key");
  EXPECT_TRUE(columns->at(5).hidden);
  auto raw = columns_of(topic({}));
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->at(0).name, "value");
  EXPECT_EQ(raw->at(0).type, LogicalType::BLOB);
}

TEST(Format, ReadsScalars) {
  EXPECT_EQ(read_one("BIGINT", "-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(read_one("BIGINT", "1e3"), "1000");
  EXPECT_EQ(read_one("INTEGER", "7.0"), "7");
  EXPECT_EQ(read_one("UBIGINT", "18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(read_one("HUGEINT", "-170141183460469231731687303715884105728"),
            "-170141183460469231731687303715884105728");
  EXPECT_EQ(read_one("UHUGEINT", "340282366920938463463374607431768211455"),
            "340282366920938463463374607431768211455");
  EXPECT_EQ(read_one("DECIMAL(10,2)", "1.005"), "1.01");
  EXPECT_EQ(read_one("DECIMAL(38,10)", "-1234567890123456789012345678.0123456789"),
            "-1234567890123456789012345678.0123456789");
  EXPECT_EQ(read_one("DOUBLE", "1e400").substr(0, 25), "column c: expected DOUBLE");
  EXPECT_EQ(read_one("DOUBLE", "1e-400"), "0.0");
  EXPECT_EQ(read_one("DOUBLE", "\"-Infinity\""), "-inf");
  // With a name that is escaped, so that simdjson reads the record.
  for (const std::string type : {"DOUBLE", "FLOAT"}) {
    EXPECT_EQ(read_record(type, R"({"\u0063":0.714420000000000000000000000})"), "0.71442") << type;
  }
  EXPECT_EQ(read_one("FLOAT", "0.1"), "0.1");
  EXPECT_EQ(read_one("BOOLEAN", "true"), "true");
  EXPECT_EQ(read_one("VARCHAR", R"("a\u00e4\n\ud83d\ude00")"), "aä\n😀");
  EXPECT_EQ(read_one("VARCHAR", R"({ "x" : [1, 2] } )"), R"({ "x" : [1, 2] })");
  EXPECT_EQ(read_one("VARCHAR", "12.50"), "12.50");
  EXPECT_EQ(read_one("JSON", R"(["a", {"b":null}])"), R"(["a", {"b":null}])");
  EXPECT_EQ(read_one("JSON", R"("a")"), R"("a")");
  EXPECT_EQ(read_one("TIMESTAMP", "\"2013-01-01T05:15:00Z\""), "2013-01-01 05:15:00");
  EXPECT_EQ(read_one("TIMESTAMP", "\"2013-01-01 05:15:00.25+01:30\""), "2013-01-01 03:45:00.25");
  EXPECT_EQ(read_one("TIMESTAMP", "1357017300123"), "2013-01-01 05:15:00.123");
  EXPECT_EQ(read_one("TIMESTAMPTZ", "\"2013-01-01T05:15:00-05\""), "2013-01-01 10:15:00+00");
  EXPECT_EQ(read_one("DATE", "\"2012-02-29\""), "2012-02-29");
  EXPECT_EQ(read_one("TIME", "\"23:59:59.5\""), "23:59:59.5");
  EXPECT_EQ(read_one("INTERVAL", "\"1 year 2 days\""), "1 year 2 days");
  EXPECT_EQ(read_one("UUID", "\"00112233-4455-6677-8899-AABBCCDDEEFF\""),
            "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(read_one("BLOB", "\"AAEC\""), "\\x00\\x01\\x02");
  EXPECT_EQ(read_one("ENUM('x', 'y')", "\"y\""), "y");
}

TEST(Format, ReadsNestedValues) {
  EXPECT_EQ(read_one("STRUCT(a INTEGER, b VARCHAR[])", R"({"b":["x",null],"z":1})"),
            "{'a': NULL, 'b': [x, NULL]}");
  EXPECT_EQ(read_one("MAP(VARCHAR, INTEGER)", R"({"k":1,"l":null})"), "{k=1, l=NULL}");
  EXPECT_EQ(read_one("MAP(INTEGER, VARCHAR)", R"([[1,"a"],[2,"b"]])"), "{1=a, 2=b}");
  EXPECT_EQ(read_one("INTEGER[2]", "[1,2]"), "[1, 2]");
  EXPECT_EQ(read_one("MAP(INTEGER, VARCHAR)", R"([[1,"a"],[1,"b"]])"),
            "column c: a map key is null or stands twice");
  EXPECT_EQ(read_one("INTEGER[2]", "[1]"), "column c: expected INTEGER[2], found 1 elements");
  EXPECT_EQ(read_one("STRUCT(a INTEGER[])", R"({"a":[1,"x"]})"),
            "column c.a[1]: expected INTEGER, found \"x\"");
}

TEST(Format, SaysWhyARecordDoesNotFit) {
  EXPECT_EQ(read_one("BIGINT", "\"12\""), "column c: expected BIGINT, found \"12\"");
  EXPECT_EQ(read_one("TINYINT", "128"), "column c: expected TINYINT, found 128");
  EXPECT_EQ(read_one("UINTEGER", "-1"), "column c: expected UINTEGER, found -1");
  EXPECT_EQ(read_one("BIGINT", "1.5"), "column c: expected BIGINT, found 1.5");
  EXPECT_EQ(read_one("BIGINT", "{}"), "column c: expected BIGINT, found an object");
  EXPECT_EQ(read_one("BOOLEAN", "1"), "column c: expected BOOLEAN, found 1");
  EXPECT_EQ(read_one("DATE", "\"2013-02-29\""), "column c: expected DATE, found \"2013-02-29\"");
  EXPECT_EQ(read_one("DECIMAL(4,2)", "100"), "column c: expected DECIMAL(4,2), found 100");
  EXPECT_EQ(read_one("BLOB", "\"A\""), "column c: expected BLOB, found \"A\"");
  EXPECT_EQ(read_one("BIGINT", '"' + std::string(100, 'x') + '"'),
            "column c: expected BIGINT, found \"" + std::string(39, 'x') + "...");
}

TEST(Format, KeepsNotNull) {
  const auto object = topic({{"a", "INTEGER", true}, {"b", "INTEGER"}});
  const auto d = decode(object, batch_of({R"({"b":1})", R"({"a":null})", R"({"a":2})"}), {1});
  ASSERT_EQ(d.rows.size(), 1u);
  EXPECT_TRUE(d.rows[0][0].IsNull());
  ASSERT_EQ(d.bad.size(), 2u);
  EXPECT_EQ(d.bad[0].reason, "column a: NOT NULL, and the record has no such field");
  EXPECT_EQ(d.bad[1].reason, "column a: NOT NULL, found null");
  EXPECT_EQ(d.bad[1].offset, 101);
  EXPECT_EQ(d.bad[1].value, R"({"a":null})");
}

TEST(Format, JudgesARecordByAllColumnsWhicheverAreAsked) {
  const auto object = topic({{"a", "INTEGER"}, {"b", "VARCHAR"}, {"c", "DATE"}});
  const auto batch = batch_of({R"({"a":1,"b":"\q"})", R"({"a":1,"c":"x"})", R"({"a":1})"});
  for (size_t column = 0; column < 3; ++column) {
    const auto d = decode(object, batch, {column});
    EXPECT_EQ(d.rows.size(), 1u) << column;
    EXPECT_EQ(d.bad.size(), 2u) << column;
  }
}

TEST(Format, FindsColumnsInAnyOrderAndCase) {
  const auto object = topic({{"a", "INTEGER"}, {"B", "INTEGER"}});
  const auto d = decode(object, batch_of({R"({"a":1,"B":2})", R"({"b":4,"x":[{}],"A":3})",
                                          R"({"a":5,"B":6})", R"({"\u0061":7})", "{}"}));
  ASSERT_EQ(d.bad.size(), 0u) << d.bad[0].reason;
  EXPECT_EQ(d.rows[1][0], Value::INTEGER(3));
  EXPECT_EQ(d.rows[1][1], Value::INTEGER(4));
  EXPECT_EQ(d.rows[2][1], Value::INTEGER(6));
  EXPECT_EQ(d.rows[3][0], Value::INTEGER(7));
  EXPECT_TRUE(d.rows[4][0].IsNull());
}

TEST(Format, GivesHiddenColumnsAndTheOffsetAsRowId) {
  log::BatchBuilder builder;
  builder.add(5, std::nullopt, "{\"a\":1}", {{"h", "1"}, {"g", std::nullopt}, {"h", "2"}});
  std::string batch = builder.finish();
  log::patch_batch(batch.data(), 7, 0, std::nullopt);
  const auto d = decode(topic({{"a", "INTEGER"}}), batch, {5, 4, 3, 2, 1, ScanRequest::kRowId});
  ASSERT_EQ(d.rows.size(), 1u);
  EXPECT_EQ(d.rows[0][0].ToString(), "{g=NULL, h=2}");
  EXPECT_EQ(d.rows[0][1], Value::BIGINT(7));
  EXPECT_EQ(d.rows[0][2], Value::INTEGER(3));
  EXPECT_EQ(d.rows[0][3].ToString(), "1970-01-01 00:00:00.005+00");
  EXPECT_TRUE(d.rows[0][4].IsNull());
  EXPECT_EQ(d.rows[0][5], Value::BIGINT(7));
}

TEST(Format, ReadsOnlyTheOffsetsAsked) {
  const auto object = topic({{"a", "INTEGER"}});
  const auto batch = batch_of({"{\"a\":0}", "{\"a\":1}", "{\"a\":2}", "{\"a\":3}"});
  const auto d = decode(object, batch, {}, 101, 103);
  ASSERT_EQ(d.rows.size(), 2u);
  EXPECT_EQ(d.rows[0][0], Value::INTEGER(1));
  EXPECT_TRUE(decode(object, batch, {}, 200, 300).rows.empty());
}

TEST(Format, ARecordWithoutAValueIsARowOfNulls) {
  const auto batch = batch_of({"{\"a\":1}", std::nullopt});
  auto d = decode(topic({{"a", "INTEGER"}, {"l", "VARCHAR[]"}}), batch, {0, 1, 2, 5});
  ASSERT_EQ(d.rows.size(), 2u);
  EXPECT_TRUE(d.rows[1][0].IsNull());
  EXPECT_TRUE(d.rows[1][1].IsNull());
  EXPECT_EQ(d.rows[1][2], Value::BLOB("k"));
  EXPECT_EQ(d.rows[1][3], Value::BIGINT(101));
  EXPECT_TRUE(decode(topic({}), batch).rows.at(1).at(0).IsNull());
}

TEST(Format, WhereAColumnIsNotNullARecordNeedsAValue) {
  auto object = topic({{"b", "INTEGER"}, {"a", "INTEGER", true}});
  const auto batch = batch_of({std::nullopt, "{\"a\":1}"});
  auto d = decode(object, batch, {0});
  EXPECT_EQ(d.rows.size(), 1u);
  ASSERT_EQ(d.bad.size(), 1u);
  EXPECT_EQ(d.bad[0].reason, "column a: NOT NULL, and the record has no value");
  EXPECT_EQ(d.bad[0].value, std::nullopt);
  EXPECT_EQ(d.bad[0].key, "k");
  auto lines = topic({{"line", "VARCHAR", true}});
  lines.options["format"] = "raw";
  d = decode(lines, batch_of({std::nullopt, "x"}));
  EXPECT_EQ(d.rows.size(), 1u);
  EXPECT_EQ(d.bad.size(), 1u);
}

TEST(Format, ATombstoneOfATableTakesARowAway) {
  auto object = topic({{"a", "INTEGER", true}});
  const auto batch = batch_of({std::nullopt, "{\"a\":1}"});
  object.kind = catalog::Kind::kTable;
  const auto d = decode(object, batch, {0, 1, Decoder::kTombstone});
  ASSERT_EQ(d.rows.size(), 2u);
  EXPECT_TRUE(d.rows[0][0].IsNull());
  EXPECT_EQ(d.rows[0][1], Value::BLOB("k"));
  EXPECT_EQ(d.rows[0][2], Value::BOOLEAN(true));
  EXPECT_EQ(d.rows[1][2], Value::BOOLEAN(false));
}

TEST(Format, ReadsRawValues) {
  EXPECT_EQ(decode(topic({}), batch_of({"\xff"})).rows.at(0).at(0), Value::BLOB_RAW("\xff"));
  auto text = topic({{"line", "VARCHAR"}});
  text.options["format"] = "raw";
  const auto d = decode(text, batch_of({"hello", "\xff"}));
  EXPECT_EQ(d.rows.at(0).at(0), Value("hello"));
  ASSERT_EQ(d.bad.size(), 1u);
  EXPECT_EQ(d.bad[0].reason, "not valid UTF-8");
  text.columns.push_back({"b", "INTEGER"});
  EXPECT_FALSE(Decoder::make(text, {0}));
}

TEST(Format, FillsChunksAndGoesOn) {
  std::vector<std::optional<std::string>> values;
  for (int i = 0; i < 5000; ++i)
    values.push_back(R"({"a":)" + std::to_string(i) +
                     R"(,"l":[1,2,3],"s":"a string of some length"})");
  const auto d =
      decode(topic({{"a", "INTEGER"}, {"l", "INTEGER[]"}, {"s", "VARCHAR"}}), batch_of(values));
  ASSERT_EQ(d.rows.size(), 5000u);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(d.rows[i][0], Value::INTEGER(i));
  EXPECT_EQ(d.rows[4999][1].ToString(), "[1, 2, 3]");
}

TEST(Format, AnswersBrokenJsonWithAReason) {
  const std::string whole =
      R"({"a":-12.5,"b":"x\u00e9y","c":[1,{"d":null}],"e":{"f":true},"u":[false,"\\"],"t":"2013-01-01T00:00:00Z"})";
  const auto object = topic({{"a", "DOUBLE"},
                             {"b", "VARCHAR"},
                             {"c", "JSON"},
                             {"e", "STRUCT(f BOOLEAN)"},
                             {"t", "TIMESTAMP"}});
  std::vector<std::optional<std::string>> broken;
  for (size_t i = 0; i < whole.size(); ++i) broken.push_back(whole.substr(0, i));
  for (const char* other : {"[]", "1", "null", "\"x\"", "{}{}", "{},", "{\"a\":1}x", "{\"a\" 1}",
                            "{a:1}", "{\"a\":1,}", "{\"z\":tru}", "{\"z\":01}", "{\"z\":[1,]}",
                            "{\"z\":nul}", "{\"z\":\"\\q\"}", "\xff\xfe", "{\"b\":\"\xff\"}"})
    broken.push_back(other);
  broken.push_back("{\"z\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}");
  const auto d = decode(object, batch_of(broken));
  EXPECT_EQ(d.bad.size(), broken.size());
  for (const auto& bad : d.bad) EXPECT_FALSE(bad.reason.empty());
  EXPECT_EQ(decode(object, batch_of({whole})).rows.size(), 1u);
}

TEST(Format, SurvivesFlippedBytes) {
  const std::string whole =
      R"({"a":-12.5,"m":{"k":[1,2]},"s":{"x":1,"y":"z"},"t":"2013-01-01T00:00:00Z","d":1.25})";
  const auto object = topic({{"a", "DOUBLE"},
                             {"m", "MAP(VARCHAR, INTEGER[])"},
                             {"s", "STRUCT(x INTEGER, y VARCHAR)"},
                             {"t", "TIMESTAMPTZ"},
                             {"d", "DECIMAL(18,3)"}});
  std::mt19937 random(7);
  std::vector<std::optional<std::string>> values;
  for (int i = 0; i < 20'000; ++i) {
    std::string value = whole;
    for (int n = 0; n <= i % 3; ++n) value[random() % value.size()] = static_cast<char>(random());
    values.push_back(value);
  }
  const auto d = decode(object, batch_of(values));
  EXPECT_EQ(d.rows.size() + d.bad.size(), values.size());
  for (const auto& bad : d.bad) EXPECT_FALSE(bad.reason.empty());
}

}  // namespace
}  // namespace millrace::sql
