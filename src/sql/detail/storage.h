#pragma once

#include <duckdb.hpp>
#include <duckdb/catalog/catalog.hpp>
#include <duckdb/catalog/catalog_entry/schema_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/table_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/view_catalog_entry.hpp>
#include <duckdb/storage/storage_extension.hpp>
#include <duckdb/transaction/transaction.hpp>
#include <duckdb/transaction/transaction_manager.hpp>
#include <map>
#include <mutex>
#include <set>

#include "sql/detail/core.h"

namespace millrace::sql {

inline constexpr const char* kDatabaseName = "millrace";
inline constexpr const char* kSchemaName = "public";

class EntrySet;

/// A topic, table or materialized view as DuckDB sees it.
class RelationEntry : public duckdb::TableCatalogEntry {
 public:
  RelationEntry(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                duckdb::CreateTableInfo& info, EntrySet& set, catalog::Object object,
                std::vector<RelationColumn> columns);

  const catalog::Object& object() const { return object_; }
  /// As Relation::columns(): the visible ones, then the hidden ones.
  const std::vector<RelationColumn>& relation_columns() const { return columns_; }
  size_t visible_count() const { return visible_count_; }

  duckdb::unique_ptr<duckdb::BaseStatistics> GetStatistics(duckdb::ClientContext& context,
                                                           duckdb::column_t column) override;
  duckdb::TableFunction GetScanFunction(duckdb::ClientContext& context,
                                        duckdb::unique_ptr<duckdb::FunctionData>& bind) override;
  duckdb::TableStorageInfo GetStorageInfo(duckdb::ClientContext& context) override;
  duckdb::virtual_column_map_t GetVirtualColumns() const override;
  void BindUpdateConstraints(duckdb::Binder& binder, duckdb::LogicalGet& get,
                             duckdb::LogicalProjection& projection, duckdb::LogicalUpdate& update,
                             duckdb::ClientContext& context) override;

 private:
  EntrySet& set_;
  catalog::Object object_;
  std::vector<RelationColumn> columns_;
  size_t visible_count_ = 0;
};

/// DuckDB's entries for one snapshot of the catalog, made when first asked for. Transactions and
/// plans hold it; any thread.
class EntrySet : public std::enable_shared_from_this<EntrySet> {
 public:
  EntrySet(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
           std::shared_ptr<const catalog::Snapshot> snapshot)
      : catalog_(catalog), schema_(schema), snapshot_(std::move(snapshot)) {}

  enum class As {
    kUsual,
    kVersions  // a table with the hidden columns of its log, for FOR SYSTEM_TIME AS OF
  };
  /// Null when there is no such object. Throws as DuckDB does.
  duckdb::CatalogEntry* find(const std::string& name, As as = As::kUsual);
  /// A function of SQL in wasm.
  duckdb::CatalogEntry* find_function(const std::string& name);
  const catalog::Snapshot& snapshot() const { return *snapshot_; }

 private:
  std::unique_ptr<duckdb::CatalogEntry> make(const catalog::Object& object, bool full, As as);

  duckdb::Catalog& catalog_;
  duckdb::SchemaCatalogEntry& schema_;
  std::shared_ptr<const catalog::Snapshot> snapshot_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<duckdb::CatalogEntry>> entries_;
};

/// One DuckDB transaction over our catalog: the snapshot that it sees and the changes that it will
/// apply at commit.
class CatalogTransaction : public duckdb::Transaction {
 public:
  CatalogTransaction(duckdb::TransactionManager& manager, duckdb::ClientContext& context,
                     std::shared_ptr<EntrySet> entries)
      : Transaction(manager, context), entries_(std::move(entries)) {}

  static CatalogTransaction& get(duckdb::ClientContext& context, duckdb::Catalog& catalog);

  const std::shared_ptr<EntrySet>& entries() const { return entries_; }
  void set_entries(std::shared_ptr<EntrySet> entries) { entries_ = std::move(entries); }
  /// Which objects a statement looked up, by name.
  void touch(const std::string& name);
  std::set<std::string> take_touched();

  /// Keeps `change` until commit.
  void add(const catalog::Object& object, Change change);
  /// Applies them; gives the number of rows changed, or nothing when there were none.
  Result<std::optional<uint64_t>> apply(Core& core);

 private:
  struct Pending {
    catalog::Object object;
    std::vector<Change> changes;
  };
  std::shared_ptr<EntrySet> entries_;
  std::mutex mutex_;
  std::set<std::string> touched_;
  std::vector<Pending> pending_;
};

/// The Millrace catalog as a DuckDB database with the one schema `public`. `planning`: for standing
/// queries, whose scans take no filters and have no row ids.
class DuckCatalog : public duckdb::Catalog {
 public:
  DuckCatalog(duckdb::AttachedDatabase& db, Core& core, bool planning)
      : Catalog(db), core_(core), planning_(planning) {}

  Core& core() { return core_; }
  bool planning() const { return planning_; }
  /// The entries of the catalog as it is now.
  std::shared_ptr<EntrySet> current();

  void Initialize(bool load_builtin) override;
  std::string GetCatalogType() override { return kDatabaseName; }
  bool SupportsTimeTravel() const override { return true; }  // see SchemaEntry::LookupEntry
  duckdb::optional_idx GetCatalogVersion(duckdb::ClientContext& context) override;
  std::string GetDefaultSchema() const override { return kSchemaName; }
  duckdb::optional_ptr<duckdb::CatalogEntry> CreateSchema(duckdb::CatalogTransaction transaction,
                                                          duckdb::CreateSchemaInfo& info) override;
  duckdb::optional_ptr<duckdb::SchemaCatalogEntry> LookupSchema(
      duckdb::CatalogTransaction transaction, const duckdb::EntryLookupInfo& lookup,
      duckdb::OnEntryNotFound if_not_found) override;
  void ScanSchemas(duckdb::ClientContext& context,
                   std::function<void(duckdb::SchemaCatalogEntry&)> callback) override;
  void DropSchema(duckdb::ClientContext& context, duckdb::DropInfo& info) override;
  duckdb::PhysicalOperator& PlanCreateTableAs(duckdb::ClientContext& context,
                                              duckdb::PhysicalPlanGenerator& planner,
                                              duckdb::LogicalCreateTable& op,
                                              duckdb::PhysicalOperator& plan) override;
  duckdb::PhysicalOperator& PlanInsert(
      duckdb::ClientContext& context, duckdb::PhysicalPlanGenerator& planner,
      duckdb::LogicalInsert& op, duckdb::optional_ptr<duckdb::PhysicalOperator> plan) override;
  duckdb::PhysicalOperator& PlanDelete(duckdb::ClientContext& context,
                                       duckdb::PhysicalPlanGenerator& planner,
                                       duckdb::LogicalDelete& op,
                                       duckdb::PhysicalOperator& plan) override;
  duckdb::PhysicalOperator& PlanUpdate(duckdb::ClientContext& context,
                                       duckdb::PhysicalPlanGenerator& planner,
                                       duckdb::LogicalUpdate& op,
                                       duckdb::PhysicalOperator& plan) override;
  duckdb::unique_ptr<duckdb::LogicalOperator> BindCreateIndex(
      duckdb::Binder& binder, duckdb::CreateStatement& statement, duckdb::TableCatalogEntry& table,
      duckdb::unique_ptr<duckdb::LogicalOperator> plan) override;
  duckdb::DatabaseSize GetDatabaseSize(duckdb::ClientContext& context) override;
  bool InMemory() override { return true; }
  std::string GetDBPath() override { return ""; }

 private:
  Core& core_;
  bool planning_;
  std::unique_ptr<duckdb::SchemaCatalogEntry> schema_;
  std::mutex mutex_;
  std::shared_ptr<EntrySet> current_;
};

/// A DuckDB instance with our catalog as its database `millrace`. Throws as DuckDB does.
struct InstanceOptions {
  size_t threads = 1;
  size_t memory_bytes = 1u << 30;
  bool planning = false;
};
std::shared_ptr<duckdb::DuckDB> open_instance(Core& core, const InstanceOptions& options);

/// Makes unqualified names of a new connection mean our schema.
void use_public(duckdb::ClientContext& context);

/// A name for the topic with its hidden columns as ordinary ones: what INSERT writes to when it
/// names them. No object can be called so.
std::string full_form(const std::string& topic);

/// The hidden columns' ids in a scan: DuckDB's virtual columns.
duckdb::column_t virtual_column_id(size_t relation_column);

}  // namespace millrace::sql
