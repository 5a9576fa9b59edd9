#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "log/record_batch.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;
using duckdb::Value;

/// Random values of any type, the odd ones among them often.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Value value(const LogicalType& type) {
    if (below(6) == 0) return Value(type);
    return present(type);
  }

  size_t below(size_t limit) { return random_() % limit; }

 private:
  int64_t integer(int64_t low, int64_t high) {
    switch (below(4)) {
      case 0:
        return low;
      case 1:
        return high;
      default:
        return std::uniform_int_distribution<int64_t>(low, high)(random_);
    }
  }
  std::string text() {
    static const std::vector<std::string> kPieces = {"a",
                                                     "\"",
                                                     "\\",
                                                     "\n",
                                                     "\x01",
                                                     "é",
                                                     "漢字",
                                                     "😀",
                                                     " ",
                                                     "/",
                                                     "{",
                                                     "null",
                                                     std::string(1, '\0'),
                                                     "a longer piece of plain text"};
    std::string result;
    for (size_t n = below(5); n > 0; --n) result += kPieces[below(kPieces.size())];
    return result;
  }
  double real() {
    static const std::vector<double> kOdd = {0.0,
                                             -0.0,
                                             NAN,
                                             INFINITY,
                                             -INFINITY,
                                             5e-324,
                                             1.7976931348623157e308,
                                             0.1,
                                             -1e21,
                                             123456789012345680.0};
    if (below(3) == 0) return kOdd[below(kOdd.size())];
    const uint64_t bits = random_();
    double result;
    std::memcpy(&result, &bits, sizeof result);
    return std::isnan(result) ? 1.5 : result;
  }
  float real32() {
    static const std::vector<float> kOdd = {0.0f,   -0.0f,         NAN,  INFINITY,   -INFINITY,
                                            1e-45f, 3.4028235e38f, 0.1f, 16777216.0f};
    if (below(3) == 0) return kOdd[below(kOdd.size())];
    const auto bits = static_cast<uint32_t>(random_());
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return std::isnan(result) ? 1.5f : result;
  }
  duckdb::hugeint_t huge() {
    duckdb::hugeint_t h;
    h.lower = random_();
    h.upper = static_cast<int64_t>(random_());
    if (below(4) == 0) h.upper = 0;
    return h;
  }
  Value decimal(const LogicalType& type) {
    const auto width = duckdb::DecimalType::GetWidth(type);
    std::string digits = below(2) == 0 ? "-" : "";
    const size_t count = 1 + below(width);
    for (size_t i = 0; i < count; ++i) digits += static_cast<char>('0' + below(10));
    const auto scale = duckdb::DecimalType::GetScale(type);
    Value integer = Value(digits).DefaultCastAs(LogicalType::HUGEINT);
    const auto number = integer.GetValue<duckdb::hugeint_t>();
    if (width <= 4) return Value::DECIMAL(static_cast<int16_t>(number.lower), width, scale);
    if (width <= 9) return Value::DECIMAL(static_cast<int32_t>(number.lower), width, scale);
    if (width <= 18) return Value::DECIMAL(static_cast<int64_t>(number.lower), width, scale);
    return Value::DECIMAL(number, width, scale);
  }
  Value timestamp(const LogicalType& type) {
    // Years -4712 to 11000, and the infinities.
    const int64_t kYearUs = 31'556'952'000'000;
    int64_t us = integer(-6600 * kYearUs, 9000 * kYearUs);
    if (below(2) == 0) us = integer(-1'000'000'000, 2'000'000'000) * 1'000'000;
    switch (type.id()) {
      case LogicalTypeId::TIMESTAMP_SEC:
        return Value::TIMESTAMPSEC(duckdb::timestamp_sec_t(us / 1'000'000));
      case LogicalTypeId::TIMESTAMP_MS:
        return Value::TIMESTAMPMS(duckdb::timestamp_ms_t(us / 1'000));
      case LogicalTypeId::TIMESTAMP_NS:
        return Value::TIMESTAMPNS(duckdb::timestamp_ns_t(us % 9'000'000'000'000'000'000 / 8 + 1));
      case LogicalTypeId::TIMESTAMP_TZ:
        return Value::TIMESTAMPTZ(below(9) == 0
                                      ? duckdb::timestamp_tz_t(duckdb::timestamp_t::infinity())
                                      : duckdb::timestamp_tz_t(us));
      default:
        return Value::TIMESTAMP(below(9) == 0 ? duckdb::timestamp_t::ninfinity()
                                              : duckdb::timestamp_t(us));
    }
  }
  Value json() {
    static const std::vector<std::string> kTexts = {
        "1", "\"x\"", "[1, {\"a\": null}]", "{\"k\":\"\\u00e9\"}", "true", "1.50", "{}"};
    return Value(kTexts[below(kTexts.size())]);
  }
  duckdb::vector<Value> values(const LogicalType& type, size_t count) {
    duckdb::vector<Value> result;
    for (size_t i = 0; i < count; ++i) result.push_back(value(type));
    return result;
  }
  Value map(const LogicalType& type) {
    const auto& key_type = duckdb::MapType::KeyType(type);
    duckdb::vector<Value> keys, mapped;
    for (size_t n = below(4); n > 0; --n) {
      const Value key = present(key_type);
      bool again = false;
      for (const auto& k : keys) again |= k == key;
      if (again) continue;
      keys.push_back(key);
      mapped.push_back(value(duckdb::MapType::ValueType(type)));
    }
    return Value::MAP(key_type, duckdb::MapType::ValueType(type), keys, mapped);
  }

  Value present(const LogicalType& type) {
    switch (type.id()) {
      case LogicalTypeId::BOOLEAN:
        return Value::BOOLEAN(below(2) == 0);
      case LogicalTypeId::TINYINT:
        return Value::TINYINT(static_cast<int8_t>(integer(INT8_MIN, INT8_MAX)));
      case LogicalTypeId::SMALLINT:
        return Value::SMALLINT(static_cast<int16_t>(integer(INT16_MIN, INT16_MAX)));
      case LogicalTypeId::INTEGER:
        return Value::INTEGER(static_cast<int32_t>(integer(INT32_MIN, INT32_MAX)));
      case LogicalTypeId::BIGINT:
        return Value::BIGINT(integer(INT64_MIN, INT64_MAX));
      case LogicalTypeId::UTINYINT:
        return Value::UTINYINT(static_cast<uint8_t>(integer(0, UINT8_MAX)));
      case LogicalTypeId::USMALLINT:
        return Value::USMALLINT(static_cast<uint16_t>(integer(0, UINT16_MAX)));
      case LogicalTypeId::UINTEGER:
        return Value::UINTEGER(static_cast<uint32_t>(integer(0, UINT32_MAX)));
      case LogicalTypeId::UBIGINT:
        return Value::UBIGINT(below(4) == 0 ? UINT64_MAX : random_());
      case LogicalTypeId::HUGEINT:
        return Value::HUGEINT(huge());
      case LogicalTypeId::UHUGEINT: {
        duckdb::uhugeint_t h;
        h.lower = random_();
        h.upper = random_();
        return Value::UHUGEINT(h);
      }
      case LogicalTypeId::FLOAT:
        return Value::FLOAT(real32());
      case LogicalTypeId::DOUBLE:
        return Value::DOUBLE(real());
      case LogicalTypeId::DECIMAL:
        return decimal(type);
      case LogicalTypeId::VARCHAR:
        return type.IsJSONType() ? json() : Value(text());
      case LogicalTypeId::BLOB: {
        const std::string bytes = text() + "\xff";
        return Value::BLOB(reinterpret_cast<duckdb::const_data_ptr_t>(bytes.data()), bytes.size());
      }
      case LogicalTypeId::DATE:
        return Value::DATE(duckdb::date_t(static_cast<int32_t>(integer(-2'000'000, 4'000'000))));
      case LogicalTypeId::TIME:
        return Value::TIME(duckdb::dtime_t(integer(0, 86'400'000'000)));
      case LogicalTypeId::TIME_TZ:
        return Value::TIMETZ(duckdb::dtime_tz_t(duckdb::dtime_t(integer(0, 86'399'999'999)),
                                                static_cast<int32_t>(integer(-50'000, 50'000))));
      case LogicalTypeId::INTERVAL:
        return Value::INTERVAL(static_cast<int32_t>(integer(-1000, 1000)),
                               static_cast<int32_t>(integer(-1000, 1000)),
                               integer(-1'000'000'000'000, 1'000'000'000'000));
      case LogicalTypeId::UUID:
        return Value::UUID(huge());
      case LogicalTypeId::ENUM: {
        const auto at = below(duckdb::EnumType::GetSize(type));
        return Value(duckdb::EnumType::GetString(type, at).GetString()).DefaultCastAs(type);
      }
      case LogicalTypeId::BIT:
        return Value(below(2) == 0 ? "1" : "0101100011").DefaultCastAs(type);
      case LogicalTypeId::BIGNUM:
        return Value(std::to_string(integer(INT64_MIN, INT64_MAX)) + "12345").DefaultCastAs(type);
      case LogicalTypeId::STRUCT: {
        duckdb::child_list_t<Value> fields;
        for (const auto& [name, child] : duckdb::StructType::GetChildTypes(type))
          fields.emplace_back(name, value(child));
        return Value::STRUCT(std::move(fields));
      }
      case LogicalTypeId::LIST: {
        const auto& child = duckdb::ListType::GetChildType(type);
        return Value::LIST(child, values(child, below(4)));
      }
      case LogicalTypeId::ARRAY: {
        const auto& child = duckdb::ArrayType::GetChildType(type);
        return Value::ARRAY(child, values(child, duckdb::ArrayType::GetSize(type)));
      }
      case LogicalTypeId::MAP:
        return map(type);
      default:
        return timestamp(type);
    }
  }

  std::mt19937_64 random_;
};

constexpr size_t kRows = 500;

/// Writes random rows of one column, reads them back, and compares; also through lists, structs and
/// maps of it.
void expect_round_trip(const std::string& sql, uint64_t seed) {
  SCOPED_TRACE(sql);
  catalog::Object object;
  object.name = "t";
  object.columns = {{"the \"column\"", sql}, {"n", "INTEGER"}};
  const auto columns = columns_of(object);
  ASSERT_TRUE(columns) << columns.error().text;
  const LogicalType type = columns->at(0).type;
  const duckdb::vector<LogicalType> types = {type, LogicalType::INTEGER};

  Generator generator(seed);
  duckdb::DataChunk chunk;
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(), types);
  std::vector<Value> values;
  for (size_t row = 0; row < kRows; ++row) {
    values.push_back(generator.value(type));
    chunk.SetValue(0, row, values.back());
    chunk.SetValue(1, row, Value::INTEGER(static_cast<int>(row)));
  }
  chunk.SetCardinality(kRows);

  auto writer = JsonWriter::make({"the \"column\"", "n"}, {type, LogicalType::INTEGER});
  ASSERT_TRUE(writer) << writer.error().text;
  (*writer)->begin(chunk);
  log::BatchBuilder builder;
  std::vector<std::string> texts(kRows);
  for (size_t row = 0; row < kRows; ++row) {
    (*writer)->write(row, texts[row]);
    builder.add(0, std::nullopt, texts[row]);
  }
  const std::string batch = builder.finish();

  auto decoder = Decoder::make(object, {0, 1});
  ASSERT_TRUE(decoder) << decoder.error().text;
  duckdb::DataChunk back;
  back.Initialize(duckdb::Allocator::DefaultAllocator(), types);
  std::vector<BadRecord> bad;
  const auto done =
      (*decoder)->decode(batch, 0, 0, INT64_MAX, back, [](duckdb::DataChunk&) { FAIL(); }, &bad);
  ASSERT_TRUE(done) << done.error().text;
  for (const auto& b : bad) ADD_FAILURE() << b.reason << " in " << b.value.value_or("null");
  ASSERT_EQ(back.size(), kRows);
  back.Verify();
  for (size_t row = 0; row < kRows; ++row) {
    const Value got = back.GetValue(0, row);
    EXPECT_TRUE(duckdb::Value::NotDistinctFrom(got, values[row]))
        << texts[row] << "\n  was " << values[row].ToString() << "\n  is  " << got.ToString();
    EXPECT_EQ(got.ToString(), values[row].ToString()) << texts[row];
  }
}

TEST(FormatRoundTrip, OfEveryType) {
  const std::vector<std::string> scalars = {"BOOLEAN",
                                            "TINYINT",
                                            "SMALLINT",
                                            "INTEGER",
                                            "BIGINT",
                                            "UTINYINT",
                                            "USMALLINT",
                                            "UINTEGER",
                                            "UBIGINT",
                                            "HUGEINT",
                                            "UHUGEINT",
                                            "FLOAT",
                                            "DOUBLE",
                                            "DECIMAL(4,1)",
                                            "DECIMAL(9,9)",
                                            "DECIMAL(18,3)",
                                            "DECIMAL(38,0)",
                                            "VARCHAR",
                                            "JSON",
                                            "BLOB",
                                            "DATE",
                                            "TIME",
                                            "TIMETZ",
                                            "TIMESTAMP",
                                            "TIMESTAMP_S",
                                            "TIMESTAMP_MS",
                                            "TIMESTAMP_NS",
                                            "TIMESTAMPTZ",
                                            "INTERVAL",
                                            "UUID",
                                            "ENUM('a', '\"', 'é')",
                                            "BIT",
                                            "BIGNUM",
                                            "DECIMAL(38,20)"};
  uint64_t seed = 1;
  for (const auto& type : scalars) {
    expect_round_trip(type, ++seed);
    expect_round_trip(type + "[]", ++seed);
    expect_round_trip("STRUCT(a " + type + ", \"b \"\"c\" " + type + "[2])", ++seed);
    expect_round_trip("MAP(VARCHAR, " + type + ")", ++seed);
  }
  for (const auto& type :
       {"MAP(INTEGER, VARCHAR)", "MAP(DATE, STRUCT(x INTEGER[]))[]", "INTEGER[2][3]", "VARCHAR[][]",
        "STRUCT(s STRUCT(t STRUCT(u MAP(VARCHAR, INTEGER[]))))", "MAP(STRUCT(a INTEGER), BOOLEAN)",
        "STRUCT(a INTEGER)[2]"})
    expect_round_trip(type, ++seed);
}

}  // namespace
}  // namespace millrace::sql
