#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace millrace::broker {

/// Partitions by the id of their topic; each list sorted and without repetition, none empty.
using PartitionSet = std::map<Uuid, std::vector<int32_t>>;

// What a member says in place of its epoch. Source: KIP-848.
inline constexpr int32_t kJoinEpoch = 0;
inline constexpr int32_t kLeaveEpoch = -1;
inline constexpr int32_t kStaticLeaveEpoch = -2;  // it will be back within the session timeout

/// One heartbeat of a member of a group of the consumer protocol; what is absent has not changed
/// since the member's last. Source: KIP-848, ConsumerGroupHeartbeat.
struct ConsumerHeartbeat {
  std::string group;
  std::string member_id;
  int32_t member_epoch = 0;
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::vector<std::string>> topic_names;
  std::optional<std::string> topic_regex;
  std::optional<std::string> assignor;
  std::optional<PartitionSet> owned;
  std::string client_id;
  std::string client_host;
  bool member_id_required = false;  // from version 1 on members make their id (KIP-1082)
  // What the group's options say (KIP-848).
  std::chrono::milliseconds session_timeout = std::chrono::seconds(45);
  std::chrono::milliseconds heartbeat_interval = std::chrono::seconds(5);
};

struct ConsumerHeartbeatAnswer {
  std::string member_id;
  int32_t member_epoch = 0;
  int32_t heartbeat_interval_ms = 0;
  std::optional<PartitionSet> assignment;  // absent: not changed
};

/// A group of the consumer protocol at one moment. Source: KIP-848, ConsumerGroupDescribe.
struct ConsumerGroupInfo {
  struct Member {
    std::string member_id;
    std::optional<std::string> instance_id;
    std::optional<std::string> rack_id;
    int32_t epoch = 0;
    std::string client_id;
    std::string client_host;
    std::vector<std::string> topic_names;
    std::string topic_regex;  // empty: none
    PartitionSet assigned;
    PartitionSet target;
    bool classic = false;  // speaks the classic protocol in a group that is being migrated
  };
  std::string id;
  std::string state;  // Empty, Assigning, Reconciling, Stable
  int32_t epoch = 0;
  int32_t assignment_epoch = 0;
  std::string assignor;
  std::vector<Member> members;         // by id
  std::map<Uuid, std::string> topics;  // the names of all topics that are mentioned
};

}  // namespace millrace::broker
