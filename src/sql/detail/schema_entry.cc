#include "sql/detail/schema_entry.h"

#include <duckdb/planner/tableref/bound_at_clause.hpp>

#include "sql/detail/system_time.h"

namespace millrace::sql {
namespace {

using Entry = duckdb::optional_ptr<duckdb::CatalogEntry>;

[[noreturn]] void refuse(const char* what) {
  throw duckdb::NotImplementedException("%s is not supported", what);
}

void scan(EntrySet& entries, duckdb::CatalogType type,
          const std::function<void(duckdb::CatalogEntry&)>& callback) {
  // DuckDB asks for tables and views alike by either type, and tells them apart by the entry's.
  if (type != duckdb::CatalogType::TABLE_ENTRY && type != duckdb::CatalogType::VIEW_ENTRY) return;
  for (const auto* object : entries.snapshot().list()) {
    if (object->internal) continue;
    if (auto* entry = entries.find(object->name)) callback(*entry);
  }
}

}  // namespace

void SchemaEntry::Scan(duckdb::ClientContext& context, duckdb::CatalogType type,
                       const std::function<void(duckdb::CatalogEntry&)>& callback) {
  scan(*CatalogTransaction::get(context, catalog).entries(), type, callback);
}

void SchemaEntry::Scan(duckdb::CatalogType type,
                       const std::function<void(duckdb::CatalogEntry&)>& callback) {
  scan(*static_cast<DuckCatalog&>(catalog).current(), type, callback);
}

Entry SchemaEntry::LookupEntry(duckdb::CatalogTransaction transaction,
                               const duckdb::EntryLookupInfo& lookup) {
  const auto type = lookup.GetCatalogType();
  const bool function = type == duckdb::CatalogType::SCALAR_FUNCTION_ENTRY;
  if (type != duckdb::CatalogType::TABLE_ENTRY && type != duckdb::CatalogType::VIEW_ENTRY &&
      !function) {
    return nullptr;
  }
  if (!transaction.transaction) return nullptr;
  auto& ours = static_cast<CatalogTransaction&>(*transaction.transaction);
  if (function) {
    auto* entry = ours.entries()->find_function(lookup.GetEntryName());
    if (entry) ours.touch(entry->name);
    return entry;
  }
  auto as = EntrySet::As::kUsual;
  if (const auto at = lookup.GetAtClause()) {
    refuse_time_travel(at->Unit(), static_cast<const DuckCatalog&>(catalog).planning());
    as = EntrySet::As::kVersions;
  }
  auto* entry = ours.entries()->find(lookup.GetEntryName(), as);
  if (entry) ours.touch(entry->name);
  return entry;
}

Entry SchemaEntry::CreateIndex(duckdb::CatalogTransaction, duckdb::CreateIndexInfo&,
                               duckdb::TableCatalogEntry&) {
  refuse("CREATE INDEX");
}
Entry SchemaEntry::CreateFunction(duckdb::CatalogTransaction, duckdb::CreateFunctionInfo&) {
  refuse("CREATE FUNCTION");
}
Entry SchemaEntry::CreateTable(duckdb::CatalogTransaction, duckdb::BoundCreateTableInfo&) {
  refuse("this form of CREATE TABLE");
}
Entry SchemaEntry::CreateView(duckdb::CatalogTransaction, duckdb::CreateViewInfo&) {
  refuse("this form of CREATE VIEW");
}
Entry SchemaEntry::CreateSequence(duckdb::CatalogTransaction, duckdb::CreateSequenceInfo&) {
  refuse("CREATE SEQUENCE");
}
Entry SchemaEntry::CreateTableFunction(duckdb::CatalogTransaction,
                                       duckdb::CreateTableFunctionInfo&) {
  refuse("CREATE FUNCTION");
}
Entry SchemaEntry::CreateCopyFunction(duckdb::CatalogTransaction, duckdb::CreateCopyFunctionInfo&) {
  refuse("CREATE FUNCTION");
}
Entry SchemaEntry::CreatePragmaFunction(duckdb::CatalogTransaction,
                                        duckdb::CreatePragmaFunctionInfo&) {
  refuse("CREATE FUNCTION");
}
Entry SchemaEntry::CreateCollation(duckdb::CatalogTransaction, duckdb::CreateCollationInfo&) {
  refuse("CREATE COLLATION");
}
Entry SchemaEntry::CreateType(duckdb::CatalogTransaction, duckdb::CreateTypeInfo&) {
  refuse("CREATE TYPE");
}
void SchemaEntry::DropEntry(duckdb::ClientContext&, duckdb::DropInfo&) {
  refuse("this form of DROP");
}
void SchemaEntry::Alter(duckdb::CatalogTransaction, duckdb::AlterInfo&) { refuse("ALTER"); }

}  // namespace millrace::sql
