#include "table/tables.h"

#include <map>
#include <mutex>

#include "table/detail/table.h"

namespace millrace::table {
namespace {

class TablesImpl final : public Tables {
 public:
  TablesImpl(io::Runtime& runtime, io::Env& env, broker::Broker& broker)
      : runtime_(runtime), env_(env), broker_(broker) {}
  ~TablesImpl() override { stop(); }

  Result<> add(const catalog::Object& object) override {
    MR_TRY(auto table, Table::make(runtime_, env_, broker_, object));
    MR_TRY(table->replay());
    table->follow();
    if (const auto old = exchange(object.name, std::move(table))) old->stop();
    return {};
  }

  Result<> remove(const std::string& name) override {
    if (const auto old = exchange(name, nullptr)) old->stop();
    return {};
  }

  std::shared_ptr<sql::Relation> find(const std::string& name) override {
    std::lock_guard lock(mutex_);
    const auto at = tables_.find(duckdb::StringUtil::Lower(name));
    return at == tables_.end() ? nullptr : at->second;
  }

  void stop() override {
    std::map<std::string, std::shared_ptr<Table>> tables;
    {
      std::lock_guard lock(mutex_);
      tables.swap(tables_);
    }
    for (const auto& [name, table] : tables) table->stop();
  }

 private:
  /// Puts `table` (null: nothing) under that name; gives what stood there.
  std::shared_ptr<Table> exchange(const std::string& name, std::shared_ptr<Table> table) {
    std::lock_guard lock(mutex_);
    const std::string key = duckdb::StringUtil::Lower(name);
    std::shared_ptr<Table> old;
    if (const auto at = tables_.find(key); at != tables_.end()) {
      old = std::move(at->second);
      tables_.erase(at);
    }
    if (table) tables_.emplace(key, std::move(table));
    return old;
  }

  io::Runtime& runtime_;
  io::Env& env_;
  broker::Broker& broker_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Table>> tables_;
};

}  // namespace

std::unique_ptr<Tables> Tables::make(io::Runtime& runtime, io::Env& env, broker::Broker& broker) {
  return std::make_unique<TablesImpl>(runtime, env, broker);
}

}  // namespace millrace::table
