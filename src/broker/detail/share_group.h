#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/detail/share_members.h"
#include "broker/detail/share_queue.h"

namespace millrace::broker::detail {

/// One share group: members, sessions, and a queue for each partition that it has begun. Lives on
/// one shard, from its first request (or its load) until it is removed.
class ShareGroup : public std::enable_shared_from_this<ShareGroup> {
 public:
  ShareGroup(ShareShared& shared, io::Shard& home, io::Gate& gate, std::string name);
  ~ShareGroup();

  const std::string& name() const { return name_; }

  // ---- from the journal, before start()
  void load_group(std::string_view text);
  void load_state(SharePartitionId id, uint32_t slot, std::optional<std::string_view> bytes);
  /// Whether the journal knows nothing of it (any more).
  bool is_blank() const { return written_epoch_ < 0 && queues_.empty(); }

  /// Begins to watch the clock.
  void start();
  /// Wakes who waits, ends the watch. No call follows but of those that are under way.
  void stop();

  // As ShareGroups has them.
  io::Task<Result<ShareHeartbeatAnswer>> heartbeat(ShareHeartbeat request);
  io::Task<Result<ShareFetched>> fetch(ShareFetch request, std::shared_ptr<ShareWaiter> waiter);
  io::Task<Result<ShareFetched>> fetch_again(ShareFetch request,
                                             std::shared_ptr<ShareWaiter> waiter);
  io::Task<Result<ShareFetched>> acknowledge(ShareFetch request);
  io::Task<void> disconnected(std::string member, uint64_t connection);
  ShareGroupInfo info() const;
  std::vector<ShareOffset> offsets() const;
  io::Task<Result<std::vector<Result<>>>> alter_offsets(std::vector<ShareOffset> offsets);
  io::Task<Result<std::vector<Result<>>>> delete_offsets(std::vector<Uuid> topics);
  io::Task<Result<>> forget();

 private:
  using Queue = std::shared_ptr<ShareQueue>;
  using Parts = std::map<SharePartitionId, ShareFetched::Part>;
  /// What a member fetches from, and how far it is in telling so (KIP-932).
  struct Session {
    int32_t epoch = 0;  // that the next request must have
    std::set<SharePartitionId> parts;
    uint64_t connection = 0;
  };

  int64_t now() const;
  int64_t lock_ms() const;
  ShareMembers::Limits member_limits() const;
  /// The number that stands for a member in the queues.
  uint64_t number_of(const std::string& member);

  Result<> open_session(const ShareFetch& request, bool& new_connection);
  Result<> check_session(const ShareFetch& request);
  /// Everything that the member has acquired is available again.
  void end_session(const std::string& member);

  io::Task<Result<Queue>> queue_of(SharePartitionId id);
  io::Task<Result<>> begin(std::vector<SharePartitionId> ids);
  io::Task<void> acknowledge_parts(std::string member, bool renews, std::vector<SharePart> parts,
                                   Parts& out);
  io::Task<void> acquire_parts(const ShareFetch& request, Parts& out);
  io::Task<Result<ShareFetched>> finish(ShareFetch request, std::shared_ptr<ShareWaiter> waiter,
                                        Parts parts, bool fetches);
  void wait_for_more(const std::string& member, std::shared_ptr<ShareWaiter> waiter);
  /// Those of the member's session that the group has begun.
  std::vector<Queue> queues_of(const std::string& member) const;
  /// Writes what has changed in `queues`, with `more`.
  io::Task<Result<>> persist(std::vector<Queue> queues, std::vector<Journal::Entry> more = {});
  Journal::Entry group_entry() const;

  io::Task<void> keep_time();
  io::Task<void> on_time();
  void rearm();
  std::vector<Queue> all_queues() const;
  void drop_queue(const Queue& queue);

  ShareShared& shared_;
  io::Shard& home_;
  io::Gate& gate_;
  const std::string name_;
  ShareMembers members_{0};
  int32_t written_epoch_ = -1;
  std::map<SharePartitionId, Queue> queues_;
  std::map<std::string, Session> sessions_;
  std::map<std::string, uint64_t> numbers_;
  uint64_t next_number_ = 1;
  io::Turn beginning_;
  io::Signal clock_;
  io::Signal written_;
  int64_t armed_ = 0;  // when keep_time() looks next
  bool due_ = false;   // it is to look at once
  bool stopped_ = false;
};

}  // namespace millrace::broker::detail
