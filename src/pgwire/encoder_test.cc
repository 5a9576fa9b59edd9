#include "pgwire/detail/encoder.h"

#include <gtest/gtest.h>
#include <duckdb/common/types/bignum.hpp>

#include "pgwire/detail/fake_engine.h"
#include "pgwire/detail/numeric.h"
#include "pgwire/detail/parameter.h"
#include "pgwire/detail/types.h"
#include "pgwire/detail/wire.h"

namespace millrace::pgwire::detail {
namespace {

/// The value of a SQL expression as it goes to the client; "NULL" for none.
std::string encode(const std::string& expression, Format format) {
  static FakeEngine engine;
  auto session = engine.connect("me", "millrace");
  auto statement = (*session)->prepare("SELECT " + expression, {});
  if (!statement) return statement.error().text;
  auto cursor = (*session)->execute(**statement, {});
  if (!cursor) return cursor.error().text;
  auto chunk = (*cursor)->fetch();
  if (!chunk) return chunk.error().text;
  RowEncoder rows((*statement)->types(), {format});
  rows.begin(**chunk);
  std::string out;
  return rows.columns()[0].append(0, out) ? out : "NULL";
}
std::string text(const std::string& expression) { return encode(expression, Format::kText); }
std::string hex(const std::string& expression) {
  std::string out;
  for (unsigned char c : encode(expression, Format::kBinary)) out += fmt::format("{:02x}", c);
  return out;
}

// What PostgreSQL 15 prints for the same values.
TEST(TextFormat, IsPostgresqls) {
  const std::pair<const char*, const char*> cases[] = {
      {"true", "t"},
      {"false", "f"},
      {"-7::TINYINT", "-7"},
      {"200::UTINYINT", "200"},
      {"(-32768)::SMALLINT", "-32768"},
      {"9223372036854775807", "9223372036854775807"},
      {"18446744073709551615::UBIGINT", "18446744073709551615"},
      {"(-170141183460469231731687303715884105728)::HUGEINT",
       "-170141183460469231731687303715884105728"},
      {"12.30::DECIMAL(10,2)", "12.30"},
      {"-0.05::DECIMAL(4,2)", "-0.05"},
      {"0.1::DOUBLE", "0.1"},
      {"1e15::DOUBLE", "1e+15"},
      {"123456789012345::DOUBLE", "123456789012345"},
      {"0.0001::DOUBLE", "0.0001"},
      {"0.00001::DOUBLE", "1e-05"},
      {"-0.0::DOUBLE", "-0"},
      {"1e300::DOUBLE", "1e+300"},
      {"0.1::FLOAT", "0.1"},
      {"123456::FLOAT", "123456"},
      {"1234567::FLOAT", "1.234567e+06"},
      {"'nan'::DOUBLE", "NaN"},
      {"'-inf'::DOUBLE", "-Infinity"},
      {"'a b'", "a b"},
      {"'\\x00\\xFF'::BLOB", "\\x00ff"},
      {"DATE '2013-01-01'", "2013-01-01"},
      {"DATE '0044-03-15 (BC)'", "0044-03-15 BC"},
      {"'infinity'::DATE", "infinity"},
      {"TIME '10:00:00'", "10:00:00"},
      {"TIME '10:00:00.120'", "10:00:00.12"},
      {"'10:00:00+05:30'::TIMETZ", "10:00:00+05:30"},
      {"TIMESTAMP '2013-01-01 10:00:00'", "2013-01-01 10:00:00"},
      {"TIMESTAMP '1969-12-31 23:59:59.999999'", "1969-12-31 23:59:59.999999"},
      {"'-infinity'::TIMESTAMP", "-infinity"},
      {"TIMESTAMP_MS '2013-01-01 10:00:00.5'", "2013-01-01 10:00:00.5"},
      {"TIMESTAMP_NS '2013-01-01 10:00:00.123456789'", "2013-01-01 10:00:00.123456"},
      {"TIMESTAMP_S '2013-01-01 10:00:00'", "2013-01-01 10:00:00"},
      {"TIMESTAMPTZ '2013-01-01 10:00:00+02'", "2013-01-01 08:00:00+00"},
      {"INTERVAL '1 day 2 hours'", "1 day 02:00:00"},
      {"INTERVAL '14 months 3 days'", "1 year 2 mons 3 days"},
      {"INTERVAL '0 days'", "00:00:00"},
      {"INTERVAL (-1) DAY + INTERVAL 2 HOUR", "-1 days +02:00:00"},
      {"INTERVAL (-90) SECOND", "-00:01:30"},
      {"'550E8400-e29b-41d4-a716-446655440000'::UUID", "550e8400-e29b-41d4-a716-446655440000"},
      {"'{\"a\": 1}'::JSON", "{\"a\": 1}"},
      {"[1, NULL, 3]", "{1,NULL,3}"},
      {"[]::INTEGER[]", "{}"},
      {"['a', '', 'NULL', 'b c', 'd\"\\e', 'f,g']",
       "{a,\"\",\"NULL\",\"b c\",\"d\\\"\\\\e\",\"f,g\"}"},
      {"[1.5, 2.5]::DOUBLE[2]", "{1.5,2.5}"},
      {"[TIMESTAMP '2013-01-01 10:00:00']", "{\"2013-01-01 10:00:00\"}"},
      {"[[1, 2], [3]]", "[[1,2],[3]]"},
      {"{'a': 1, 'b': [NULL, 'x\"'], 'c': {'d': 1.5::DOUBLE}}",
       "{\"a\":1,\"b\":[null,\"x\\\"\"],\"c\":{\"d\":1.5}}"},
      {"MAP {'k': 1}", "{\"k\":1}"},
      {"MAP {1: 'v'}", "[[1,\"v\"]]"},
      {"'b'::ENUM('a', 'b')", "b"},
      {"'101'::BIT", "101"},
      {"NULL::INTEGER", "NULL"},
      {"123456789012345678901234567890::BIGNUM", "123456789012345678901234567890"},
  };
  for (const auto& [expression, expected] : cases)
    EXPECT_EQ(text(expression), expected) << expression;
}

TEST(BinaryFormat, IsPostgresqls) {
  const std::pair<const char*, const char*> cases[] = {
      {"true", "01"},
      {"-2::TINYINT", "fffe"},
      {"1::INTEGER", "00000001"},
      {"-1::BIGINT", "ffffffffffffffff"},
      {"4000000000::UINTEGER", "00000000ee6b2800"},
      {"1.5::DOUBLE", "3ff8000000000000"},
      {"1.5::FLOAT", "3fc00000"},
      {"'ab'", "6162"},
      {"'\\xFF'::BLOB", "ff"},
      // ndigits weight sign dscale digits
      {"0.00::DECIMAL(5,2)", "0000000000000002"},
      {"1::HUGEINT", "00010000000000000001"},
      {"12345.6789::DECIMAL(18,4)",
       "000300010000000400010929"
       "1a85"},
      {"-0.0001::DECIMAL(18,4)", "0001ffff400000040001"},
      {"10000::HUGEINT", "00010001000000000001"},
      {"DATE '2000-01-01'", "00000000"},
      {"DATE '1999-12-31'", "ffffffff"},
      {"TIME '00:00:01'", "00000000000f4240"},
      {"TIMESTAMP '2000-01-01 00:00:01'", "00000000000f4240"},
      {"TIMESTAMPTZ '1999-12-31 23:59:59+00'", "fffffffffff0bdc0"},
      {"'infinity'::TIMESTAMP", "7fffffffffffffff"},
      {"INTERVAL '1 month 2 days 1 second'", "00000000000f42400000000200000001"},
      {"'550e8400-e29b-41d4-a716-446655440000'::UUID", "550e8400e29b41d4a716446655440000"},
      {"[1, NULL]",
       "000000010000000100000017"
       "0000000200000001"
       "0000000400000001"
       "ffffffff"},
      {"[]::INTEGER[]", "000000000000000000000017"},
      {"{'a': 1}", "7b2261223a317d"},
  };
  for (const auto& [expression, expected] : cases)
    EXPECT_EQ(hex(expression), expected) << expression;
}

TEST(Encoder, ReadsEveryRowOfAResult) {
  FakeEngine engine;
  auto session = engine.connect("me", "millrace");
  auto statement = (*session)->prepare(
      "SELECT CASE WHEN range % 3 = 0 THEN [range, NULL] WHEN range % 3 = 1 THEN [] END, 'c' "
      "FROM range(4)",
      {});
  auto cursor = (*session)->execute(**statement, {});
  auto chunk = (*cursor)->fetch();
  RowEncoder rows((*statement)->types(), {});
  rows.begin(**chunk);
  std::string out;
  for (size_t row = 0; row < 4; row++) {
    out += rows.columns()[0].append(row, out) ? ";" : "-;";
    rows.columns()[1].append(row, out);
  }
  EXPECT_EQ(out, "{0,NULL};c{};c-;c{3,NULL};c");
}

TEST(Numeric, ReadsWhatItWrites) {
  for (const char* number :
       {"0", "1", "-1", "9999", "10000", "12345.6789", "-0.0001", "100000000", "0.5", "1.00",
        "99999999999999999999999999999999999999", "0.00000001", "NaN", "1000000.0001"}) {
    std::string bytes;
    numeric_to_binary(number, bytes);
    auto back = numeric_from_binary(bytes);
    ASSERT_TRUE(back) << number;
    EXPECT_EQ(*back, number);
    for (size_t cut = 0; cut < bytes.size(); cut++) {
      EXPECT_FALSE(numeric_from_binary(std::string_view(bytes).substr(0, cut))) << number;
    }
  }
}

// A value read from what the encoder writes is the value.
TEST(Parameters, ReadWhatTheEncoderWrites) {
  for (const char* expression : {
           "true",
           "-5::SMALLINT",
           "7::INTEGER",
           "-8::BIGINT",
           "1.25::FLOAT",
           "-1e300::DOUBLE",
           "12345.67::DECIMAL(18,2)",
           "'text'",
           "'\\x00\\xFF'::BLOB",
           "DATE '2013-02-28'",
           "TIME '23:59:59.999999'",
           "'10:00:00-08'::TIMETZ",
           "TIMESTAMP '1999-12-31 23:59:59.5'",
           "TIMESTAMPTZ '2013-01-01 10:00:00+00'",
           "INTERVAL '1 month -2 days 3 seconds'",
           "'550e8400-e29b-41d4-a716-446655440000'::UUID",
           "[1, NULL, 3]",
           "['a\"b', '', 'NULL']",
           "'infinity'::TIMESTAMP",
           "'-infinity'::DATE",
           "[TIMESTAMP '2013-01-01 10:00:00', NULL]",
       }) {
    FakeEngine engine;
    auto session = engine.connect("me", "millrace");
    auto statement = (*session)->prepare(fmt::format("SELECT {}", expression), {});
    int32_t type = wire_type((*statement)->types()[0]).oid;
    std::string expected = text(expression);
    for (Format format : {Format::kText, Format::kBinary}) {
      auto value = read_parameter(type, format, encode(expression, format));
      ASSERT_TRUE(value) << expression << ": " << value.error().text;
      ColumnEncoder encoder(value->type(), Format::kText);
      duckdb::Vector vector(*value);
      encoder.begin(vector, 1);
      std::string again;
      ASSERT_TRUE(encoder.append(0, again));
      if (type != oid::kNumeric) EXPECT_EQ(again, expected) << expression;
      if (type == oid::kNumeric) EXPECT_EQ(std::stod(again), std::stod(expected));
    }
  }
}

TEST(Parameters, RefuseWhatDoesNotFit) {
  const std::pair<int32_t, std::string> texts[] = {
      {oid::kInt4, "x"},        {oid::kInt2, "40000"}, {oid::kBool, "maybe"},
      {oid::kBytea, "\\xf"},    {oid::kBytea, "\\9"},  {oid::kDate, "2013-13-01"},
      {oid::kUuid, "123"},      {oid::kText, "\xff"},  {1007, "{1,2"},
      {1007, "{{1}}"},          {1007, "{1,x}"},       {1007, "1,2"},
      {oid::kNumeric, "1.2.3"}, {1007, "{1,}"},        {oid::kTimestamp, "now-ish"},
  };
  for (const auto& [type, bytes] : texts) {
    EXPECT_FALSE(read_parameter(type, Format::kText, bytes)) << type << " " << bytes;
  }
  for (int32_t type : {oid::kBool, oid::kInt2, oid::kInt4, oid::kInt8, oid::kFloat8, oid::kDate,
                       oid::kTime, oid::kTimetz, oid::kTimestamp, oid::kInterval, oid::kUuid,
                       oid::kNumeric, oid::kJsonb, 1007}) {
    for (size_t size : {0u, 3u, 5u, 100u}) {
      EXPECT_FALSE(read_parameter(type, Format::kBinary, std::string(size, '\xff')))
          << type << " " << size;
    }
  }
}

TEST(Parameters, ReadPostgresqlsOwnSpellings) {
  EXPECT_EQ(read_parameter(oid::kBool, Format::kText, "on")->ToString(), "true");
  EXPECT_EQ(read_parameter(oid::kBytea, Format::kText, "a\\000\\\\")
                ->GetValueUnsafe<duckdb::string_t>()
                .GetSize(),
            3u);
  EXPECT_EQ(read_parameter(1009, Format::kText, "{a, \"b,\\\"c\", NULL , \"null\"}")->ToString(),
            "[a, 'b,\"c', NULL, 'null']");
  EXPECT_EQ(read_parameter(oid::kNumeric, Format::kText, "007.50")->ToString(), "7.50");
}

TEST(Types, HaveTheirPostgresqlNames) {
  EXPECT_EQ(wire_type(duckdb::LogicalType::DECIMAL(10, 2)),
            (WireType{oid::kNumeric, -1, ((10 << 16) | 2) + 4}));
  EXPECT_EQ(wire_type(duckdb::LogicalType::LIST(duckdb::LogicalType::VARCHAR)).oid, 1009);
  EXPECT_EQ(wire_type(duckdb::LogicalType::LIST(duckdb::LogicalType::UBIGINT)).oid, 1231);
  EXPECT_EQ(wire_type(duckdb::LogicalType::MAP(duckdb::LogicalType::VARCHAR,
                                               duckdb::LogicalType::INTEGER))
                .oid,
            oid::kJson);
  EXPECT_EQ(logical_type(1007), duckdb::LogicalType::LIST(duckdb::LogicalType::INTEGER));
}

}  // namespace
}  // namespace millrace::pgwire::detail
