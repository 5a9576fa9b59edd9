#include "catalog/detail/snapshot_impl.h"

#include <algorithm>
#include <tuple>

namespace millrace::catalog::detail {

namespace {

/// ASCII alone, as DuckDB folds identifiers.
std::string fold(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

const Uuid& id_of(const SnapshotImpl::Ref& object) { return object->id; }
std::string_view user_name_of(const SnapshotImpl::Ref& user) { return user->name; }

}  // namespace

const Object* SnapshotImpl::find(std::string_view name) const {
  const auto same = std::ranges::equal_range(by_name_, fold(name), {}, &Named::folded);
  for (const auto& named : same) {
    if (named.object->name == name) return named.object.get();
  }
  return same.size() == 1 ? same.begin()->object.get() : nullptr;
}

const Object* SnapshotImpl::find_exact(std::string_view name) const {
  const Object* found = find(name);
  return found && found->name == name ? found : nullptr;
}

const Object* SnapshotImpl::find(const Uuid& id) const {
  const auto at = std::ranges::lower_bound(by_id_, id, {}, id_of);
  return at != by_id_.end() && (*at)->id == id ? at->get() : nullptr;
}

std::vector<const Object*> SnapshotImpl::list() const {
  std::vector<const Object*> out;
  out.reserve(by_name_.size());
  for (const auto& named : by_name_) out.push_back(named.object.get());
  return out;
}

std::vector<const Object*> SnapshotImpl::dependents(std::string_view name) const {
  std::vector<const Object*> out;
  const Object* read = find(name);
  if (!read) return out;
  for (const auto& named : by_name_) {
    for (const auto& dependency : named.object->depends_on) {
      if (find(dependency) != read) continue;
      out.push_back(named.object.get());
      break;
    }
  }
  return out;
}

const Object* SnapshotImpl::find_user(std::string_view name) const {
  const auto at = std::ranges::lower_bound(users_, name, {}, user_name_of);
  return at != users_.end() && (*at)->name == name ? at->get() : nullptr;
}

std::vector<const Object*> SnapshotImpl::users() const {
  std::vector<const Object*> out;
  for (const auto& user : users_) out.push_back(user.get());
  return out;
}

void SnapshotImpl::put(Ref object) {
  if (object->kind == Kind::kUser) {
    erase_user(object->name);
    const std::string_view name = object->name;
    users_.insert(std::ranges::lower_bound(users_, name, {}, user_name_of), std::move(object));
    ++version_;
    return;
  }
  erase(object->name);
  std::string folded = fold(object->name);
  const auto id_at = std::ranges::lower_bound(by_id_, object->id, {}, id_of);
  by_id_.insert(id_at, object);
  const auto name_at = std::ranges::find_if(
      std::ranges::lower_bound(by_name_, folded, {}, &Named::folded), by_name_.end(),
      [&](const Named& named) {
        return std::tie(named.folded, named.object->name) > std::tie(folded, object->name);
      });
  by_name_.insert(name_at, Named{std::move(folded), std::move(object)});
  ++version_;
}

void SnapshotImpl::erase(std::string_view exact_name) {
  const auto same = std::ranges::equal_range(by_name_, fold(exact_name), {}, &Named::folded);
  for (auto at = same.begin(); at != same.end(); ++at) {
    if (at->object->name != exact_name) continue;
    by_id_.erase(std::ranges::lower_bound(by_id_, at->object->id, {}, id_of));
    by_name_.erase(at);
    ++version_;
    return;
  }
}

void SnapshotImpl::erase_user(std::string_view name) {
  if (std::erase_if(users_, [&](const Ref& user) { return user->name == name; }) > 0) ++version_;
}

}  // namespace millrace::catalog::detail
