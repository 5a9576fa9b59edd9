// How what exists changes: create, replace, and what happens to the folders of what is gone.
#include <fmt/format.h>

#include <set>

#include "base/logging.h"
#include "broker/detail/broker_impl.h"
#include "catalog/function.h"
#include "catalog/replacement.h"

namespace millrace::broker::detail {

namespace {

constexpr int32_t kPartitionsMax = 10'000;
constexpr std::string_view kAside = ".deleted";

/// Folders of the log's own that are no topic's.
bool is_reserved(std::string_view name) { return name.starts_with("__catalog-"); }

/// Whether `name` could be a partition's folder: topic-7.
bool is_partition_folder(std::string_view name) {
  const size_t dash = name.rfind('-');
  return dash != std::string_view::npos && dash > 0 && dash + 1 < name.size() &&
         name.find_first_not_of("0123456789", dash + 1) == std::string_view::npos;
}

Result<> check_partitions(const catalog::Object& object) {
  const bool changelog = object.kind == catalog::Kind::kMaterializedView;
  if (changelog && object.partitions != 1) {
    return Error{ErrorCode::kInvalidPartitions,
                 fmt::format("the changelog of \"{}\" has one partition, not {}", object.name,
                             object.partitions)};
  }
  if (object.partitions >= 1 && object.partitions <= kPartitionsMax) return {};
  return Error{ErrorCode::kInvalidPartitions,
               fmt::format("\"{}\" cannot have {} partitions; allowed: 1 to {}", object.name,
                           object.partitions, kPartitionsMax)};
}

}  // namespace

/// A create() that has been checked: nothing but the disk can refuse it now.
struct BrokerImpl::Change {
  catalog::Object object;
  std::shared_ptr<const PartitionRules> rules;
  Ref old = nullptr;  // what it replaces
};

io::Task<Result<BrokerImpl::Ref>> BrokerImpl::create(catalog::Object object, bool replace,
                                                     bool validate_only) {
  return home_.call(create_here(std::move(object), replace, validate_only));
}

io::Task<Result<BrokerImpl::Ref>> BrokerImpl::create_here(catalog::Object object, bool replace,
                                                          bool validate_only) {
  if (!gate_.try_enter()) {
    co_return Error{ErrorCode::kShuttingDown, "the node is stopping"};
  }
  auto result = co_await create_in_turn(std::move(object), replace, validate_only);
  gate_.leave();
  co_return result;
}

io::Task<Result<BrokerImpl::Ref>> BrokerImpl::create_in_turn(catalog::Object object, bool replace,
                                                             bool validate_only) {
  auto turn = co_await turns_.take();
  MR_CO_TRY(auto change, check(std::move(object), replace));
  if (validate_only) {
    co_return std::make_shared<const Topic>(Topic{std::move(change.object), {}});
  }
  if (!change.old) co_return co_await create_new(std::move(change));
  if (change.object.kind == catalog::Kind::kMaterializedView) {
    const auto bridge = catalog::bridge_of(change.object);
    if (bridge && bridge != catalog::bridge_of(change.old->object)) {
      co_return co_await replace_kept(std::move(change));  // who reads the log stays where it is
    }
    const auto log = catalog::log_name(change.object);
    auto replacement = log == change.object.name ? nullptr : topics_->find(log);
    if (!replacement) co_return co_await replace_anew(std::move(change));
    co_return co_await take_over(std::move(change), std::move(replacement));
  }
  co_return co_await replace_kept(std::move(change));
}

Result<BrokerImpl::Change> BrokerImpl::check(catalog::Object object, bool replace) const {
  if (!catalog::has_log(object)) {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("\"{}\" is a {} and has no log", object.name, catalog::name_of(object.kind))};
  }
  MR_TRY(check_topic_name(object.name));
  if (is_reserved(object.name + "-0")) {
    return Error{ErrorCode::kInvalidName,
                 fmt::format("the name \"{}\" is taken by the node itself", object.name)};
  }
  MR_TRY(check_partitions(object));
  MR_TRY(auto rules, PartitionRules::make(object));
  const auto snapshot = catalog_.snapshot();
  const auto* old = snapshot->find(object.name);
  const bool raw = object.kind == catalog::Kind::kTopic && object.columns.empty();
  if (old && raw && old->name != object.name) old = nullptr;  // as Catalog::put() has it
  if (!old) return Change{std::move(object), std::move(rules)};
  if (!replace || old->kind != object.kind) {
    return Error{ErrorCode::kDuplicateObject,
                 fmt::format("{} \"{}\" exists", catalog::name_of(old->kind), old->name)};
  }
  if (object.partitions < old->partitions) {
    return Error{ErrorCode::kInvalidPartitions,
                 fmt::format("\"{}\" has {} partitions; they can be added, not taken away",
                             old->name, old->partitions)};
  }
  auto topic = topics_->find(old->name);
  if (!topic) {
    return Error{ErrorCode::kInternal, fmt::format("\"{}\" is not open", old->name)};
  }
  if (object.name != old->name) {  // spelled otherwise: it keeps the name that its folders have
    object.name = old->name;
    MR_TRY(rules, PartitionRules::make(object));
  }
  return Change{std::move(object), std::move(rules), std::move(topic)};
}

io::Task<Result<BrokerImpl::Ref>> BrokerImpl::create_new(Change change) {
  // A node that was killed in a drop leaves folders whose records are not this topic's.
  MR_CO_TRY(auto stale, set_aside(catalog::log_name(change.object), 0, change.object.partitions));
  remove_folders(std::move(stale));
  MR_CO_TRY(auto stored, co_await catalog_.put(std::move(change.object), false));
  MR_CO_TRY(auto rules, PartitionRules::make(stored));  // checks look at its id and version
  auto partitions = make_partitions(std::move(rules), 0);
  if (auto opened = co_await open_all(partitions); !opened) {
    auto why = Error{ErrorCode::kUnknownPartition, "the topic could not be made"};
    auto closed = co_await close_all(std::move(partitions), std::move(why));
    auto undone = co_await catalog_.drop(stored.name);
    if (!closed || !undone) {
      logging::error("topic half made", {{"topic", stored.name}, {"reason", opened.error().text}});
    }
    co_return std::move(opened).error();
  }
  co_return publish(std::move(stored), std::move(partitions));
}

io::Task<Result<BrokerImpl::Ref>> BrokerImpl::replace_kept(Change change) {
  auto partitions = change.old->partitions;
  const auto kept = static_cast<int32_t>(partitions.size());
  MR_CO_TRY(auto stale, set_aside(change.object.name, kept, change.object.partitions));
  remove_folders(std::move(stale));
  auto added = make_partitions(change.rules, kept);
  if (auto opened = co_await open_all(added); !opened) {
    auto why = Error{ErrorCode::kUnknownPartition, "the partition could not be made"};
    auto closed = co_await close_all(std::move(added), std::move(why));
    static_cast<void>(closed);  // the reason is that they did not open
    co_return std::move(opened).error();
  }
  auto stored = co_await catalog_.put(std::move(change.object), true);
  if (!stored) {
    auto why = Error{ErrorCode::kUnknownPartition, "the partition was not added"};
    auto closed = co_await close_all(std::move(added), std::move(why));
    static_cast<void>(closed);  // the reason is the catalog's
    co_return std::move(stored).error();
  }
  partitions.insert(partitions.end(), added.begin(), added.end());
  MR_CO_TRY(auto rules, PartitionRules::make(*stored));
  for (const auto& partition : partitions) {
    co_await static_cast<PartitionImpl&>(*partition).apply(rules);
  }
  co_return publish(std::move(*stored), std::move(partitions));
}

io::Task<Result<BrokerImpl::Ref>> BrokerImpl::replace_anew(Change change) {
  // The old log goes first: were the new definition durable before, a node killed in between would
  // take the old rows for the new ones. An empty changelog is made again from its inputs.
  const std::string name = change.object.name;
  auto why = Error{ErrorCode::kUnknownPartition, fmt::format("\"{}\" was replaced", name)};
  MR_CO_TRY(co_await close_all(change.old->partitions, std::move(why)));
  for (const auto& log :
       {catalog::log_name(change.old->object), catalog::log_name(change.object)}) {
    MR_CO_TRY(auto aside, set_aside(log, 0, change.object.partitions));
    remove_folders(std::move(aside));
  }
  auto stored = co_await catalog_.put(std::move(change.object), true);
  // When the catalog refuses, the old definition is served again, from its beginning.
  auto object = stored ? *stored : change.old->object;
  MR_CO_TRY(auto rules, PartitionRules::make(object));
  auto partitions = make_partitions(std::move(rules), 0);
  auto opened = co_await open_all(partitions);
  auto topic = publish(std::move(object), std::move(partitions));
  if (!stored) co_return std::move(stored).error();
  if (!opened) co_return std::move(opened).error();
  co_return topic;
}

/// The view goes on with the changelog of its replacement, as it stands.
io::Task<Result<BrokerImpl::Ref>> BrokerImpl::take_over(Change change, Ref replacement) {
  // From this record on the old log is nobody's; a crash in the middle leaves the replacement's
  // object and the old log's folder, which the next start removes.
  MR_CO_TRY(auto stored, co_await catalog_.put(std::move(change.object), true));
  MR_CO_TRY(auto rules, PartitionRules::make(stored));
  for (const auto& partition : replacement->partitions) {
    co_await static_cast<PartitionImpl&>(*partition).apply(rules);
  }
  topics_->erase(replacement->object.name);
  auto topic = publish(std::move(stored), replacement->partitions);
  auto why =
      Error{ErrorCode::kUnknownPartition, fmt::format("\"{}\" was replaced", topic->object.name)};
  auto closed = co_await close_all(change.old->partitions, std::move(why));
  auto aside = set_aside(catalog::log_name(change.old->object), 0,
                         static_cast<int32_t>(change.old->partitions.size()));
  if (aside) remove_folders(std::move(*aside));
  auto dropped = co_await catalog_.drop(replacement->object.name);
  if (!closed || !aside || !dropped) {
    logging::warn("what a view was before is not all gone", {{"view", topic->object.name}});
  }
  co_return topic;
}

io::Task<Result<>> BrokerImpl::end_replacements() {
  const auto snapshot = catalog_.snapshot();
  for (const auto* object : snapshot->list()) {
    const auto log = catalog::log_name(*object);
    if (log == object->name) continue;
    // A crash came between: the old log and the replacement's object are left.
    MR_CO_TRY(auto stale, set_aside(object->name, 0, object->partitions));
    remove_folders(std::move(stale));
    if (snapshot->find(log)) MR_CO_TRY(co_await catalog_.drop(log));
  }
  co_return Result<>{};
}

Result<std::vector<std::string>> BrokerImpl::set_aside(std::string_view log, int32_t from,
                                                       int32_t to) {
  std::vector<std::string> aside;
  for (int32_t p = from; p < to; ++p) {
    const std::string path = folder(log, p);
    if (!env_.files().exists(path)) continue;
    // A topic's name may fill what a file name can hold, so it is not part of this one.
    std::string moved = fmt::format("{}/{:016x}{}", options_.path, env_.random(), kAside);
    MR_TRY(env_.files().rename(path, moved));
    aside.push_back(std::move(moved));
  }
  if (!aside.empty()) MR_TRY(env_.files().sync_folder(options_.path));
  return aside;
}

void BrokerImpl::remove_folders(std::vector<std::string> paths) {
  if (!paths.empty()) home_.spawn(gate_, remove_folders_here(std::move(paths)));
}

io::Task<void> BrokerImpl::remove_folders_here(std::vector<std::string> paths) {
  auto remove = [&files = env_.files(), &paths] {
    for (const auto& path : paths) {
      if (auto removed = files.remove_folder(path); !removed) {
        logging::warn("folder not removed", {{"path", path}, {"reason", removed.error().text}});
      }
    }
  };
  co_await runtime_.blocking(std::move(remove));  // a large file takes the kernel a while
}

Result<> BrokerImpl::tidy() {
  MR_TRY(const auto names, env_.files().list(options_.path));
  std::set<std::string> known;
  for (const auto& topic : topics_->list()) {
    for (const auto& partition : topic->partitions) {
      known.insert(fmt::format("{}-{}", catalog::log_name(topic->object), partition->index()));
    }
  }
  std::vector<std::string> aside;
  for (const auto& name : names) {
    if (name.ends_with(kAside)) aside.push_back(options_.path + "/" + name);
    if (!is_partition_folder(name) || is_reserved(name) || known.contains(name)) continue;
    if (name.starts_with(catalog::kChangelogPrefix)) {  // of a view that was replaced in a crash
      aside.push_back(options_.path + "/" + name);
      continue;
    }
    logging::warn("folder is no topic's; left alone", {{"path", options_.path + "/" + name}});
  }
  remove_folders(std::move(aside));
  return {};
}

}  // namespace millrace::broker::detail
