#include "guard/users.h"

#include <fmt/format.h>

#include "guard/sasl.h"
#include "sql/detail/ddl.h"

namespace millrace::sql {

namespace {

Error no_user(const std::string& name, size_t position) {
  return Error{ErrorCode::kUndefinedObject, fmt::format("user \"{}\" does not exist", name),
               position, "SHOW USERS lists those that there are."};
}

/// A user may change itself, as may who made it.
Result<> check_may_change(const catalog::Object& user, const std::string& who) {
  if (user.name == who || user.owner == who) return {};
  return not_owner(fmt::format("user \"{}\"", user.name), user.owner, who);
}

}  // namespace

Result<> Definitions::put(const PutUser& put, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto placed = [](Error error, size_t position) {
    error.position = position;
    return error;
  };
  const auto snapshot = core_.catalog.snapshot();
  const auto* old = snapshot->find_user(put.name);
  catalog::Object made;
  if (put.create) {
    if (old) {
      return Error{ErrorCode::kDuplicateObject, fmt::format("user \"{}\" exists", put.name),
                   put.name_begin, "ALTER USER name PASSWORD '...' gives it another password."};
    }
    auto fresh = guard::make_user(put.name, put.password, user, core_.env.now_ms());
    if (!fresh) {
      const bool name = fresh.error().code == ErrorCode::kInvalidName;
      return placed(std::move(fresh).error(), name ? put.name_begin : put.password_begin);
    }
    made = std::move(*fresh);
  } else {
    if (!old) return no_user(put.name, put.name_begin);
    MR_TRY(check_may_change(*old, user));
    made = *old;
    if (auto set = guard::set_password(made, put.password); !set) {
      return placed(std::move(set).error(), put.password_begin);
    }
  }
  MR_TRY(core_.any_shard().block_on(core_.catalog.put(std::move(made), old != nullptr)));
  return {};
}

Result<> Definitions::drop_user(const DropObject& drop, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* old = snapshot->find_user(drop.name);
  if (!old) return drop.if_exists ? Result<>() : no_user(drop.name, drop.name_begin);
  MR_TRY(check_may_change(*old, user));
  auto dropped = core_.any_shard().block_on(core_.catalog.drop_user(drop.name));
  if (dropped) return {};
  auto error = std::move(dropped).error();
  error.position = drop.name_begin;
  return error;
}

Listing show_users(const catalog::Snapshot& snapshot) {
  using duckdb::LogicalType;
  using duckdb::Value;
  Listing listing;
  listing.names = {"name", "mechanisms", "created_at", "owner"};
  listing.types = {LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::TIMESTAMP_TZ,
                   LogicalType::VARCHAR};
  for (const auto* user : snapshot.users()) {
    const auto created = duckdb::timestamp_tz_t(guard::created_ms(*user) * 1000);
    listing.rows.push_back({Value(user->name), Value(guard::mechanisms_of(*user)),
                            Value::TIMESTAMPTZ(created), Value(user->owner)});
  }
  return listing;
}

}  // namespace millrace::sql
