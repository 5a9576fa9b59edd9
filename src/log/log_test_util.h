#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/io/gate.h"
#include "base/io/memory_files.h"
#include "log/detail/markers.h"
#include "log/detail/wire.h"
#include "log/partition_log.h"
#include "log/record_batch.h"

namespace millrace::log {

/// One batch of `records` values "`value`-i", all with `timestamp`.
inline std::string batch_of(const std::string& value, int records = 1, TimestampMs timestamp = 1) {
  BatchBuilder builder;
  for (int i = 0; i < records; ++i) {
    builder.add(timestamp, std::nullopt, value + "-" + std::to_string(i));
  }
  return builder.finish();
}

/// The same batch as an idempotent producer sends it.
inline std::string produced(std::string batch, int64_t id, int16_t epoch, int32_t sequence) {
  detail::store_be<int64_t>(batch.data() + 43, id);
  detail::store_be<int16_t>(batch.data() + 51, epoch);
  detail::store_be<int32_t>(batch.data() + 53, sequence);
  detail::store_be<uint32_t>(batch.data() + 17, crc32c(std::string_view(batch).substr(21)));
  return batch;
}

/// The same batch as part of a transaction.
inline std::string transactional(std::string batch) {
  const auto attributes = detail::load_be<int16_t>(batch.data() + 21);
  detail::store_be<int16_t>(batch.data() + 21, static_cast<int16_t>(attributes | 16));
  detail::store_be<uint32_t>(batch.data() + 17, crc32c(std::string_view(batch).substr(21)));
  return batch;
}

/// Adds the records of `read` that a client which reads committed ones hands on, as Kafka's clients
/// do it: an aborted transaction's batches are passed over up to its abort marker.
inline void add_committed(const ReadResult& read, Offset from, std::vector<std::string>& values) {
  auto aborted = read.aborted;
  std::set<int64_t> aborting;
  std::string_view rest = read.batches;
  while (!rest.empty()) {
    const auto header = parse_batch_header(rest);
    const auto batch = rest.substr(0, header->total_bytes());
    rest.remove_prefix(batch.size());
    std::erase_if(aborted, [&](const AbortedTransaction& each) {
      const bool begun = each.first_offset <= header->last_offset();
      if (begun) aborting.insert(each.producer_id);
      return begun;
    });
    if (header->control()) {
      const auto marker = detail::parse_marker(*header, batch);
      ASSERT_TRUE(marker);
      if (!marker->commit) aborting.erase(header->producer_id);
      continue;
    }
    if (header->transactional() && aborting.contains(header->producer_id)) continue;
    const auto each = [&](const RecordView& record) {
      if (record.offset >= from) values.emplace_back(*record.value);
    };
    ASSERT_TRUE(for_each_record(batch, false, each));
  }
}

/// A log in memory on one shard, driven from the test's thread.
class LogTest : public testing::Test {
 protected:
  io::TestEnv env;
  io::Runtime runtime{1, 0};
  io::Shard& shard = runtime.shard(0);
  LogConfig config;
  std::unique_ptr<PartitionLog> log;
  const std::string folder = "/data/topic-0";

  ~LogTest() override {
    env.files().heal();
    if (log) (void)close();
  }

  Result<> try_open() {
    auto opened = shard.block_on(PartitionLog::open(env, shard, folder, config));
    if (!opened) return std::move(opened).error();
    log = std::move(*opened);
    return {};
  }
  void open() {
    const auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().text;
  }
  Result<> close() {
    auto closed = shard.block_on(log->close());
    log.reset();
    return closed;
  }
  void reopen() {
    const auto closed = close();
    ASSERT_TRUE(closed) << closed.error().text;
    open();
  }
  /// The process dies; with a seed, parts of what was not synced survive.
  void crash(std::optional<uint64_t> seed = std::nullopt) {
    env.files().forget_unsynced(seed);
    (void)close();
    env.files().heal();
  }
  Result<AppendResult> append(std::string batches, Ack ack = Ack::kDurable) {
    return shard.block_on(log->append(std::move(batches), ack));
  }
  Result<ReadResult> read(Offset from, size_t bytes_max = 1u << 20,
                          Isolation isolation = Isolation::kUncommitted) {
    return shard.block_on(log->read(from, bytes_max, isolation));
  }
  /// What a client that reads committed records gets, `bytes_max` at a time.
  std::vector<std::string> committed(size_t bytes_max = 1u << 20) {
    std::vector<std::string> values;
    for (Offset next = log->start_offset();;) {
      const auto chunk = read(next, bytes_max, Isolation::kCommitted);
      EXPECT_TRUE(chunk) << chunk.error().text;
      if (!chunk || chunk->batches.empty()) return values;
      EXPECT_LE(chunk->next_offset, chunk->last_stable_offset);
      add_committed(*chunk, next, values);
      next = chunk->next_offset;
    }
  }
  /// Every value from the log's start to its high watermark.
  std::vector<std::string> values() {
    std::vector<std::string> values;
    Offset next = log->start_offset();
    while (next < log->high_watermark()) {
      const auto chunk = read(next);
      EXPECT_TRUE(chunk) << chunk.error().text;
      if (!chunk || chunk->batches.empty()) break;
      const auto each = [&](const RecordView& record) {
        if (record.offset < next) return;
        EXPECT_EQ(record.offset, static_cast<Offset>(log->start_offset() + values.size()));
        values.emplace_back(*record.value);
      };
      EXPECT_TRUE(for_each_record(chunk->batches, false, each));
      next = chunk->next_offset;
    }
    return values;
  }
};

}  // namespace millrace::log
