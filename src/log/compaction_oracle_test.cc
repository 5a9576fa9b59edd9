// Compaction against a model: random writes with tombstones and transactions, compactions in
// between, a disk that fails or forgets at any operation.

#include <map>
#include <random>
#include <set>

#include "log/log_test_util.h"

namespace millrace::log {
namespace {

struct Written {
  std::optional<std::string> key;
  std::optional<std::string> value;
  TimestampMs timestamp = 0;
  int64_t transaction = -1;  // its number
  bool operator==(const Written&) const = default;
};

constexpr int64_t kFirstTransactional = 100;

class CompactionOracle : public LogTest {
 protected:
  CompactionOracle() {
    config.cleanup_compact = true;
    config.cleanup_delete = false;
    config.segment_bytes = 900;
    config.index_interval_bytes = 100;
    config.delete_retention_ms = 50;
  }

  uint64_t below(uint64_t n) { return random() % n; }

  std::string make_batch(std::vector<Written>& records, int64_t transaction) {
    const auto codec = static_cast<Compression>(below(5));
    BatchBuilder builder(codec);
    for (uint64_t n = 1 + below(5); n > 0; --n) {
      Written record;
      record.timestamp = env.now_ms() - static_cast<int64_t>(below(20));
      record.transaction = transaction;
      if (below(12) > 0) record.key = "key " + std::to_string(below(15));
      if (!record.key || below(4) > 0) record.value = "value " + std::to_string(next_value++);
      builder.add(record.timestamp, record.key, record.value);
      records.push_back(std::move(record));
    }
    return builder.finish();
  }

  void keep(const Result<AppendResult>& appended, std::vector<Written> records) {
    if (!appended) return;
    Offset at = appended->base_offset;
    for (auto& record : records) written[at++] = std::move(record);
  }

  void append_plain() {
    std::vector<Written> records;
    auto batch = make_batch(records, -1);
    const bool idempotent = below(2) == 0 && sequence_known;
    if (idempotent) batch = produced(std::move(batch), 7, 0, sequence);
    const auto appended = append(std::move(batch));
    if (appended && idempotent) sequence += static_cast<int32_t>(records.size());
    if (!appended && idempotent) sequence_known = false;
    keep(appended, std::move(records));
  }

  /// A batch of a transaction, or its end. Each has a producer of its own.
  void step_transaction() {
    if (!open_transaction) {
      open_transaction = kFirstTransactional + next_transaction++;
      transaction_sequence = 0;
    }
    if (below(3) > 0 || transaction_sequence == 0) {
      std::vector<Written> records;
      auto batch = make_batch(records, *open_transaction);
      batch = produced(std::move(batch), *open_transaction, 0, transaction_sequence);
      batch[22] = static_cast<char>(batch[22] | 16);
      detail::store_be<uint32_t>(batch.data() + 17, crc32c(std::string_view(batch).substr(21)));
      const auto count = static_cast<int32_t>(records.size());
      const auto appended = append(std::move(batch));
      if (appended) transaction_sequence += count;
      keep(appended, std::move(records));
      return;
    }
    end_transaction(below(2) == 0);
  }
  void end_transaction(bool commit) {
    const TransactionMarker marker{*open_transaction, 0, commit, 0};
    const auto ended = shard.block_on(log->append_marker(marker));
    if (!ended) return;
    if (commit) committed.insert(*open_transaction);
    open_transaction.reset();
  }

  /// What a reader of committed records sees, as a client works it out.
  std::map<Offset, Written> read_committed() {
    std::map<Offset, Written> out;
    std::set<int64_t> aborting;
    for (Offset next = 0; next < log->last_stable_offset();) {
      auto chunk = shard.block_on(log->read(next, 300 + below(2000), Isolation::kCommitted));
      EXPECT_TRUE(chunk) << chunk.error().text;
      if (!chunk || chunk->batches.empty() || chunk->next_offset <= next) {
        ADD_FAILURE() << "no way on from " << next;
        break;
      }
      std::string_view left = chunk->batches;
      while (const auto header = parse_batch_header(left)) {
        const auto batch = left.substr(0, header->total_bytes());
        left.remove_prefix(batch.size());
        for (const auto& aborted : chunk->aborted) {
          if (aborted.first_offset <= header->last_offset()) aborting.insert(aborted.producer_id);
        }
        std::erase_if(chunk->aborted,
                      [&](const auto& each) { return each.first_offset <= header->last_offset(); });
        if (header->control()) {
          aborting.erase(header->producer_id);
          continue;
        }
        if (header->transactional() && aborting.contains(header->producer_id)) continue;
        const auto walked = for_each_record(batch, false, [&](const RecordView& record) {
          if (record.offset < next) return;
          auto& row = out[record.offset];
          if (record.key) row.key = std::string(*record.key);
          if (record.value) row.value = std::string(*record.value);
          row.timestamp = record.timestamp;
          row.transaction = header->transactional() ? header->producer_id : -1;
        });
        EXPECT_TRUE(walked) << walked.error().text;
      }
      next = chunk->next_offset;
    }
    return out;
  }

  void compare(const char* when) {
    SCOPED_TRACE(when);
    const auto seen = read_committed();
    const Offset stable = log->last_stable_offset();
    std::map<std::string, Offset> last;  // of each key
    for (const auto& [offset, record] : written) {
      if (offset >= stable || !counts(record)) continue;
      if (!record.key) {
        ASSERT_TRUE(seen.contains(offset)) << offset;
      } else {
        last[*record.key] = offset;
      }
    }
    for (const auto& [offset, record] : seen) {
      ASSERT_TRUE(written.contains(offset)) << offset;
      ASSERT_TRUE(counts(written.at(offset))) << offset;
      ASSERT_EQ(record, written.at(offset)) << offset;
    }
    // The reader's final map is the model's: of a key without value, tombstone or nothing.
    std::map<std::string, Offset> seen_last;
    for (const auto& [offset, record] : seen) {
      if (record.key) seen_last[*record.key] = offset;
    }
    for (const auto& [key, offset] : last) {
      if (written.at(offset).value) {
        ASSERT_EQ(seen_last[key], offset) << key;
      } else {
        ASSERT_TRUE(!seen_last.contains(key) || seen_last[key] == offset) << key;
      }
    }
  }
  bool counts(const Written& record) const {
    return record.transaction < 0 || committed.contains(record.transaction);
  }

  /// Where the log stands after a crash in the middle of an append or marker is asked of it.
  void reconcile() {
    for (const auto& producer : log->producers()) {
      if (producer.producer_id == 7) {
        sequence = producer.last_sequence + 1;
        sequence_known = true;
      }
    }
    open_transaction.reset();
    for (const auto& producer : log->producers()) {
      if (producer.transaction_first_offset < 0) continue;
      open_transaction = producer.producer_id;
      end_transaction(false);
    }
    written.erase(written.lower_bound(log->end_offset()), written.end());
  }

  std::mt19937_64 random;
  int next_value = 0;
  std::map<Offset, Written> written;
  std::set<int64_t> committed;
  std::optional<int64_t> open_transaction;
  int64_t next_transaction = 0;
  int32_t transaction_sequence = 0;
  int32_t sequence = 0;
  bool sequence_known = true;
};

TEST_F(CompactionOracle, AReadersFinalMapIsTheModels) {
  const char* given = std::getenv("MR_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  SCOPED_TRACE(seed);
  std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(seed));
  random.seed(seed);
  open();
  size_t dropped = 0;
  for (int round = 0; round < 150 && !HasFatalFailure() && !HasNonfatalFailure(); ++round) {
    SCOPED_TRACE(round);
    for (uint64_t n = below(30); n > 0; --n) {
      env.set_now_ms(env.now_ms() + static_cast<int64_t>(below(10)));
      if (below(3) == 0) {
        step_transaction();
      } else {
        append_plain();
      }
    }
    config.min_cleanable_dirty_ratio = below(2) == 0 ? 0 : 0.3;
    config.compaction_keys_max = below(3) == 0 ? 5 : 1000;
    config.segment_bytes = 600 + below(1500);
    log->reconfigure(config);
    if (below(4) == 0) {
      log->hold("view", static_cast<Offset>(below(static_cast<uint64_t>(log->end_offset()) + 1)));
    } else {
      log->hold("view", std::nullopt);
    }
    const uint64_t before = log->size_bytes();
    const bool fails = below(2) == 0;
    if (fails) {
      const auto code = below(2) == 0 ? ErrorCode::kIo : ErrorCode::kDiskFull;
      env.files().fail_after(below(120), code, 1 + below(30));
    }
    (void)shard.block_on(log->compact());
    dropped += before > log->size_bytes() ? before - log->size_bytes() : 0;
    if (fails && below(2) == 0) {
      // The process dies there.
      crash(random());
      open();
      reconcile();
    }
    env.files().heal();
    compare("after compaction");
    if (below(5) == 0) {
      if (below(2) == 0) {
        reopen();
      } else {
        crash(random());
        open();
        reconcile();
      }
      compare("after reopening");
    }
  }
  EXPECT_GT(dropped, 10000u);
}

}  // namespace
}  // namespace millrace::log
