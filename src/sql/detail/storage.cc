#include "sql/detail/storage.h"

#include <duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp>
#include <duckdb/catalog/catalog_search_path.hpp>
#include <duckdb/main/attached_database.hpp>
#include <duckdb/main/client_data.hpp>
#include <duckdb/main/settings.hpp>
#include <duckdb/parser/constraints/list.hpp>
#include <duckdb/parser/parsed_data/create_schema_info.hpp>
#include <duckdb/parser/parsed_data/create_table_info.hpp>
#include <duckdb/parser/parsed_data/create_view_info.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/storage/database_size.hpp>
#include <duckdb/storage/table_storage_info.hpp>

#include "catalog/function.h"
#include "sql/detail/errors.h"
#include "sql/detail/guest_function.h"
#include "sql/detail/notes.h"
#include "sql/detail/parse.h"
#include "sql/detail/query_guard.h"
#include "sql/detail/scan.h"
#include "sql/detail/schema_entry.h"
#include "sql/detail/system_tables.h"
#include "sql/detail/system_time.h"
#include "sql/format.h"
#include "sql/windows.h"

namespace millrace::sql {
namespace {

class OurTransactionManager : public duckdb::TransactionManager {
 public:
  OurTransactionManager(duckdb::AttachedDatabase& db, DuckCatalog& catalog)
      : TransactionManager(db), catalog_(catalog) {}

  duckdb::Transaction& StartTransaction(duckdb::ClientContext& context) override {
    auto transaction = std::make_unique<CatalogTransaction>(*this, context, catalog_.current());
    auto& result = *transaction;
    std::lock_guard lock(mutex_);
    transactions_[&result] = std::move(transaction);
    return result;
  }

  duckdb::ErrorData CommitTransaction(duckdb::ClientContext& context,
                                      duckdb::Transaction& transaction) override {
    auto mine = take(transaction);
    auto applied = mine->apply(catalog_.core());
    if (applied) {
      if (*applied) StatementNotes::of(context).applied = *applied;
      return {};
    }
    StatementNotes::of(context).commit_error = applied.error();
    return duckdb::ErrorData(CarriedError(applied.error()));
  }

  void RollbackTransaction(duckdb::Transaction& transaction) override { take(transaction); }
  void Checkpoint(duckdb::ClientContext&, bool) override {}

 private:
  std::unique_ptr<CatalogTransaction> take(duckdb::Transaction& transaction) {
    std::lock_guard lock(mutex_);
    auto node = transactions_.extract(&transaction);
    MR_CHECK(!node.empty());
    return std::move(node.mapped());
  }

  DuckCatalog& catalog_;
  std::mutex mutex_;
  std::map<duckdb::Transaction*, std::unique_ptr<CatalogTransaction>> transactions_;
};

struct ExtensionInfo : duckdb::StorageExtensionInfo {
  ExtensionInfo(Core& c, bool p) : core(c), planning(p) {}
  Core& core;
  bool planning;
};

duckdb::unique_ptr<duckdb::Catalog> attach(
    duckdb::optional_ptr<duckdb::StorageExtensionInfo> storage_info, duckdb::ClientContext&,
    duckdb::AttachedDatabase& db, const std::string&, duckdb::AttachInfo&, duckdb::AttachOptions&) {
  auto& info = static_cast<ExtensionInfo&>(*storage_info);
  return duckdb::make_uniq<DuckCatalog>(db, info.core, info.planning);
}

duckdb::unique_ptr<duckdb::TransactionManager> make_transaction_manager(
    duckdb::optional_ptr<duckdb::StorageExtensionInfo>, duckdb::AttachedDatabase& db,
    duckdb::Catalog& catalog) {
  return duckdb::make_uniq<OurTransactionManager>(db, static_cast<DuckCatalog&>(catalog));
}

// Optimiser passes that rest on today's rows, or that rearrange a plan for one execution.
constexpr const char* kPassesOff =
    "statistics_propagation,compressed_materialization,column_lifetime,build_side_probe_side,"
    "join_filter_pushdown,late_materialization,top_n_window_elimination,common_subplan,"
    "row_group_pruner,sampling_pushdown,empty_result_pullup,window_self_join";

void add_constraints(const catalog::Object& object, duckdb::CreateTableInfo& info) {
  for (size_t i = 0; i < object.columns.size(); ++i) {
    if (object.columns[i].not_null) {
      info.constraints.push_back(
          duckdb::make_uniq<duckdb::NotNullConstraint>(duckdb::LogicalIndex(i)));
    }
  }
  if (!object.primary_key.empty()) {
    duckdb::vector<std::string> key(object.primary_key.begin(), object.primary_key.end());
    info.constraints.push_back(duckdb::make_uniq<duckdb::UniqueConstraint>(std::move(key), true));
  }
}

}  // namespace

constexpr char kFullFormMark = '\x01';
constexpr char kVersionsMark = '\x02';

std::string full_form(const std::string& topic) { return topic + kFullFormMark; }

duckdb::CatalogEntry* EntrySet::find(const std::string& name, As as) {
  const bool full = name.ends_with(kFullFormMark);
  const auto* object = snapshot_->find(full ? name.substr(0, name.size() - 1) : name);
  if (!object || (object->kind != catalog::Kind::kView && !catalog::has_log(*object)))
    return nullptr;
  std::lock_guard lock(mutex_);
  auto& entry = entries_[full                  ? name
                         : as == As::kVersions ? object->name + kVersionsMark
                                               : object->name];
  if (!entry) entry = make(*object, full, as);
  return entry.get();
}

duckdb::CatalogEntry* EntrySet::find_function(const std::string& name) {
  const auto* object = snapshot_->find(name);
  if (!object || !catalog::is_scalar(*object)) return nullptr;
  std::lock_guard lock(mutex_);
  auto& entry = entries_[object->name];
  if (!entry) {
    auto& ours = static_cast<DuckCatalog&>(catalog_);
    duckdb::CreateScalarFunctionInfo info(
        make_guest_function(ours.core(), *object, ours.planning()));
    entry = std::make_unique<duckdb::ScalarFunctionCatalogEntry>(catalog_, schema_, info);
  }
  return entry.get();
}

std::unique_ptr<duckdb::CatalogEntry> EntrySet::make(const catalog::Object& object, bool full,
                                                     As as) {
  if (object.kind == catalog::Kind::kView) {
    duckdb::CreateViewInfo info(schema_, object.name);
    const bool planning = static_cast<DuckCatalog&>(catalog_).planning();
    info.query = parse_select(object.query, planning ? WindowsFor::kView : WindowsFor::kQuery);
    info.sql = object.sql;
    return std::make_unique<duckdb::ViewCatalogEntry>(catalog_, schema_, info);
  }
  auto columns = columns_of(object);
  if (!columns) throw CarriedError(columns.error());
  duckdb::CreateTableInfo info(schema_, object.name);
  for (size_t i = 0; i < columns->size(); ++i) {
    const auto& column = (*columns)[i];
    if (column.hidden && !full) continue;
    duckdb::ColumnDefinition definition(column.name, column.type);
    if (i < object.columns.size() && !object.columns[i].default_sql.empty()) {
      auto parsed = duckdb::Parser::ParseExpressionList(object.columns[i].default_sql);
      definition.SetDefaultValue(std::move(parsed.at(0)));
    }
    info.columns.AddColumn(std::move(definition));
  }
  add_constraints(object, info);
  if (object.kind != catalog::Kind::kTopic && as == As::kUsual) {
    std::erase_if(*columns, [](const RelationColumn& c) { return c.hidden; });
  }
  return std::make_unique<RelationEntry>(catalog_, schema_, info, *this, object,
                                         std::move(*columns));
}

RelationEntry::RelationEntry(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                             duckdb::CreateTableInfo& info, EntrySet& set, catalog::Object object,
                             std::vector<RelationColumn> columns)
    : TableCatalogEntry(catalog, schema, info),
      set_(set),
      object_(std::move(object)),
      columns_(std::move(columns)) {
  for (const auto& column : columns_) visible_count_ += column.hidden ? 0 : 1;
}

duckdb::unique_ptr<duckdb::BaseStatistics> RelationEntry::GetStatistics(duckdb::ClientContext&,
                                                                        duckdb::column_t) {
  return nullptr;
}

duckdb::TableFunction RelationEntry::GetScanFunction(
    duckdb::ClientContext&, duckdb::unique_ptr<duckdb::FunctionData>& bind) {
  bind = duckdb::make_uniq<ScanBind>(set_.shared_from_this(), *this);
  return scan_function(static_cast<DuckCatalog&>(catalog).planning());
}

duckdb::TableStorageInfo RelationEntry::GetStorageInfo(duckdb::ClientContext&) {
  duckdb::TableStorageInfo info;
  if (!object_.primary_key.empty()) {
    // Lets the binder resolve ON CONFLICT (key).
    duckdb::IndexInfo index;
    index.is_unique = true;
    index.is_primary = true;
    index.is_foreign = false;
    for (const auto& key : object_.primary_key) {
      index.column_set.insert(columns.GetColumn(key).Physical().index);
    }
    info.index_info.push_back(std::move(index));
  }
  return info;
}

duckdb::virtual_column_map_t RelationEntry::GetVirtualColumns() const {
  duckdb::virtual_column_map_t result;
  if (!static_cast<const DuckCatalog&>(catalog).planning()) {
    result.emplace(duckdb::COLUMN_IDENTIFIER_ROW_ID,
                   duckdb::TableColumn("rowid", duckdb::LogicalType::ROW_TYPE));
  }
  for (size_t i = visible_count_; i < columns_.size(); ++i) {
    result.emplace(virtual_column_id(i), duckdb::TableColumn(columns_[i].name, columns_[i].type));
  }
  return result;
}

void RelationEntry::BindUpdateConstraints(duckdb::Binder&, duckdb::LogicalGet&,
                                          duckdb::LogicalProjection&, duckdb::LogicalUpdate&,
                                          duckdb::ClientContext&) {}

CatalogTransaction& CatalogTransaction::get(duckdb::ClientContext& context,
                                            duckdb::Catalog& catalog) {
  return static_cast<CatalogTransaction&>(Transaction::Get(context, catalog));
}

void CatalogTransaction::touch(const std::string& name) {
  std::lock_guard lock(mutex_);
  touched_.insert(name);
}

std::set<std::string> CatalogTransaction::take_touched() {
  std::lock_guard lock(mutex_);
  return std::exchange(touched_, {});
}

void CatalogTransaction::add(const catalog::Object& object, Change change) {
  std::lock_guard lock(mutex_);
  for (auto& pending : pending_) {
    if (pending.object.id == object.id && pending.object.name == object.name) {
      pending.changes.push_back(std::move(change));
      return;
    }
  }
  pending_.push_back({object, {}});
  pending_.back().changes.push_back(std::move(change));
}

Result<std::optional<uint64_t>> CatalogTransaction::apply(Core& core) {
  std::optional<uint64_t> count;
  for (auto& [object, changes] : pending_) {
    MR_TRY(auto relation, core.relation(object));
    MR_TRY(auto changed, relation->apply(std::move(changes)));
    count = count.value_or(0) + changed;
  }
  return count;
}

std::shared_ptr<EntrySet> DuckCatalog::current() {
  auto snapshot = core_.catalog.snapshot();
  std::lock_guard lock(mutex_);
  if (!current_ || current_->snapshot().version() < snapshot->version()) {
    current_ = std::make_shared<EntrySet>(*this, *schema_, std::move(snapshot));
  }
  return current_;
}

void DuckCatalog::Initialize(bool) {
  duckdb::CreateSchemaInfo info;
  info.schema = kSchemaName;
  schema_ = std::make_unique<SchemaEntry>(*this, info);
}

duckdb::optional_idx DuckCatalog::GetCatalogVersion(duckdb::ClientContext& context) {
  return CatalogTransaction::get(context, *this).entries()->snapshot().version();
}

duckdb::optional_ptr<duckdb::CatalogEntry> DuckCatalog::CreateSchema(duckdb::CatalogTransaction,
                                                                     duckdb::CreateSchemaInfo&) {
  throw duckdb::NotImplementedException(
      "there is one schema, \"public\"; CREATE SCHEMA is not "
      "supported");
}

duckdb::optional_ptr<duckdb::SchemaCatalogEntry> DuckCatalog::LookupSchema(
    duckdb::CatalogTransaction, const duckdb::EntryLookupInfo& lookup,
    duckdb::OnEntryNotFound if_not_found) {
  const auto& name = lookup.GetEntryName();
  if (name.empty() || duckdb::StringUtil::CIEquals(name, kSchemaName)) return schema_.get();
  if (if_not_found == duckdb::OnEntryNotFound::RETURN_NULL) return nullptr;
  throw duckdb::CatalogException(lookup.GetErrorContext(), "Schema with name %s does not exist!",
                                 name);
}

void DuckCatalog::ScanSchemas(duckdb::ClientContext&,
                              std::function<void(duckdb::SchemaCatalogEntry&)> callback) {
  callback(*schema_);
}

void DuckCatalog::DropSchema(duckdb::ClientContext&, duckdb::DropInfo&) {
  throw duckdb::NotImplementedException("the schema \"public\" cannot be dropped");
}

duckdb::unique_ptr<duckdb::LogicalOperator> DuckCatalog::BindCreateIndex(
    duckdb::Binder&, duckdb::CreateStatement&, duckdb::TableCatalogEntry&,
    duckdb::unique_ptr<duckdb::LogicalOperator>) {
  // The default would write into our scan's bind data as if it were DuckDB's own.
  throw duckdb::NotImplementedException("CREATE INDEX is not supported");
}

duckdb::DatabaseSize DuckCatalog::GetDatabaseSize(duckdb::ClientContext&) { return {}; }

duckdb::column_t virtual_column_id(size_t relation_column) {
  return duckdb::VIRTUAL_COLUMN_START + relation_column;
}

std::shared_ptr<duckdb::DuckDB> open_instance(Core& core, const InstanceOptions& options) {
  duckdb::DBConfig config;
  config.options.database_type = kDatabaseName;
  config.SetOptionByName("threads", duckdb::Value::UBIGINT(options.threads));
  config.SetOptionByName("memory_limit",
                         duckdb::Value(std::to_string(options.memory_bytes >> 10) + "KiB"));
  config.SetOptionByName("temp_directory", duckdb::Value(""));
  config.SetOptionByName("autoinstall_known_extensions", duckdb::Value::BOOLEAN(false));
  config.SetOptionByName("autoload_known_extensions", duckdb::Value::BOOLEAN(false));
  auto extension = duckdb::make_shared_ptr<duckdb::StorageExtension>();
  extension->attach = attach;
  extension->create_transaction_manager = make_transaction_manager;
  extension->storage_info = duckdb::make_shared_ptr<ExtensionInfo>(core, options.planning);
  duckdb::StorageExtension::Register(config, kDatabaseName, std::move(extension));
  if (!options.planning) register_query_guard(config);
  auto instance = std::make_shared<duckdb::DuckDB>(kDatabaseName, &config);
  register_system_tables(*instance, core, options.planning);
  register_window_functions(*instance);
  if (options.planning) register_system_time(*instance);
  duckdb::Connection connection(*instance);
  // A view's rows must not depend on where the node runs.
  std::string settings = "SET GLOBAL TimeZone = 'UTC';";
  if (options.planning) {
    settings += std::string("SET GLOBAL disabled_optimizers = '") + kPassesOff + "';";
  }
  auto set = connection.Query(settings);
  if (set->HasError()) set->ThrowError();
  return instance;
}

void use_public(duckdb::ClientContext& context) {
  duckdb::ClientData::Get(context).catalog_search_path->Set(
      duckdb::CatalogSearchEntry(kDatabaseName, kSchemaName),
      duckdb::CatalogSetPathType::SET_DIRECTLY);
}

}  // namespace millrace::sql
