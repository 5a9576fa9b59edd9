// A small life of a log, played from a seed: producers of all kinds, a disk that fails, fills up
// and forgets, crashes at any step. What was acked is there, once, in order, and transactions are
// whole. MR_SEED plays one life, MR_SIMULATIONS so many.

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <random>

#include "base/logging.h"
#include "log/log_test_util.h"

namespace millrace::log {
namespace {

enum class Outcome { kOpen, kCommitted, kAborted };

/// A value that a client sent, in the order of sending.
struct Sent {
  std::string value;
  Offset offset = -1;      // once it was acked
  bool lost = false;       // it may be missing: nobody was told that it is safe
  size_t transaction = 0;  // of the client
};

struct Batch {
  std::string bytes;
  size_t first = 0;  // in Client::sent
  size_t count = 0;
  bool acked = false;
};

/// A client outlives the node: what was not answered it sends again.
struct Client {
  enum class Kind { kPlain, kIdempotent, kTransactional };
  Kind kind = Kind::kPlain;
  int64_t id = 0;
  int16_t epoch = 0;
  int32_t sequence = 0;
  std::vector<Sent> sent;
  std::deque<Batch> waiting;                // in flight, or to be sent again
  std::vector<Outcome> transactions;        // as the coordinator has decided
  std::optional<TransactionMarker> marker;  // decided, and not acked
  bool in_transaction() const {
    return !transactions.empty() && transactions.back() == Outcome::kOpen;
  }
};

struct Turn {
  io::Shard& shard;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    shard.post([h] { h.resume(); });
  }
  void await_resume() const noexcept {}
};

class Simulation {
 public:
  Simulation(io::Shard& shard, uint64_t seed) : shard_(shard), random_(seed) {
    config_.segment_bytes = 300 + random_() % 3000;
    config_.index_interval_bytes = 1 + static_cast<uint32_t>(random_() % 500);
    config_.sync_gather_max = std::chrono::microseconds(0);  // no real time, for the seed's sake
    for (int i = 0; i < 6; ++i) {
      clients_.push_back({static_cast<Client::Kind>(i % 3), 100 + i, 0, 0, {}, {}, {}, {}});
    }
  }

  void run() {
    open();
    for (int life = static_cast<int>(2 + random_() % 4); life > 0; --life) {
      for (int burst = static_cast<int>(1 + random_() % 4); burst > 0; --burst) {
        if (random_() % 3 == 0) {
          const auto code = random_() % 2 ? ErrorCode::kIo : ErrorCode::kDiskFull;
          env_.files().fail_after(random_() % 20, code, 1 + random_() % 4);
        }
        crash_ = random_() % 4 == 0;
        env_.set_now_ms(env_.now_ms() + static_cast<int64_t>(random_() % 4000));
        shard_.block_on(one_burst());
        env_.files().heal();
        if (crash_) break;
        ASSERT_NO_FATAL_FAILURE(verify());
      }
      ASSERT_NO_FATAL_FAILURE(die(crash_));
    }
    finish();
  }
  /// Of all that happened: the same for the same seed.
  size_t digest() const { return digest_; }

 private:
  void open() {
    auto opened = shard_.block_on(PartitionLog::open(env_, shard_, "/data/t-0", config_));
    ASSERT_TRUE(opened) << opened.error().text;
    log_ = std::move(*opened);
  }

  void die(bool crash) {
    if (crash) env_.files().forget_unsynced(random_());
    const auto closed = shard_.block_on(log_->close());
    if (!crash) ASSERT_TRUE(closed) << closed.error().text;
    log_.reset();
    open();
    verify();
  }

  /// All clients do something at a time; perhaps the node dies at one of the steps.
  io::Task<void> one_burst() {
    io::Gate gate;
    for (auto& client : clients_) {
      if (random_() % 4) shard_.spawn(gate, act(client));
    }
    shard_.spawn(gate, follow());
    if (crash_) {
      for (size_t turns = random_() % 80; turns > 0; --turns) {
        auto turn = Turn{shard_};
        co_await turn;
      }
      env_.files().forget_unsynced(random_());
    }
    co_await gate.close();
  }

  /// A reader of committed records that reads on and on, through all lives.
  io::Task<void> follow() {
    for (int reads = static_cast<int>(random_() % 20); reads > 0; --reads) {
      auto chunk = co_await log_->read(followed_to_, 1 + random_() % 800, Isolation::kCommitted);
      auto turn = Turn{shard_};
      co_await turn;
      if (!chunk) continue;  // the disk
      add_committed(*chunk, followed_to_, followed_);
      followed_to_ = chunk->next_offset;
    }
  }

  io::Task<void> act(Client& client) {
    for (int steps = static_cast<int>(1 + random_() % 4); steps > 0; --steps) {
      if (client.waiting.empty() && !client.marker) decide(client);
      if (client.marker && client.waiting.empty()) {
        co_await end_transaction(client);
        continue;
      }
      io::Gate flight;
      for (auto& batch : client.waiting) shard_.spawn(flight, send(client, batch));
      co_await flight.close();
      if (client.kind == Client::Kind::kPlain) client.waiting.clear();
      // None is acked after one that is not.
      while (!client.waiting.empty() && client.waiting.front().acked) client.waiting.pop_front();
      for (const auto& batch : client.waiting) EXPECT_FALSE(batch.acked);
    }
  }

  /// What a client does next: send up to three appends at a time, or end its transaction.
  void decide(Client& client) {
    const bool transactional = client.kind == Client::Kind::kTransactional;
    if (client.in_transaction() && random_() % 3 == 0) {
      const bool commit = random_() % 2;
      const bool bump = random_() % 2;  // KIP-890
      client.transactions.back() = commit ? Outcome::kCommitted : Outcome::kAborted;
      client.marker = {client.id, static_cast<int16_t>(client.epoch + bump), commit, 0};
      if (bump) client.sequence = 0;
      client.epoch = client.marker->producer_epoch;
      return;
    }
    if (transactional && !client.in_transaction()) client.transactions.push_back(Outcome::kOpen);
    // Five batches at the most: more retries than that are not recognised.
    for (size_t n = 1 + random_() % 3; n > 0; --n) {
      Batch batch;
      batch.first = client.sent.size();
      for (size_t k = 1 + (n == 1 && random_() % 2); k > 0; --k) add_batch(client, batch);
      client.waiting.push_back(std::move(batch));
    }
  }

  void add_batch(Client& client, Batch& batch) {
    BatchBuilder builder;
    const auto records = static_cast<int32_t>(1 + random_() % 3);
    for (int i = 0; i < records; ++i) {
      auto value = fmt::format("{}-{}", client.id, client.sent.size());
      builder.add(1, std::nullopt, value);
      client.sent.push_back({std::move(value), -1, false, client.transactions.size()});
      ++batch.count;
    }
    auto bytes = builder.finish();
    if (client.kind != Client::Kind::kPlain) {
      bytes = produced(std::move(bytes), client.id, client.epoch, client.sequence);
      client.sequence += records;
    }
    if (client.kind == Client::Kind::kTransactional) bytes = transactional(std::move(bytes));
    batch.bytes += bytes;
  }

  io::Task<void> send(Client& client, Batch& batch) {
    // Acked before it is durable: only who does not count on it.
    const bool written = client.kind == Client::Kind::kPlain && random_() % 4 == 0;
    auto result = co_await log_->append(batch.bytes, written ? Ack::kWritten : Ack::kDurable);
    note(result ? static_cast<size_t>(result->base_offset) : 7);
    if (!result) {
      const auto code = result.error().code;
      const bool first = &batch == &client.waiting.front();
      EXPECT_TRUE(code == ErrorCode::kIo || code == ErrorCode::kDiskFull ||
                  (!first && code == ErrorCode::kOutOfOrderSequence))
          << result.error().text;
    }
    batch.acked = static_cast<bool>(result);
    for (size_t i = 0; i < batch.count; ++i) {
      Sent& sent = client.sent[batch.first + i];
      sent.lost = written || !result;
      // Offsets of batches that are sent together have no gaps, unless some were there before.
      if (result && !written && client.kind == Client::Kind::kPlain) {
        sent.offset = result->base_offset + static_cast<Offset>(i);
      }
      if (result && i == 0) sent.offset = result->base_offset;
    }
  }

  io::Task<void> end_transaction(Client& client) {
    auto result = co_await log_->append_marker(*client.marker);
    note(result ? static_cast<size_t>(result->base_offset) : 11);
    if (result) {
      client.marker.reset();
      co_return;
    }
    const auto code = result.error().code;
    EXPECT_TRUE(code == ErrorCode::kIo || code == ErrorCode::kDiskFull) << result.error().text;
  }

  struct Found {
    Offset offset;
    std::string value;
    bool operator==(const Found&) const = default;
  };

  ReadResult read(Offset from, Isolation isolation) {
    auto result = shard_.block_on(log_->read(from, 1 + random_() % 800, isolation));
    EXPECT_TRUE(result) << result.error().text;
    return result ? std::move(*result) : ReadResult();
  }

  void verify() {
    std::vector<Found> all;
    for (Offset next = log_->start_offset(); next < log_->high_watermark();) {
      const auto chunk = read(next, Isolation::kUncommitted);
      ASSERT_FALSE(chunk.batches.empty());
      const auto each = [&](const RecordView& record) {
        if (record.offset >= next) all.push_back({record.offset, std::string(*record.value)});
      };
      ASSERT_TRUE(for_each_record(chunk.batches, false, each));
      next = chunk.next_offset;
    }
    // What was seen stays.
    ASSERT_GE(all.size(), seen_.size());
    ASSERT_TRUE(std::equal(seen_.begin(), seen_.end(), all.begin()));
    seen_ = all;
    for (const auto& client : clients_) ASSERT_NO_FATAL_FAILURE(verify(client, all));
    verify_committed(all);
    note(all.size());
  }

  /// Every value that was acked once, where the ack said, and all in the order of sending.
  void verify(const Client& client, const std::vector<Found>& all) {
    std::map<std::string, Offset> offsets;
    size_t next = 0;
    for (const auto& found : all) {
      if (!found.value.starts_with(std::to_string(client.id) + "-")) continue;
      ASSERT_TRUE(offsets.emplace(found.value, found.offset).second) << found.value << " twice";
      const auto number = std::stoull(found.value.substr(4));
      // The two batches of a plain append, and appends at once, may not be told apart from a gap.
      ASSERT_GE(number, next) << found.value << " is out of order";
      if (client.kind != Client::Kind::kPlain) ASSERT_EQ(number, next);
      next = number + 1;
    }
    const size_t waiting =
        client.waiting.empty() ? client.sent.size() : client.waiting.front().first;
    for (size_t i = 0; i < client.sent.size(); ++i) {
      const Sent& sent = client.sent[i];
      const auto found = offsets.find(sent.value);
      const bool safe =
          client.kind == Client::Kind::kPlain ? !sent.lost && i < waiting : i < waiting;
      if (safe) ASSERT_NE(found, offsets.end()) << sent.value << " was acked and is gone";
      if (safe && sent.offset >= 0) ASSERT_EQ(found->second, sent.offset) << sent.value;
    }
  }

  /// A reader of committed records sees whole transactions, and none that may yet be undone.
  void verify_committed(const std::vector<Found>& all) {
    std::vector<std::string> committed;
    for (Offset next = log_->start_offset();;) {
      const auto chunk = read(next, Isolation::kCommitted);
      if (chunk.batches.empty()) break;
      ASSERT_NO_FATAL_FAILURE(add_committed(chunk, next, committed));
      next = chunk.next_offset;
    }
    const Offset stable = log_->last_stable_offset();
    Offset first_undecided = log_->high_watermark();
    std::vector<std::string> expected;
    for (const auto& found : all) {
      const auto& client = clients_[static_cast<size_t>(std::stoi(found.value) - 100)];
      const auto& sent = client.sent[std::stoull(found.value.substr(4))];
      const auto outcome =
          sent.transaction ? client.transactions[sent.transaction - 1] : Outcome::kCommitted;
      if (outcome == Outcome::kOpen) first_undecided = std::min(first_undecided, found.offset);
      if (found.offset < stable && outcome == Outcome::kCommitted) expected.push_back(found.value);
    }
    ASSERT_LE(stable, first_undecided);
    ASSERT_EQ(committed, expected);
    ASSERT_LE(followed_.size(), committed.size());
    ASSERT_TRUE(std::equal(followed_.begin(), followed_.end(), committed.begin()));
    const bool ended =
        std::ranges::none_of(clients_, [](const Client& c) { return c.marker.has_value(); });
    if (ended) ASSERT_EQ(stable, first_undecided);
  }

  /// The disk is well again: all that was begun comes to its end.
  void finish() {
    crash_ = false;
    for (int round = 0; round < 2; ++round) {
      for (auto& client : clients_) {
        while (!client.waiting.empty() || client.marker) {
          shard_.block_on(complete(client));
          ASSERT_FALSE(testing::Test::HasFailure());
        }
        if (!client.in_transaction()) continue;
        client.transactions.back() = Outcome::kAborted;
        client.marker = {client.id, ++client.epoch, false, 0};
      }
    }
    for (const auto& entry : shard_.block_on(producers())) {
      EXPECT_EQ(entry.transaction_first_offset, -1);
    }
    EXPECT_EQ(log_->last_stable_offset(), log_->high_watermark());
    ASSERT_NO_FATAL_FAILURE(verify());
    ASSERT_NO_FATAL_FAILURE(die(false));
    ASSERT_NO_FATAL_FAILURE(die(true));
    const auto closed = shard_.block_on(log_->close());
    EXPECT_TRUE(closed) << closed.error().text;
  }

  io::Task<void> complete(Client& client) {
    while (!client.waiting.empty()) {
      co_await send(client, client.waiting.front());
      EXPECT_TRUE(client.waiting.front().acked);
      client.waiting.pop_front();
    }
    if (client.marker) co_await end_transaction(client);
  }
  io::Task<std::vector<ProducerEntry>> producers() { co_return log_->producers(); }
  void note(size_t what) { digest_ = (digest_ ^ what) * 1099511628211u; }

  io::TestEnv env_;
  io::Shard& shard_;
  std::mt19937_64 random_;
  LogConfig config_;
  std::unique_ptr<PartitionLog> log_;
  std::vector<Client> clients_;
  std::vector<Found> seen_;
  std::vector<std::string> followed_;
  Offset followed_to_ = 0;
  bool crash_ = false;
  size_t digest_ = 14695981039346656037u;
};

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

TEST(LogSimulation, KeepsItsPromisesWhateverTheDiskDoes) {
  logging::configure(logging::Level::kError, logging::Format::kText);
  io::Runtime runtime(1, 0);
  const uint64_t first = number_from("MR_SEED", 1);
  const uint64_t count = number_from("MR_SIMULATIONS", std::getenv("MR_SEED") ? 1 : 300);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(fmt::format("MR_SEED={}", seed));
    Simulation(runtime.shard(0), seed).run();
    if (HasFailure()) break;
  }
  logging::configure(logging::Level::kInfo, logging::Format::kText);
}

TEST(LogSimulation, IsTheSameForTheSameSeed) {
  logging::configure(logging::Level::kError, logging::Format::kText);
  io::Runtime runtime(1, 0);
  for (uint64_t seed = 1; seed < 6; ++seed) {
    Simulation one(runtime.shard(0), seed);
    one.run();
    Simulation two(runtime.shard(0), seed);
    two.run();
    EXPECT_EQ(one.digest(), two.digest()) << seed;
  }
  logging::configure(logging::Level::kInfo, logging::Format::kText);
}

}  // namespace
}  // namespace millrace::log
