#include "broker/detail/readers.h"

namespace millrace::broker::detail {

void Readers::seen(std::string_view group, std::string_view host, std::string_view client_id,
                   bool member, Clock::time_point now) {
  std::lock_guard lock(mutex_);
  if (clients_.size() >= kClientsMax) {
    for (auto at = clients_.begin(); at != clients_.end();) {
      forget(at->second, now);
      at = at->second.empty() ? clients_.erase(at) : std::next(at);
    }
  }
  auto& groups = clients_[{std::string(host), std::string(client_id)}];
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

void Readers::forget(Groups& groups, Clock::time_point now) {
  std::erase_if(groups, [&](const auto& each) { return now - each.second.at > kKept; });
}

}  // namespace millrace::broker::detail
