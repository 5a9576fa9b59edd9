#include <gtest/gtest.h>

#include "flow/detail/arrangement.h"
#include "flow/detail/evaluator.h"
#include "flow/detail/ops_harness.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/slab.h"

namespace millrace::flow {
namespace {

/// The rows of a SELECT, one chunk.
duckdb::unique_ptr<duckdb::DataChunk> rows_of(const std::string& sql) {
  duckdb::DuckDB instance(nullptr);
  duckdb::Connection connection(instance);
  auto result = connection.Query(sql);
  EXPECT_FALSE(result->HasError()) << result->GetError();
  auto chunk = result->Fetch();
  auto copy = duckdb::make_uniq<duckdb::DataChunk>();
  make_chunk(*copy, chunk->GetTypes(), chunk->size());
  chunk->Copy(*copy);
  return copy;
}

void expect_round_trip(const std::string& sql, RowCodec::Use use) {
  const auto chunk = rows_of(sql);
  const auto types = chunk->GetTypes();
  const RowCodec codec({types.begin(), types.end()}, use);
  EncodedRows encoded, again;
  codec.encode(*chunk, encoded);
  ASSERT_EQ(encoded.size(), chunk->size());
  std::vector<const char*> rows;
  for (size_t i = 0; i < encoded.size(); ++i) rows.push_back(encoded[i].data());
  duckdb::DataChunk back;
  make_chunk(back, types, chunk->size());
  codec.decode(rows, back);
  back.SetCardinality(chunk->size());
  for (size_t i = 0; i < chunk->size(); ++i)
    EXPECT_EQ(row_text(back, i), row_text(*chunk, i)) << sql;
  codec.encode(back, again);
  for (size_t i = 0; i < encoded.size(); ++i) EXPECT_EQ(again[i], encoded[i]) << sql;
}

TEST(RowCodec, BringsEveryTypeBack) {
  for (const auto use : {RowCodec::Use::kRow, RowCodec::Use::kKey}) {
    expect_round_trip(
        "SELECT b, i8, i16, i32, i64, i128, u8, u64, f, d, dec, big, s, bl, dt, t, ts, tz, iv, u, "
        "e FROM (VALUES (true, 1::TINYINT, 2::SMALLINT, 3, 4::BIGINT, 5::HUGEINT, 6::UTINYINT, "
        "7::UBIGINT, 1.5::FLOAT, 2.5::DOUBLE, 1.25::DECIMAL(4,2), 1.5::DECIMAL(38,10), 'short', "
        "'\\x00\\xFF'::BLOB, DATE '2024-01-01', TIME '01:02:03', TIMESTAMP '2024-01-01 00:00:01', "
        "TIMESTAMPTZ '2024-01-01 00:00:01+00', INTERVAL '3 days', "
        "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID, 'b'::ENUM('a', 'b')), "
        "(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "
        "'a text that does not fit twelve bytes', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)) "
        "v(b, i8, i16, i32, i64, i128, u8, u64, f, d, dec, big, s, bl, dt, t, ts, tz, iv, u, e)",
        use);
    expect_round_trip(
        "SELECT * FROM (VALUES ([1, NULL, 3], {'a': 1, 'b': ['x', 'a longer text, out of line']}, "
        "MAP {'k': [1.5]}, [[1, 2], [], NULL], [1, 2]::INTEGER[2], 'after'), "
        "(NULL, NULL, NULL, NULL, NULL, NULL), ([], {'a': NULL, 'b': NULL}, MAP {}, [], [NULL, 7], "
        "'')) v(l, st, m, ll, arr, s)",
        use);
  }
}

TEST(RowCodec, GivesEqualKeysEqualBytes) {
  const auto chunk = rows_of(
      "SELECT * FROM (VALUES (0.0::DOUBLE, INTERVAL '1 month', [0.0::DOUBLE]), "
      "('-0.0'::DOUBLE, INTERVAL '30 days', ['-0.0'::DOUBLE]), (1.0, INTERVAL '1 day', [])) v");
  const auto types = chunk->GetTypes();
  const RowCodec keys({types.begin(), types.end()}, RowCodec::Use::kKey);
  EncodedRows encoded;
  keys.encode(*chunk, encoded);
  EXPECT_EQ(encoded[0], encoded[1]);
  EXPECT_NE(encoded[0], encoded[2]);
}

TEST(RowCodec, ReadsANullPointerAsNulls) {
  const RowCodec codec({duckdb::LogicalType::INTEGER, duckdb::LogicalType::VARCHAR},
                       RowCodec::Use::kRow);
  duckdb::DataChunk out;
  make_chunk(out, {duckdb::LogicalType::INTEGER, duckdb::LogicalType::VARCHAR}, 1);
  const char* none = nullptr;
  codec.decode({&none, 1}, out);
  out.SetCardinality(1);
  EXPECT_EQ(row_text(out, 0), "NULL | NULL");
}

TEST(Slab, GivesPiecesThatDoNotOverlapAndUsesFreedOnesAgain) {
  Slab slab;
  std::vector<std::pair<char*, size_t>> pieces;
  for (size_t bytes = 1; bytes < 70'000; bytes += bytes / 3 + 1) {
    auto* piece = static_cast<char*>(slab.allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % 16, 0u);
    std::memset(piece, static_cast<int>(pieces.size()), bytes);
    pieces.emplace_back(piece, bytes);
  }
  for (size_t i = 0; i < pieces.size(); ++i)
    for (size_t at = 0; at < pieces[i].second; ++at)
      ASSERT_EQ(pieces[i].first[at], static_cast<char>(i)) << pieces[i].second;
  const size_t held = slab.memory_bytes();
  for (int round = 0; round < 10; ++round) {
    for (auto& [piece, bytes] : pieces) slab.release(piece, bytes);
    for (auto& [piece, bytes] : pieces) piece = static_cast<char*>(slab.allocate(bytes));
  }
  EXPECT_EQ(slab.memory_bytes(), held);
}

TEST(Arrangement, AddsUpEqualRowsAndForgetsThem) {
  Arrangement rows(false, true);
  auto& key = rows.find_or_add("k", hash_bytes("k"));
  EXPECT_TRUE(rows.add(key, "row", 2).fresh);
  EXPECT_FALSE(rows.add(key, "row", 3).fresh);
  auto& other = rows.add(key, "other", -1).row;
  EXPECT_EQ(rows.rows(), 2u);
  EXPECT_EQ(rows.first(key)->weight, 5);
  EXPECT_EQ(rows.next(*rows.first(key)), &other);
  rows.remove(other);
  rows.remove(*rows.first(key));
  EXPECT_EQ(rows.first(key), nullptr);
  rows.remove(key);
  EXPECT_EQ(rows.find("k", hash_bytes("k")), nullptr);
}

}  // namespace
}  // namespace millrace::flow
