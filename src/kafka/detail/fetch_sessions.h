#pragma once

#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "kafka/messages.h"

namespace millrace::kafka {

/// A topic as a client names it: by name, or (from Fetch version 13 on) by id.
struct FetchTopic {
  std::string name;
  Uuid id;
};

/// One partition that a client wants fetched, and the partition, if it is known.
struct FetchWanted {
  std::shared_ptr<const FetchTopic> topic;
  int32_t index = 0;
  Offset from = 0;
  int32_t bytes_max = 0;
  int32_t leader_epoch = -1;
  int16_t error = 0;
  std::shared_ptr<broker::Partition> partition;  // null: see error
};

/// What a fetch of one partition is answered with, as far as a session looks at it.
struct FetchOutcome {
  int16_t error = 0;
  Offset high_watermark = -1;
  Offset start_offset = -1;
  size_t bytes = 0;
};

/// What clients fetch, kept between their fetches, so that a fetch names only what is new and an
/// answer only what has changed. When there is no place for another session, a client is told to
/// name everything each time: nothing else changes for it. Any thread; nothing here waits.
/// Source: KIP-227, KIP-516; Kafka's FetchSession.
class FetchSessions {
 public:
  struct Limits {
    size_t sessions_max = 1000;               // Kafka's max.incremental.fetch.session.cache.slots
    size_t partitions_max = 1'000'000;        // of all sessions together: some 200 MB
    std::chrono::milliseconds idle{120'000};  // then a session may be put out by any other
  };
  FetchSessions(io::Env& env, const broker::Broker& broker, Limits limits);

  /// A request on its way: what it wants, in the order in which it is to be read.
  struct Opened {
    int16_t error = 0;  // of the whole request: nothing is wanted
    std::vector<FetchWanted> wanted;
    enum class Kind { kNoSession, kFull, kIncremental } kind = Kind::kNoSession;
    int32_t session_id = 0;
    int32_t next_epoch = 0;
    bool by_id = false;
  };
  Opened open(FetchRequest& request, int16_t version);

  /// How it is to be answered.
  struct Closed {
    int16_t error = 0;
    int32_t session_id = 0;
    std::vector<bool> told;  // by row of `wanted`: whether the answer holds it
  };
  Closed close(const Opened& opened, const std::vector<FetchOutcome>& outcomes);

  size_t session_count() const;

 private:
  struct Kept {
    FetchWanted wanted;  // `partition` is not kept
    // What the client knows of it.
    Offset high_watermark = -1;
    Offset start_offset = -1;
  };
  using Key = std::pair<std::string, int32_t>;  // the topic's name, or the bytes of its id
  struct Session {
    int32_t id = 0;
    int32_t epoch = 0;  // of the next request
    bool by_id = false;
    std::list<Kept> parts;  // those that gave records go to the end, so that all have their turn
    std::map<Key, std::list<Kept>::iterator> by_key;
    std::map<std::string, std::shared_ptr<const FetchTopic>> topics;
    int64_t created_ms = 0;
    int64_t used_ms = 0;
    size_t size = 0;  // partitions, when it was last used
  };

  void resolve(FetchWanted& wanted, bool by_id) const;
  void full(FetchRequest& request, Opened& opened) const;
  void incremental(FetchRequest& request, Opened& opened);
  void update(Session& session, FetchRequest& request);
  int32_t create(const Opened& opened, const std::vector<FetchOutcome>& outcomes);
  bool make_room(size_t size, int64_t now);
  void touch(Session& session, int64_t now);
  void remove(int32_t id);

  io::Env& env_;
  const broker::Broker& broker_;
  const Limits limits_;
  mutable std::mutex mutex_;
  std::map<int32_t, Session> sessions_;
  std::set<std::pair<int64_t, int32_t>> by_use_;  // last use, id
  size_t partitions_ = 0;
};

}  // namespace millrace::kafka
