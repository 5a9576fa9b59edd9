#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::broker::detail {

/// Which groups clients speak for, by host and client.id: a Fetch names neither group nor member,
/// and comes over another connection than what does. Any thread.
class Readers {
 public:
  using Clock = std::chrono::steady_clock;

  /// Past `clients_max` a client that is new is not remembered: it counts as of no group.
  explicit Readers(size_t clients_max = 100'000) : clients_max_(clients_max) {}

  /// `member`: it takes part in the group; else it only asked for offsets, or committed some, as
  /// tools do as well.
  void seen(std::string_view group, std::string_view host, std::string_view client_id, bool member,
            Clock::time_point now = Clock::now());
  /// Those that it was a member of in the last ten minutes; if there are none, those whose offsets
  /// it used.
  std::set<std::string> groups_of(const std::string& host, const std::string& client_id,
                                  Clock::time_point now = Clock::now()) const;

 private:
  static constexpr auto kKept = std::chrono::minutes(10);
  static constexpr auto kBetweenSweeps = std::chrono::seconds(10);
  using Client = std::pair<std::string, std::string>;
  struct Heard {
    Clock::time_point at;
    bool member = false;
  };
  using Groups = std::map<std::string, Heard, std::less<>>;

  static void forget(Groups& groups, Clock::time_point now);
  void sweep(Clock::time_point now);

  const size_t clients_max_;
  mutable std::mutex mutex_;
  std::map<Client, Groups> clients_;
  Clock::time_point next_sweep_ = Clock::time_point::min();  // it looks at all: not at each call
};

}  // namespace millrace::broker::detail
