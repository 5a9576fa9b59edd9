#include "broker/quotas.h"

#include <fmt/format.h>

#include <atomic>
#include <boost/json.hpp>
#include <cmath>
#include <limits>
#include <mutex>
#include <unordered_map>

#include "base/logging.h"
#include "base/nearest.h"
#include "broker/journal.h"

namespace millrace::broker {

namespace {

namespace json = boost::json;

constexpr const char* kTopic = "__client_quotas";
constexpr std::string_view kUser = "user";
constexpr std::string_view kClientId = "client-id";
constexpr QuotaKind kKinds[] = {QuotaKind::kProducerByteRate, QuotaKind::kConsumerByteRate,
                                QuotaKind::kRequestPercentage, QuotaKind::kControllerMutationRate};
/// Buckets that have not been touched lately are forgotten when there are more.
constexpr size_t kBucketsMax = 10'000;

using Values = std::map<std::string, double>;

/// An entity as the journal's key: {"client-id":"a","user":null}.
std::string key_of(const QuotaEntity& entity) {
  json::object object;
  for (const auto& [type, name] : entity) {
    if (name) {
      object[type] = *name;
    } else {
      object[type] = nullptr;
    }
  }
  return json::serialize(object);
}

std::optional<QuotaEntity> entity_of(std::string_view key) {
  boost::system::error_code failed;
  const auto parsed = json::parse(key, failed);
  if (failed || !parsed.is_object()) return std::nullopt;
  QuotaEntity entity;
  for (const auto& [type, name] : parsed.get_object()) {
    if (!name.is_null() && !name.is_string()) return std::nullopt;
    entity[type] =
        name.is_null() ? std::nullopt : std::optional<std::string>(std::string(name.get_string()));
  }
  return entity;
}

std::optional<Values> values_of(std::string_view text) {
  boost::system::error_code failed;
  const auto parsed = json::parse(text, failed);
  if (failed || !parsed.is_object()) return std::nullopt;
  const auto* quotas = parsed.get_object().if_contains("quotas");
  if (!quotas || !quotas->is_object()) return std::nullopt;
  Values values;
  for (const auto& [name, value] : quotas->get_object()) {
    if (!value.is_double()) return std::nullopt;
    values[name] = value.get_double();
  }
  return values;
}

std::string text_of(const Values& values) {
  json::object quotas;
  for (const auto& [name, value] : values) quotas[name] = value;
  return json::serialize(json::object{{"version", 1}, {"quotas", quotas}});
}

Result<> check(const QuotaEntity& entity,
               const std::map<std::string, std::optional<double>>& changes) {
  const auto refuse = [](std::string text, std::string hint = {}) {
    return Error{
        .code = ErrorCode::kInvalidArgument, .text = std::move(text), .hint = std::move(hint)};
  };
  if (entity.empty()) return refuse("a quota is for a user, a client-id, or both");
  for (const auto& [type, name] : entity) {
    if (type != kUser && type != kClientId) {
      return refuse(fmt::format("quotas are for user and client-id, not for '{}'", type));
    }
    if (name && name->empty()) return refuse(fmt::format("the {} has no name", type));
  }
  for (const auto& [name, value] : changes) {
    std::vector<std::string_view> names;
    for (const auto kind : kKinds) names.push_back(name_of(kind));
    if (std::ranges::find(names, name) == names.end()) {
      const auto near = nearest(name, names);
      return refuse(fmt::format("there is no quota '{}'", name),
                    near.empty() ? std::string() : fmt::format("Did you mean '{}'?", near));
    }
    if (value && !(*value > 0 && std::isfinite(*value))) {
      return refuse(fmt::format("quota '{}' must be more than 0, and is {}", name, *value));
    }
  }
  return {};
}

/// What is left of an entity's allowance; negative when it has overdrawn.
struct Bucket {
  double left = 0;
  int64_t at_ms = 0;
};

class QuotasImpl final : public Quotas {
 public:
  QuotasImpl(io::Runtime& runtime, io::Env& env, Broker& broker)
      : home_(runtime.shard(0)), env_(env), journal_(Journal::make(env, broker, kTopic)) {}

  io::Task<Result<>> load() {
    MR_CO_TRY(co_await journal_->load([this](auto key, auto value) { take(key, value); }));
    any_ = !quotas_.empty();
    co_return Result<>();
  }

  io::Task<Result<>> alter(QuotaEntity entity, std::map<std::string, std::optional<double>> changes,
                           bool validate_only) override {
    return home_.call(alter_here(std::move(entity), std::move(changes), validate_only));
  }

  std::vector<Row> list() const override {
    std::lock_guard lock(mutex_);
    std::vector<Row> rows;
    for (const auto& [entity, values] : quotas_) rows.push_back({entity, values});
    return rows;
  }

  std::chrono::milliseconds charge(QuotaKind kind, std::string_view user,
                                   std::string_view client_id, double amount) override {
    using std::chrono::milliseconds;
    if (!any_.load(std::memory_order_relaxed)) return milliseconds(0);
    std::lock_guard lock(mutex_);
    const auto found = find(kind, user, client_id);
    if (!found) return milliseconds(0);
    const auto& [entity, rate] = *found;
    const int64_t now = env_.now_ms();
    auto [at, fresh] = buckets_.try_emplace(bucket_name(kind, entity, user, client_id),
                                            Bucket{.left = full(rate), .at_ms = now});
    Bucket& bucket = at->second;
    const double earned = static_cast<double>(std::max<int64_t>(0, now - bucket.at_ms)) / 1000;
    const double most = full(rate);
    bucket.left = std::min(most, std::min(most, bucket.left + earned * rate) - amount);
    bucket.at_ms = now;
    const double missing = bucket.left < 0 ? -bucket.left / rate : 0;
    if (fresh && buckets_.size() > kBucketsMax) forget_idle(now);
    // Never longer than the time that an unused allowance takes to fill, as Kafka.
    return std::min(milliseconds(static_cast<int64_t>(std::ceil(missing * 1000))),
                    std::chrono::duration_cast<milliseconds>(kBurst));
  }

  double burst(QuotaKind kind, std::string_view user, std::string_view client_id) override {
    constexpr double kNoLimit = std::numeric_limits<double>::infinity();
    if (!any_.load(std::memory_order_relaxed)) return kNoLimit;
    std::lock_guard lock(mutex_);
    const auto found = find(kind, user, client_id);
    return found ? full(found->second) : kNoLimit;
  }

  io::Task<void> close() override { co_return; }

 private:
  static double full(double rate) { return rate * std::chrono::duration<double>(kBurst).count(); }

  io::Task<Result<>> alter_here(QuotaEntity entity,
                                std::map<std::string, std::optional<double>> changes,
                                bool validate_only) {
    MR_CO_TRY(check(entity, changes));
    if (validate_only) co_return Result<>();
    Values values;
    {
      std::lock_guard lock(mutex_);
      if (const auto at = quotas_.find(entity); at != quotas_.end()) values = at->second;
    }
    for (const auto& [name, value] : changes) {
      if (value) {
        values[name] = *value;
      } else {
        values.erase(name);
      }
    }
    std::optional<std::string> text;
    if (!values.empty()) text = text_of(values);
    std::vector<Journal::Entry> entries{{key_of(entity), std::move(text)}};
    MR_CO_TRY(co_await journal_->put(std::move(entries)));
    std::lock_guard lock(mutex_);
    if (values.empty()) {
      quotas_.erase(entity);
    } else {
      quotas_[std::move(entity)] = std::move(values);
    }
    buckets_.clear();
    any_ = !quotas_.empty();
    co_return Result<>();
  }

  void take(std::string_view key, std::optional<std::string_view> text) {
    auto entity = entity_of(key);
    auto values = text ? values_of(*text) : Values();
    if (!entity || !values) {
      logging::warn("a quota cannot be read, and is not in force", {{"entity", std::string(key)}});
      return;
    }
    if (values->empty()) {
      quotas_.erase(*entity);
    } else {
      quotas_[*std::move(entity)] = *std::move(values);
    }
  }

  /// The entity that is in force for a client, and units a second.
  std::optional<std::pair<QuotaEntity, double>> find(QuotaKind kind, std::string_view user,
                                                     std::string_view client_id) const {
    using Name = std::optional<std::string>;
    const Name u{std::string(user)}, c{std::string(client_id)}, any;
    const std::string user_type(kUser), client_type(kClientId);
    const QuotaEntity order[] = {{{user_type, u}, {client_type, c}},
                                 {{user_type, u}, {client_type, any}},
                                 {{user_type, u}},
                                 {{user_type, any}, {client_type, c}},
                                 {{user_type, any}, {client_type, any}},
                                 {{user_type, any}},
                                 {{client_type, c}},
                                 {{client_type, any}}};
    const std::string name(name_of(kind));
    for (const auto& entity : order) {
      const auto at = quotas_.find(entity);
      if (at == quotas_.end()) continue;
      const auto value = at->second.find(name);
      if (value == at->second.end()) continue;
      const double rate =
          kind == QuotaKind::kRequestPercentage ? value->second / 100 : value->second;
      return std::pair(entity, rate);
    }
    return std::nullopt;
  }

  /// A quota of a default is each name's own.
  static std::string bucket_name(QuotaKind kind, const QuotaEntity& entity, std::string_view user,
                                 std::string_view client_id) {
    std::string name(name_of(kind));
    for (const auto& [type, who] : entity) {
      name += '\0';
      name += type;
      name += '\0';
      name += type == kUser ? user : client_id;
    }
    return name;
  }

  void forget_idle(int64_t now) {
    const auto full_after = std::chrono::duration_cast<std::chrono::milliseconds>(kBurst).count();
    std::erase_if(buckets_, [&](const auto& entry) {
      return entry.second.left >= 0 && now - entry.second.at_ms > full_after;
    });
  }

  io::Shard& home_;
  io::Env& env_;
  const std::unique_ptr<Journal> journal_;
  std::atomic<bool> any_ = false;
  mutable std::mutex mutex_;
  std::map<QuotaEntity, Values> quotas_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace

std::string_view name_of(QuotaKind kind) {
  switch (kind) {
    case QuotaKind::kProducerByteRate:
      return "producer_byte_rate";
    case QuotaKind::kConsumerByteRate:
      return "consumer_byte_rate";
    case QuotaKind::kRequestPercentage:
      return "request_percentage";
    case QuotaKind::kControllerMutationRate:
      return "controller_mutation_rate";
  }
  return "";
}

io::Task<Result<std::unique_ptr<Quotas>>> Quotas::open(io::Runtime& runtime, io::Env& env,
                                                       Broker& broker) {
  auto quotas = std::make_unique<QuotasImpl>(runtime, env, broker);
  MR_CO_TRY(co_await quotas->load());
  co_return std::unique_ptr<Quotas>(std::move(quotas));
}

}  // namespace millrace::broker
