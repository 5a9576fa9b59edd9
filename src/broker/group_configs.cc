#include "broker/group_configs.h"

#include <boost/json.hpp>
#include <mutex>

#include "base/logging.h"
#include "broker/detail/option_rules.h"
#include "broker/journal.h"

namespace millrace::broker {

namespace {

namespace json = boost::json;

constexpr const char* kTopic = "__group_configs";

const detail::OptionRules& rules() {
  static const detail::OptionRules kRules(
      "group", {
                   {{"consumer.heartbeat.interval.ms", "5000", "INT",
                     "How often members of a consumer group are to send a heartbeat"},
                    500,
                    60'000},
                   {{"consumer.session.timeout.ms", "45000", "INT",
                     "A member of a consumer group that is silent for so long is removed"},
                    1000,
                    1'800'000},
                   {{"share.auto.offset.reset", "latest", "STRING",
                     "Where a share group begins in a partition: latest, earliest, or "
                     "by_duration:<ISO 8601>"},
                    0,
                    0,
                    {"latest", "earliest", "by_duration:"}},
                   {{"share.delivery.count.limit", "5", "INT",
                     "A record that was delivered so often and never accepted is archived"},
                    1,
                    100},
                   {{"share.heartbeat.interval.ms", "5000", "INT",
                     "How often members of a share group are to send a heartbeat"},
                    500,
                    60'000},
                   {{"share.isolation.level", "read_uncommitted", "STRING",
                     "Whether a share group sees records of open and aborted transactions"},
                    0,
                    0,
                    {"read_uncommitted", "read_committed"}},
                   {{"share.partition.max.record.locks", "2000", "INT",
                     "Records of a partition that a share group has in flight at most"},
                    100,
                    100'000},
                   {{"share.record.lock.duration.ms", "30000", "INT",
                     "A record that is not acknowledged for so long is delivered again"},
                    1000,
                    3'600'000},
                   {{"share.renew.acknowledge.enable", "true", "BOOLEAN",
                     "Whether consumers may extend the time that they have for a record"},
                    0,
                    0,
                    {"true", "false"}},
                   {{"share.session.timeout.ms", "45000", "INT",
                     "A member of a share group that is silent for so long is removed"},
                    1000,
                    1'800'000},
               });
  return kRules;
}

using Options = std::map<std::string, std::string>;

class GroupConfigsImpl final : public GroupConfigs {
 public:
  GroupConfigsImpl(io::Runtime& runtime, io::Env& env, Broker& broker)
      : home_(runtime.shard(0)), journal_(Journal::make(env, broker, kTopic)) {}

  io::Task<Result<>> load() {
    return journal_->load([this](auto group, auto text) { take(group, text); });
  }

  std::string text(std::string_view group, std::string_view name) const override {
    const auto* rule = rules().find(name);
    MR_CHECK(rule != nullptr);
    std::lock_guard lock(mutex_);
    const auto at = groups_.find(group);
    if (at == groups_.end()) return std::string(rule->option.default_value);
    const auto value = at->second.find(std::string(name));
    return value == at->second.end() ? std::string(rule->option.default_value) : value->second;
  }
  int64_t integer(std::string_view group, std::string_view name) const override {
    return detail::integer_of(text(group, name));
  }
  Options own(std::string_view group) const override {
    std::lock_guard lock(mutex_);
    const auto at = groups_.find(group);
    return at == groups_.end() ? Options() : at->second;
  }
  std::vector<std::string> groups() const override {
    std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, options] : groups_) names.push_back(name);
    return names;
  }

  io::Task<Result<>> alter(std::string group,
                           std::map<std::string, std::optional<std::string>> changes,
                           bool validate_only) override {
    return home_.call(alter_here(std::move(group), std::move(changes), validate_only));
  }

 private:
  io::Task<Result<>> alter_here(std::string group,
                                std::map<std::string, std::optional<std::string>> changes,
                                bool validate_only) {
    if (group.empty()) co_return Error{ErrorCode::kInvalidGroup, "a group has a name"};
    for (const auto& [name, value] : changes) {
      MR_CO_TRY(value ? rules().check(name, *value) : rules().check_name(name));
    }
    if (validate_only) co_return Result<>();
    Options options = own(group);
    for (auto& [name, value] : changes) {
      if (value) {
        options[name] = *value;
      } else {
        options.erase(name);
      }
    }
    std::optional<std::string> text;
    if (!options.empty()) {
      json::object object;
      for (const auto& [name, value] : options) object[name] = value;
      text = json::serialize(json::object{{"version", 1}, {"options", object}});
    }
    std::vector<Journal::Entry> entries{{group, std::move(text)}};
    MR_CO_TRY(co_await journal_->put(std::move(entries)));
    std::lock_guard lock(mutex_);
    groups_.erase(group);
    if (!options.empty()) groups_.emplace(std::move(group), std::move(options));
    co_return Result<>();
  }

  void take(std::string_view group, std::optional<std::string_view> text) {
    groups_.erase(std::string(group));
    if (!text) return;
    boost::system::error_code failed;
    const auto parsed = json::parse(*text, failed);
    const auto* object = failed ? nullptr : parsed.if_object();
    const auto* options = object ? object->if_contains("options") : nullptr;
    if (!options || !options->is_object()) {
      logging::warn("the options of a group cannot be read", {{"group", std::string(group)}});
      return;
    }
    Options known;
    for (const auto& [name, value] : options->get_object()) {
      if (value.is_string()) known[name] = std::string(value.get_string());
    }
    groups_.emplace(group, std::move(known));
  }

  io::Shard& home_;
  const std::unique_ptr<Journal> journal_;
  mutable std::mutex mutex_;
  std::map<std::string, Options, std::less<>> groups_;
};

}  // namespace

const std::vector<ConfigOption>& group_options() { return rules().options(); }

io::Task<Result<std::unique_ptr<GroupConfigs>>> GroupConfigs::open(io::Runtime& runtime,
                                                                   io::Env& env, Broker& broker) {
  auto configs = std::make_unique<GroupConfigsImpl>(runtime, env, broker);
  MR_CO_TRY(co_await configs->load());
  co_return std::unique_ptr<GroupConfigs>(std::move(configs));
}

}  // namespace millrace::broker
