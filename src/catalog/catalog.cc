#include "catalog/catalog.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>

#include "base/io/gate.h"
#include "base/io/turn.h"
#include "catalog/detail/object_json.h"
#include "catalog/detail/snapshot_impl.h"
#include "log/partition_log.h"
#include "log/record_batch.h"

namespace millrace::catalog {

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::kTopic:
      return "topic";
    case Kind::kTable:
      return "table";
    case Kind::kView:
      return "view";
    case Kind::kMaterializedView:
      return "materialized view";
    case Kind::kFunction:
      return "function";
    case Kind::kPipeline:
      return "transform";
    case Kind::kSource:
      return "source";
    case Kind::kSink:
      return "sink";
    case Kind::kUser:
      return "user";
  }
  return "object";
}

bool Object::same_definition(const Object& other) const {
  const auto definition = [](const Object& o) {
    return std::tie(o.kind, o.name, o.columns, o.primary_key, o.watermark, o.query, o.depends_on,
                    o.partitions, o.options, o.sql, o.internal, o.owner, o.transforms);
  };
  return definition(*this) == definition(other);
}

namespace {

using detail::SnapshotImpl;

constexpr size_t kReplayBytes = 1 << 20;

log::LogConfig log_config() {
  log::LogConfig config;
  config.retention_ms = -1;
  config.batch_bytes_max = 16 << 20;
  return config;
}

Error undefined(std::string_view name) {
  return Error{ErrorCode::kUndefinedObject,
               fmt::format("there is no topic, table, view or function \"{}\"", name)};
}

/// Before the names of users in the keys of the log, so that a user and a topic may have one name.
constexpr std::string_view kUserKey = "user:";

std::string key_of(const Object& object) {
  return object.kind == Kind::kUser ? std::string(kUserKey) + object.name : object.name;
}

/// What keeps a user from being dropped, each as it is told.
std::vector<std::string> uses_of_user(const SnapshotImpl& now, const std::string& user) {
  std::vector<std::string> out;
  for (const Object* object : now.list()) {
    const bool owned = object->owner == user;
    if (owned)
      out.push_back(fmt::format("{} \"{}\" is its own", name_of(object->kind), object->name));
    for (const auto& each : object->transforms) {
      if (each.user != user && (owned || each.owner != user)) continue;
      out.push_back(fmt::format("the transform {}.{} of {} \"{}\" is {}", each.function,
                                each.export_name, name_of(object->kind), object->name,
                                each.user == user ? "for it" : "its own"));
    }
  }
  for (const Object* other : now.users()) {
    if (other->owner == user && other->name != user)
      out.push_back(fmt::format("user \"{}\" is its own", other->name));
  }
  return out;
}

/// True when `from` reads `target`, itself or through others. Dependencies have no cycles, so it
/// ends.
bool reaches(const SnapshotImpl& snapshot, const Object& from, const Object& target) {
  for (const auto& name : from.depends_on) {
    const Object* read = snapshot.find(name);
    if (read && (read == &target || reaches(snapshot, *read, target))) return true;
  }
  return false;
}

class CatalogImpl final : public Catalog {
 public:
  CatalogImpl(io::Env& env, io::Shard& shard, std::unique_ptr<log::PartitionLog> log)
      : env_(env), shard_(shard), log_(std::move(log)), turns_(shard) {}

  /// Reads the log from its beginning. Once, before anything else.
  io::Task<Result<>> replay() {
    auto next = std::make_shared<SnapshotImpl>();
    Offset at = log_->start_offset();
    while (at < log_->high_watermark()) {
      MR_CO_TRY(const auto read, co_await log_->read(at, kReplayBytes));
      MR_CO_TRY(apply(*next, read.batches, at));
      if (read.next_offset <= at) break;
      at = read.next_offset;
    }
    publish(std::move(next));
    co_return Result<>{};
  }

  std::shared_ptr<const Snapshot> snapshot() const override { return current(); }

  io::Task<Result<Object>> put(Object object, bool replace) override {
    return shard_.call(put_here(std::move(object), replace));
  }
  io::Task<Result<>> drop(std::string name) override {
    return shard_.call(drop_here(std::move(name)));
  }
  io::Task<Result<>> drop_user(std::string name) override {
    return shard_.call(drop_user_here(std::move(name)));
  }
  io::Task<Result<>> close() override { return shard_.call(close_here()); }

 private:
  static Result<> apply(SnapshotImpl& snapshot, std::string_view batches, Offset from) {
    Result<> good;
    MR_TRY(log::for_each_record(batches, false, [&](const log::RecordView& record) {
      if (!good || record.offset < from) return;
      good = apply(snapshot, record);
    }));
    return good;
  }

  static Result<> apply(SnapshotImpl& snapshot, const log::RecordView& record) {
    if (!record.key) {
      return Error{ErrorCode::kCorruptRecord,
                   fmt::format("the catalog's record at offset {} has no key", record.offset)};
    }
    if (!record.value) {
      if (record.key->starts_with(kUserKey)) {
        snapshot.erase_user(record.key->substr(kUserKey.size()));
      } else {
        snapshot.erase(*record.key);
      }
      return {};
    }
    auto object = detail::from_json(*record.value);
    if (!object) {
      return Error{object.error().code, fmt::format("{} (\"{}\", offset {})", object.error().text,
                                                    *record.key, record.offset)};
    }
    snapshot.put(std::make_shared<const Object>(std::move(*object)));
    return {};
  }

  io::Task<Result<Object>> put_here(Object object, bool replace) {
    if (!gate_.try_enter()) co_return closed();
    auto result = co_await put_in_turn(std::move(object), replace);
    gate_.leave();
    co_return result;
  }

  io::Task<Result<Object>> put_in_turn(Object object, bool replace) {
    auto turn = co_await turns_.take();
    const auto now = current();
    const bool user = object.kind == Kind::kUser;
    MR_CO_TRY(user ? prepare_user(*now, object, replace) : prepare(*now, object, replace));
    MR_CO_TRY(co_await write(key_of(object), detail::to_json(object)));
    auto next = std::make_shared<SnapshotImpl>(*now);
    next->put(std::make_shared<const Object>(object));
    publish(std::move(next));
    co_return object;
  }

  /// As prepare(), for a user.
  static Result<> prepare_user(const SnapshotImpl& now, Object& user, bool replace) {
    if (user.name.empty()) return Error{ErrorCode::kInvalidName, "a user needs a name"};
    const Object* old = now.find_user(user.name);
    if (old && !replace) {
      return Error{ErrorCode::kDuplicateObject, fmt::format("user \"{}\" exists", user.name)};
    }
    user.id = old ? old->id : Uuid::random();
    user.version = old ? old->version + 1 : 1;
    return {};
  }

  /// Checks `object` against what exists, and gives it its id and version.
  static Result<> prepare(const SnapshotImpl& now, Object& object, bool replace) {
    if (object.name.empty()) {
      return Error{ErrorCode::kInvalidName, "an object needs a name"};
    }
    if (object.name.starts_with(kUserKey)) {
      return Error{
          ErrorCode::kInvalidName,
          fmt::format("\"{}\" begins with {}, which is kept for users", object.name, kUserKey)};
    }
    for (const auto& each : object.transforms) {
      if (each.user.empty() || now.find_user(each.user)) continue;
      return Error{ErrorCode::kUndefinedObject,
                   fmt::format("user \"{}\" does not exist", each.user), std::nullopt,
                   "CREATE USER name PASSWORD '...' first. SHOW USERS lists those that there are."};
    }
    const Object* old = now.find_exact(object.name);
    // Topics that Kafka clients make differ by case, as in Kafka; everything else is SQL.
    const bool raw = object.kind == Kind::kTopic && object.columns.empty();
    if (!old && !raw) old = now.find(object.name);
    if (old && (!replace || old->kind != object.kind)) {
      return Error{ErrorCode::kDuplicateObject,
                   fmt::format("{} \"{}\" exists", name_of(old->kind), old->name)};
    }
    if (old) {
      object.name = old->name;
      object.id = old->id;
      object.version = old->version + 1;
    } else {
      object.version = 1;
      if (object.id.is_zero()) object.id = Uuid::random();
      if (now.find(object.id)) {
        return Error{ErrorCode::kDuplicateObject,
                     fmt::format("another object than \"{}\" has its id", object.name)};
      }
    }
    std::ranges::sort(object.depends_on);
    for (const auto& name : object.depends_on) {
      const Object* read = now.find(name);
      if (!read) return undefined(name);
      if (old && (read == old || reaches(now, *read, *old))) {
        return Error{ErrorCode::kInvalidArgument,
                     fmt::format("\"{}\" would read itself, through \"{}\"", object.name, name)};
      }
    }
    return {};
  }

  io::Task<Result<>> drop_here(std::string name) {
    if (!gate_.try_enter()) co_return closed();
    auto result = co_await drop_in_turn(std::move(name));
    gate_.leave();
    co_return result;
  }

  io::Task<Result<>> drop_in_turn(std::string name) {
    auto turn = co_await turns_.take();
    const auto now = current();
    const Object* object = now->find(name);
    if (!object) co_return undefined(name);
    if (const auto readers = now->dependents(object->name); !readers.empty()) {
      std::vector<std::string> names;
      for (const Object* reader : readers) {
        names.push_back(fmt::format("{} \"{}\"", name_of(reader->kind), reader->name));
      }
      co_return Error{.code = ErrorCode::kDependentObjects,
                      .text = fmt::format("\"{}\" is {} by {}", object->name,
                                          object->kind == Kind::kFunction ? "used" : "read",
                                          fmt::join(names, ", ")),
                      .hint = "Drop these first."};
    }
    MR_CO_TRY(co_await write(object->name, std::nullopt));
    auto next = std::make_shared<SnapshotImpl>(*now);
    next->erase(object->name);
    publish(std::move(next));
    co_return Result<>{};
  }

  io::Task<Result<>> drop_user_here(std::string name) {
    if (!gate_.try_enter()) co_return closed();
    auto result = co_await drop_user_in_turn(std::move(name));
    gate_.leave();
    co_return result;
  }

  io::Task<Result<>> drop_user_in_turn(std::string name) {
    auto turn = co_await turns_.take();
    const auto now = current();
    const Object* user = now->find_user(name);
    if (!user) {
      co_return Error{ErrorCode::kUndefinedObject, fmt::format("user \"{}\" does not exist", name)};
    }
    if (const auto uses = uses_of_user(*now, name); !uses.empty()) {
      co_return Error{
          .code = ErrorCode::kDependentObjects,
          .text = fmt::format("user \"{}\" cannot be dropped: {}", name, fmt::join(uses, ", ")),
          .hint = "Drop these first: ALTER TOPIC ... DROP TRANSFORM, DROP ..."};
    }
    MR_CO_TRY(co_await write(key_of(*user), std::nullopt));
    auto next = std::make_shared<SnapshotImpl>(*now);
    next->erase_user(name);
    publish(std::move(next));
    co_return Result<>{};
  }

  io::Task<Result<>> write(std::string key, std::optional<std::string> value) {
    log::BatchBuilder builder;
    builder.add(env_.now_ms(), key, value);
    auto appended = co_await log_->append(builder.finish(), log::Ack::kDurable);
    if (!appended) co_return std::move(appended).error();
    co_return Result<>{};
  }

  io::Task<Result<>> close_here() {
    if (gate_.closed()) co_return Result<>{};
    co_await gate_.close();
    co_return co_await log_->close();
  }

  static Error closed() { return Error{ErrorCode::kShuttingDown, "the catalog is closed"}; }

  std::shared_ptr<const SnapshotImpl> current() const {
    std::lock_guard lock(mutex_);
    return current_;
  }
  void publish(std::shared_ptr<const SnapshotImpl> next) {
    std::lock_guard lock(mutex_);
    current_ = std::move(next);
  }

  io::Env& env_;
  io::Shard& shard_;
  std::unique_ptr<log::PartitionLog> log_;
  io::Gate gate_;
  io::Turn turns_;
  mutable std::mutex mutex_;  // for the pointer alone
  std::shared_ptr<const SnapshotImpl> current_ = std::make_shared<SnapshotImpl>();
};

io::Task<Result<std::unique_ptr<Catalog>>> open_here(io::Env& env, io::Shard& shard,
                                                     std::string path) {
  MR_CO_TRY(env.files().make_folder(path));
  MR_CO_TRY(auto log,
            co_await log::PartitionLog::open(env, shard, path + "/__catalog-0", log_config()));
  auto catalog = std::make_unique<CatalogImpl>(env, shard, std::move(log));
  if (auto replayed = co_await catalog->replay(); !replayed) {
    auto closed = co_await catalog->close();  // the reason is the replay's failure, not this one's
    static_cast<void>(closed);
    co_return std::move(replayed).error();
  }
  co_return std::unique_ptr<Catalog>(std::move(catalog));
}

}  // namespace

io::Task<Result<std::unique_ptr<Catalog>>> Catalog::open(io::Env& env, io::Shard& shard,
                                                         std::string path) {
  return shard.call(open_here(env, shard, std::move(path)));
}

}  // namespace millrace::catalog
