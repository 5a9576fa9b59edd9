#include "table/row_key.h"

#include <gtest/gtest.h>

#include <cmath>

namespace millrace::table {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

/// A chunk of one column that holds `values`.
void fill(duckdb::DataChunk& chunk, const LogicalType& type, const std::vector<Value>& values) {
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(), {type});
  for (size_t i = 0; i < values.size(); ++i) chunk.SetValue(0, i, values[i]);
  chunk.SetCardinality(values.size());
}

void expect_equal_keys(const LogicalType& type, const Value& a, const Value& b, bool equal) {
  duckdb::DataChunk chunk;
  fill(chunk, type, {a, b});
  std::vector<std::string> keys;
  const size_t column = 0;
  encode_keys(chunk, {&column, 1}, keys);
  EXPECT_EQ(keys[0] == keys[1], equal) << a.ToString() << " " << b.ToString();
  EXPECT_EQ(encode_key(chunk, 1, {&column, 1}), keys[1]);
}

TEST(RowKey, IsEqualWhereDuckdbGroupsTogether) {
  const Value null_double(LogicalType::DOUBLE);
  expect_equal_keys(LogicalType::DOUBLE, Value::DOUBLE(0.0), Value::DOUBLE(-0.0), true);
  expect_equal_keys(LogicalType::DOUBLE, Value::DOUBLE(NAN), Value::DOUBLE(-NAN), true);
  expect_equal_keys(LogicalType::FLOAT, Value::FLOAT(0.0f), Value::FLOAT(-0.0f), true);
  expect_equal_keys(LogicalType::DOUBLE, null_double, null_double, true);
  expect_equal_keys(LogicalType::DOUBLE, null_double, Value::DOUBLE(0), false);
  expect_equal_keys(LogicalType::INTERVAL, Value::INTERVAL(1, 0, 0), Value::INTERVAL(0, 30, 0),
                    true);
  expect_equal_keys(LogicalType::VARCHAR, Value(""), Value(LogicalType::VARCHAR), false);
  const auto list = [](std::vector<Value> values) {
    return Value::LIST(LogicalType::DOUBLE, {values.begin(), values.end()});
  };
  const auto type = LogicalType::LIST(LogicalType::DOUBLE);
  expect_equal_keys(type, list({Value::DOUBLE(-0.0)}), list({Value::DOUBLE(0.0)}), true);
  expect_equal_keys(type, list({}), list({null_double}), false);
  expect_equal_keys(type, list({}), Value(type), false);
}

TEST(RowKey, KeepsColumnsApart) {
  duckdb::DataChunk chunk;
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(),
                   {LogicalType::VARCHAR, LogicalType::VARCHAR});
  const std::vector<std::pair<Value, Value>> rows = {
      {"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"abc", Value()}, {Value(), "abc"}, {"", "abc"}};
  for (size_t i = 0; i < rows.size(); ++i) {
    chunk.SetValue(0, i, rows[i].first);
    chunk.SetValue(1, i, rows[i].second);
  }
  chunk.SetCardinality(rows.size());
  RowKeys keys;
  const std::vector<size_t> columns = {0, 1};
  keys.encode(chunk, columns);
  ASSERT_EQ(keys.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < rows.size(); ++j) EXPECT_EQ(keys[i] == keys[j], i == j) << i << " " << j;
}

TEST(RowKey, ComesBackAsTheRow) {
  duckdb::DataChunk chunk;
  const duckdb::vector<LogicalType> types = {
      LogicalType::BIGINT, LogicalType::VARCHAR,
      LogicalType::STRUCT({{"a", LogicalType::LIST(LogicalType::VARCHAR)},
                           {"b", LogicalType::ARRAY(LogicalType::SMALLINT, 2)}})};
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(), types);
  const auto list = Value::LIST(LogicalType::VARCHAR, {Value("x"), Value(LogicalType::VARCHAR)});
  const auto array =
      Value::ARRAY(LogicalType::SMALLINT, {Value::SMALLINT(1), Value(LogicalType::SMALLINT)});
  chunk.SetValue(0, 0, Value::BIGINT(-1));
  chunk.SetValue(1, 0, Value("a string that does not fit into a vector's entry"));
  chunk.SetValue(2, 0, Value::STRUCT({{"a", list}, {"b", array}}));
  chunk.SetValue(0, 1, Value());
  chunk.SetValue(1, 1, Value());
  chunk.SetValue(2, 1, Value());
  chunk.SetCardinality(2);

  const std::vector<size_t> columns = {2, 0, 1};
  std::vector<std::string> keys;
  encode_keys(chunk, columns, keys);
  duckdb::DataChunk back;
  back.Initialize(duckdb::Allocator::DefaultAllocator(), {types[2], types[0], types[1]});
  for (size_t row = 0; row < 2; ++row)
    decode_key(keys[row], {types[2], types[0], types[1]}, back, row);
  back.SetCardinality(2);
  back.Verify();
  for (size_t row = 0; row < 2; ++row)
    for (size_t i = 0; i < 3; ++i)
      EXPECT_EQ(back.GetValue(i, row).ToString(), chunk.GetValue(columns[i], row).ToString());
}

TEST(RowKey, OfNoColumnsIsTheSameForAllRows) {
  duckdb::DataChunk chunk;
  fill(chunk, LogicalType::INTEGER, {Value::INTEGER(1), Value::INTEGER(2)});
  RowKeys keys;
  keys.encode(chunk, {});
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0], keys[1]);
}

TEST(RowKey, ReadsConstantAndDictionaryVectors) {
  duckdb::DataChunk flat, other;
  fill(flat, LogicalType::VARCHAR, {Value("x"), Value("yy"), Value("zzz")});
  other.InitializeEmpty({LogicalType::VARCHAR, LogicalType::INTEGER});
  duckdb::SelectionVector selection(2);
  selection.set_index(0, 2);
  selection.set_index(1, 0);
  other.data[0].Slice(flat.data[0], selection, 2);
  other.data[1].Reference(Value::INTEGER(7));
  other.SetCardinality(2);
  const std::vector<size_t> columns = {0, 1};
  std::vector<std::string> keys;
  encode_keys(other, columns, keys);
  duckdb::DataChunk back;
  back.Initialize(duckdb::Allocator::DefaultAllocator(), other.GetTypes());
  decode_key(keys[0], {LogicalType::VARCHAR, LogicalType::INTEGER}, back, 0);
  back.SetCardinality(1);
  EXPECT_EQ(back.GetValue(0, 0), Value("zzz"));
  EXPECT_EQ(back.GetValue(1, 0), Value::INTEGER(7));
}

}  // namespace
}  // namespace millrace::table
