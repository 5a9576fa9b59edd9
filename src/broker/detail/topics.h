#pragma once

#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker::detail {

/// The topics that are served, by name and by id. Any thread: a look-up holds the lock for the copy
/// of a pointer, and a request makes one for each topic that it names, not for each record.
class Topics {
 public:
  using Ref = std::shared_ptr<const Topic>;

  Ref find(std::string_view name) const;
  Ref find(const Uuid& id) const;
  std::vector<Ref> list() const;  // by name

  /// In place of the one of its name.
  void put(Ref topic);
  void erase(const std::string& name);

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, Ref, std::less<>> by_name_;
  std::map<Uuid, Ref> by_id_;
};

}  // namespace millrace::broker::detail
