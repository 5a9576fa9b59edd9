#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker {

/// What a quota limits. Names: Kafka's quota keys.
enum class QuotaKind {
  kProducerByteRate,        // bytes a second that a client sends in Produce
  kConsumerByteRate,        // bytes a second that a client is sent by Fetch
  kRequestPercentage,       // of one thread's time, in percent
  kControllerMutationRate,  // partitions made or deleted a second
};
std::string_view name_of(QuotaKind kind);

/// Whom a quota is for: "user" and "client-id" to a name, or to nullopt for every name that has no
/// quota of its own. One or both.
using QuotaEntity = std::map<std::string, std::optional<std::string>>;

/// Client quotas (topic __client_quotas): an entity's quotas are in force for each of its clients
/// together. Of the entities that fit a client the most specific is in force: user and client-id,
/// then user, then client-id, each by name before by default. Source: KIP-13, KIP-124, KIP-546,
/// KIP-599.
class Quotas {
 public:
  /// What is read of a client at most before it must wait: this long at its rate.
  static constexpr auto kBurst = std::chrono::seconds(10);

  static io::Task<Result<std::unique_ptr<Quotas>>> open(io::Runtime& runtime, io::Env& env,
                                                        Broker& broker);
  virtual ~Quotas() = default;

  /// Sets (or, nullopt, removes) quotas of one entity, durably. Any shard. Errors:
  /// kInvalidArgument (an entity or a quota that there is none of, a value that is not positive).
  virtual io::Task<Result<>> alter(QuotaEntity entity,
                                   std::map<std::string, std::optional<double>> changes,
                                   bool validate_only) = 0;
  struct Row {
    QuotaEntity entity;
    std::map<std::string, double> values;  // by quota name
  };
  /// Any thread.
  virtual std::vector<Row> list() const = 0;

  /// Counts `amount` (bytes; seconds of a thread; partitions; less than 0: given back) for a
  /// client, and gives how long it is to be kept waiting; 0 when it is within its quota, or has
  /// none. Any thread; without any quota one atomic load.
  virtual std::chrono::milliseconds charge(QuotaKind kind, std::string_view user,
                                           std::string_view client_id, double amount) = 0;

  /// The most that a client is let have at once, after a long pause: kBurst at its rate; infinite
  /// without a quota. Any thread.
  virtual double burst(QuotaKind kind, std::string_view user, std::string_view client_id) = 0;

  virtual io::Task<void> close() = 0;
};

}  // namespace millrace::broker
