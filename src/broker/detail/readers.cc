#include "broker/detail/readers.h"

#include "base/logging.h"

namespace millrace::broker::detail {

void Readers::seen(std::string_view group, std::string_view host, std::string_view client_id,
                   bool member, Clock::time_point now) {
  std::lock_guard lock(mutex_);
  if (clients_.size() >= clients_max_ && now >= next_sweep_) sweep(now);
  const Client client{host, client_id};
  if (clients_.size() >= clients_max_ && !clients_.contains(client)) return;
  auto& groups = clients_[client];
  forget(groups, now);
  auto at = groups.find(group);
  if (at == groups.end()) at = groups.emplace(std::string(group), Heard()).first;
  at->second.at = now;
  at->second.member |= member;
}

std::set<std::string> Readers::groups_of(const std::string& host, const std::string& client_id,
                                         Clock::time_point now) const {
  std::set<std::string> members, others;
  std::lock_guard lock(mutex_);
  const auto found = clients_.find({host, client_id});
  if (found == clients_.end()) return members;
  for (const auto& [group, heard] : found->second) {
    if (now - heard.at <= kKept) (heard.member ? members : others).insert(group);
  }
  return members.empty() ? others : members;
}

void Readers::sweep(Clock::time_point now) {
  next_sweep_ = now + kBetweenSweeps;
  for (auto at = clients_.begin(); at != clients_.end();) {
    forget(at->second, now);
    at = at->second.empty() ? clients_.erase(at) : std::next(at);
  }
  if (clients_.size() >= clients_max_) {
    logging::warn(
        "more Kafka clients than are remembered by group: transforms FOR GROUP do not "
        "reach those that come now",
        {{"remembered", clients_.size()}});
  }
}

void Readers::forget(Groups& groups, Clock::time_point now) {
  std::erase_if(groups, [&](const auto& each) { return now - each.second.at > kKept; });
}

}  // namespace millrace::broker::detail
