#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/turn.h"
#include "broker/broker.h"
#include "broker/detail/partition_impl.h"
#include "broker/detail/producer_ids.h"
#include "broker/detail/topics.h"

namespace millrace::broker::detail {

/// The broker at home on one shard: changes to what exists happen there, one at a time; records go
/// past it, straight to their partition.
class BrokerImpl final : public Broker {
 public:
  BrokerImpl(io::Runtime& runtime, io::Env& env, catalog::Catalog& catalog, Options options);

  /// Opens what the catalog says exists. Once, on home, before anything else; when it fails,
  /// close() is still due.
  io::Task<Result<>> start();
  io::Shard& home() { return home_; }

  std::shared_ptr<const Topic> find(std::string_view name) const override;
  std::shared_ptr<const Topic> find(const Uuid& id) const override;
  std::vector<std::shared_ptr<const Topic>> list() const override;
  io::Task<Result<std::shared_ptr<const Topic>>> create(catalog::Object object, bool replace,
                                                        bool validate_only) override;
  io::Task<Result<>> drop(std::string name) override;
  io::Task<Result<int64_t>> next_producer_id() override;
  const Options& options() const override { return options_; }
  void set_produce_check(ProduceCheck* check) override { shared_->produce_check = check; }
  void set_transforms(Transforms* transforms) override { shared_->transforms = transforms; }
  Transforms* transforms() const override { return shared_->transforms; }
  io::Task<Result<>> close() override;

 private:
  using Ref = std::shared_ptr<const Topic>;
  using Partitions = std::vector<std::shared_ptr<Partition>>;
  /// One thing to do with a partition; not a coroutine itself.
  using Step = std::function<io::Task<Result<>>(PartitionImpl&)>;
  struct Change;

  io::Task<Result<Ref>> create_here(catalog::Object object, bool replace, bool validate_only);
  io::Task<Result<Ref>> create_in_turn(catalog::Object object, bool replace, bool validate_only);
  io::Task<Result<Ref>> create_new(Change change);
  io::Task<Result<Ref>> replace_kept(Change change);
  io::Task<Result<Ref>> replace_anew(Change change);
  io::Task<Result<Ref>> take_over(Change change, Ref replacement);
  /// Drops what has taken over another one's place already.
  io::Task<Result<>> end_replacements();
  io::Task<Result<>> drop_here(std::string name);
  io::Task<Result<>> drop_in_turn(std::string name);
  io::Task<Result<int64_t>> next_producer_id_here();
  io::Task<Result<>> close_here();

  /// Checks `object` against Kafka's rules and against what exists.
  Result<Change> check(catalog::Object object, bool replace) const;
  /// Partitions `from` up to the object's count, not yet open.
  Partitions make_partitions(std::shared_ptr<const PartitionRules> rules, int32_t from);
  Ref publish(catalog::Object object, Partitions partitions);

  /// Does `step` for each partition, all shards at once, and waits. The first failure, if any.
  io::Task<Result<>> each(Partitions partitions, Step step);
  io::Task<void> each_on(io::Shard& shard, std::vector<PartitionImpl*> partitions, const Step& step,
                         Result<>& out);
  io::Task<Result<>> open_all(Partitions partitions);
  io::Task<Result<>> close_all(Partitions partitions, Error why);

  /// `log`: see catalog::log_name().
  std::string folder(std::string_view log, int32_t partition) const;
  /// Renames the folders of the log that exist, so that they are nobody's; gives their new paths.
  Result<std::vector<std::string>> set_aside(std::string_view log, int32_t from, int32_t to);
  /// In the background.
  void remove_folders(std::vector<std::string> paths);
  io::Task<void> remove_folders_here(std::vector<std::string> paths);
  /// Removes what a stopped node had set aside; warns of folders that are no topic's.
  Result<> tidy();

  io::Task<void> keep_retention(io::Shard& shard, io::Gate& gate);
  io::Task<void> keep_compacting(io::Shard& shard, io::Gate& gate);
  void report();

  io::Runtime& runtime_;
  io::Env& env_;
  catalog::Catalog& catalog_;
  const Options options_;
  io::Shard& home_;
  const std::shared_ptr<PartitionShared> shared_;
  const std::shared_ptr<Topics> topics_;

  // Home's.
  io::Turn turns_;
  io::Gate gate_;
  std::unique_ptr<ProducerIds> producer_ids_;
  // Each on its own shard.
  std::vector<std::unique_ptr<io::Gate>> retention_gates_;
};

}  // namespace millrace::broker::detail
