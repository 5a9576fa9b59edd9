#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "broker/detail/readers.h"
#include "broker/detail/transform_batches.h"
#include "broker/transforms.h"
#include "log/recompress.h"
#include "wasm/engine.h"

namespace millrace::broker {

namespace detail {

/// Which of a topic's transforms: those of one place, for consumers of one group and one user.
struct ChainKey {
  catalog::Transform::Place place = catalog::Transform::Place::kProduce;
  std::string group = {};
  std::string user = {};
  auto operator<=>(const ChainKey&) const = default;
};

/// A chain of guests, as the functions were when `version` was the latest.
struct LoadedChain {
  uint64_t version = 0;
  std::vector<catalog::Transform> steps;
  ChainTerms terms;
  std::shared_ptr<wasm::Chain> guests;  // null: no step is for this group and user
  std::atomic<uint64_t> lost = 0;
};

/// The guest of a function of SQL.
struct LoadedScalar {
  uint64_t version = 0;  // of the functions
  std::string signature;
  std::shared_ptr<wasm::Chain> guests;
};

/// The last lines that guests logged. Any thread.
class ModuleLogs {
 public:
  explicit ModuleLogs(size_t lines_max) : lines_max_(lines_max) {}
  void add(const wasm::LogLine& line, TimestampMs now);
  std::vector<ModuleLogLine> lines() const;

 private:
  const size_t lines_max_;
  mutable std::mutex mutex_;
  std::deque<ModuleLogLine> lines_;
};

}  // namespace detail

struct TopicTransforms::Ready {
  size_t inflated_bytes_max = 0;
  bool keys_required = false;
  std::mutex mutex;
  std::map<detail::ChainKey, std::shared_ptr<detail::LoadedChain>> chains;
};

namespace detail {

class TransformsImpl final : public Transforms {
 public:
  TransformsImpl(io::Runtime& runtime, io::Env& env, catalog::Catalog& catalog, Broker& broker,
                 Options options)
      : runtime_(runtime),
        env_(env),
        catalog_(catalog),
        broker_(broker),
        options_(std::move(options)),
        logs_(options_.log_lines) {}
  Result<> start();

  Result<KeptModule> add_module(std::string_view bytes) override;
  Result<std::string> module_bytes(std::string_view hash) override;
  Result<> check(const catalog::Transform& step) override;
  Result<> check_scalar(const catalog::Object& function) override;
  Result<std::shared_ptr<wasm::Chain>> scalar(const std::string& function,
                                              const std::string& signature,
                                              ScalarPlace place) override;
  void functions_changed() override;
  uint64_t version() const override { return version_.load(); }
  io::Task<Result<OpenedChain>> open_chain(std::vector<catalog::Transform> steps, std::string place,
                                           LookBacks look_backs) override;
  Result<> resume(std::string_view function) override;
  io::Task<Result<std::string>> produced(std::shared_ptr<const TopicTransforms> transforms,
                                         int32_t partition, std::string batches) override;
  io::Task<Result<std::string>> fetched(std::shared_ptr<const TopicTransforms> transforms,
                                        int32_t partition, Fetcher fetcher,
                                        std::string batches) override;
  void seen(std::string_view group, std::string_view host, std::string_view client_id,
            bool member) override;
  std::vector<TransformCounts> counts() const override;
  std::vector<ModuleLogLine> logs() const override;
  wasm::Engine& engine() override { return *engine_; }

 private:
  static constexpr std::string_view kModuleEnd = ".wasm";

  std::string file_of(std::string_view hash) const;
  Result<> forget_modules();
  void keep(const std::shared_ptr<wasm::Module>& module);
  std::shared_ptr<wasm::Module> kept(const std::string& hash) const;
  Result<std::string> hash_of(const std::string& function) const;
  Result<wasm::Step> step_of(const catalog::Transform& step,
                             std::shared_ptr<wasm::Module> module) const;
  Result<> start_once(const catalog::Transform& step, const std::string& hash);
  Result<std::shared_ptr<wasm::Module>> load(const std::string& hash);
  io::Task<Result<std::shared_ptr<wasm::Module>>> module_of(std::string function);

  /// Null when it must be loaded, for the first time or because functions changed.
  std::shared_ptr<LoadedChain> loaded(const TopicTransforms& transforms, const ChainKey& key) const;
  io::Task<Result<std::shared_ptr<LoadedChain>>> chain_for(
      std::shared_ptr<const TopicTransforms> transforms, ChainKey key);
  std::shared_ptr<LoadedChain> remember(const std::shared_ptr<const TopicTransforms>& transforms,
                                        ChainKey key, std::shared_ptr<LoadedChain> chain);
  /// `batches` must live until it is done.
  io::Task<Result<TransformedBatches>> run(std::shared_ptr<LoadedChain> chain, int32_t partition,
                                           std::string_view batches);
  io::Task<Result<>> put_letters(std::string topic, std::vector<std::string> letters);
  /// Which transforms a client's fetches go through: its group and user, as far as the topic tells
  /// groups and users apart.
  Result<ChainKey> key_of(const TopicTransforms& transforms, const Fetcher& fetcher) const;
  Result<std::string> group_of(const TopicTransforms& transforms, const Fetcher& fetcher) const;

  io::Runtime& runtime_;
  io::Env& env_;
  catalog::Catalog& catalog_;
  Broker& broker_;
  const Options options_;
  ModuleLogs logs_;
  Readers readers_;
  std::atomic<uint64_t> version_ = 0;  // of the functions
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<wasm::Module>> modules_;  // by hash
  std::map<std::string, std::weak_ptr<const TopicTransforms>>
      topics_;  // those with chains, by name
  std::map<std::pair<std::string, ScalarPlace>, LoadedScalar> scalars_;
  std::unique_ptr<wasm::Engine> engine_;  // the last: its lanes use what stands above
};

}  // namespace detail

}  // namespace millrace::broker
