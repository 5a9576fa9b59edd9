#include "broker/detail/assignors.h"

#include <algorithm>
#include <numeric>
#include <ranges>
#include <tuple>

namespace millrace::broker::detail {

namespace {

using Members = std::vector<AssignorMember>;
using Counts = std::map<Uuid, int32_t>;

bool is_subscribed(const AssignorMember& member, const Uuid& topic) {
  return std::ranges::binary_search(member.topics, topic);
}

/// Who has which partition, while it is being decided.
class Division {
 public:
  static constexpr int kNobody = -1;

  Division(const Members& members, const Counts& counts)
      : members_(members), load_(members.size(), 0) {
    for (const auto& member : members) {
      for (const Uuid& topic : member.topics) {
        const auto count = counts.find(topic);
        if (count == counts.end() || owners_.contains(topic)) continue;
        owners_[topic].assign(static_cast<size_t>(count->second), kNobody);
      }
    }
    keep();
  }

  std::map<Uuid, std::vector<int>>& owners() { return owners_; }
  int load(size_t member) const { return load_[member]; }
  void give(int& slot, size_t member) {
    if (slot != kNobody) --load_[static_cast<size_t>(slot)];
    slot = static_cast<int>(member);
    ++load_[member];
  }
  void take(int& slot) {
    --load_[static_cast<size_t>(slot)];
    slot = kNobody;
  }

  std::vector<PartitionSet> result() const {
    std::vector<PartitionSet> out(members_.size());
    for (const auto& [topic, owners] : owners_) {
      for (size_t p = 0; p < owners.size(); ++p) {
        if (owners[p] == kNobody) continue;
        out[static_cast<size_t>(owners[p])][topic].push_back(static_cast<int32_t>(p));
      }
    }
    return out;
  }

 private:
  /// What members had before stays theirs as far as they still may have it.
  void keep() {
    for (size_t m = 0; m < members_.size(); ++m) {
      if (!members_[m].before) continue;
      for (const auto& [topic, partitions] : *members_[m].before) {
        const auto at = owners_.find(topic);
        if (at == owners_.end() || !is_subscribed(members_[m], topic)) continue;
        for (const int32_t p : partitions) {
          if (p < 0 || static_cast<size_t>(p) >= at->second.size()) continue;
          int& slot = at->second[static_cast<size_t>(p)];
          if (slot == kNobody) give(slot, m);
        }
      }
    }
  }

  const Members& members_;
  std::map<Uuid, std::vector<int>> owners_;
  std::vector<int> load_;
};

/// All are subscribed to the same topics: each has a quota, those who have most now get the odd
/// ones.
void divide_by_quota(Division& division, size_t member_count) {
  size_t total = 0;
  for (const auto& [topic, owners] : division.owners()) total += owners.size();
  std::vector<size_t> by_load(member_count);
  std::iota(by_load.begin(), by_load.end(), 0);
  std::ranges::sort(by_load, {}, [&](size_t m) { return std::pair(-division.load(m), m); });
  std::vector<int> quota(member_count, static_cast<int>(total / member_count));
  for (size_t i = 0; i < total % member_count; ++i) ++quota[by_load[i]];

  for (auto& [topic, owners] : division.owners()) {
    // From the end, so that the first partitions stay where they are.
    for (int& slot : owners | std::views::reverse) {
      if (slot == Division::kNobody) continue;
      const auto m = static_cast<size_t>(slot);
      if (division.load(m) > quota[m]) division.take(slot);
    }
  }
  size_t next = 0;
  for (auto& [topic, owners] : division.owners()) {
    for (int& slot : owners) {
      if (slot != Division::kNobody) continue;
      while (division.load(next) >= quota[next]) ++next;
      division.give(slot, next);
    }
  }
}

/// A topic with those who may have its partitions.
struct Market {
  const Uuid* topic;
  std::vector<int>* owners;
  std::vector<size_t> subscribers;
};

/// Moves partitions of one topic from the most to the least loaded while that evens them out.
bool even_out(Division& division, Market& market) {
  bool moved = false;
  const auto load = [&](size_t m) { return division.load(m); };
  while (true) {
    int* heaviest = nullptr;
    for (int& slot : *market.owners) {
      if (!heaviest || load(static_cast<size_t>(slot)) > load(static_cast<size_t>(*heaviest))) {
        heaviest = &slot;
      }
    }
    const size_t lightest = std::ranges::min(market.subscribers, {}, load);
    if (!heaviest || load(static_cast<size_t>(*heaviest)) - load(lightest) <= 1) return moved;
    division.give(*heaviest, lightest);
    moved = true;
  }
}

/// Subscriptions differ: the topics with the fewest choices first, each partition to the least
/// loaded; then partitions move until no single move makes it more even. Each move makes the sum
/// of squared loads smaller, so that this ends.
void divide_by_subscription(Division& division, const Members& members) {
  std::vector<Market> markets;
  for (auto& [topic, owners] : division.owners()) {
    Market market{&topic, &owners, {}};
    for (size_t m = 0; m < members.size(); ++m) {
      if (is_subscribed(members[m], topic)) market.subscribers.push_back(m);
    }
    markets.push_back(std::move(market));
  }
  std::ranges::sort(markets, {},
                    [](const Market& m) { return std::pair(m.subscribers.size(), *m.topic); });
  for (auto& market : markets) {
    for (int& slot : *market.owners) {
      if (slot != Division::kNobody) continue;
      division.give(slot, std::ranges::min(market.subscribers, {},
                                           [&](size_t m) { return division.load(m); }));
    }
  }
  bool moved = true;
  while (moved) {
    moved = false;
    for (auto& market : markets) moved = even_out(division, market) || moved;
  }
}

std::vector<PartitionSet> assign_uniform(const Members& members, const Counts& counts) {
  if (members.empty()) return {};
  Division division(members, counts);
  const bool alike = std::ranges::all_of(
      members, [&](const AssignorMember& m) { return m.topics == members.front().topics; });
  if (alike) {
    divide_by_quota(division, members.size());
  } else {
    divide_by_subscription(division, members);
  }
  return division.result();
}

std::vector<PartitionSet> assign_range(const Members& members, const Counts& counts) {
  std::vector<size_t> order(members.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t m) {
    const auto& member = members[m];
    return std::tuple(!member.instance_id, member.instance_id.value_or(member.id), member.id);
  });
  std::vector<PartitionSet> out(members.size());
  for (const auto& [topic, count] : counts) {
    std::vector<size_t> subscribers;
    std::ranges::copy_if(order, std::back_inserter(subscribers),
                         [&](size_t m) { return is_subscribed(members[m], topic); });
    if (subscribers.empty()) continue;
    const auto each = count / static_cast<int32_t>(subscribers.size());
    auto odd = count % static_cast<int32_t>(subscribers.size());
    int32_t next = 0;
    for (const size_t m : subscribers) {
      const int32_t size = each + (odd-- > 0 ? 1 : 0);
      if (size == 0) break;
      auto& partitions = out[m][topic];
      partitions.resize(static_cast<size_t>(size));
      std::iota(partitions.begin(), partitions.end(), next);
      next += size;
    }
  }
  return out;
}

}  // namespace

const std::vector<Assignor>& assignors() {
  static const std::vector<Assignor> kAssignors = {{kDefaultAssignor, assign_uniform},
                                                   {"range", assign_range}};
  return kAssignors;
}

const Assignor* find_assignor(std::string_view name) {
  const auto& all = assignors();
  const auto at = std::ranges::find(all, name, &Assignor::name);
  return at == all.end() ? nullptr : &*at;
}

}  // namespace millrace::broker::detail
