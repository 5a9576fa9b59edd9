#include <fmt/format.h>
#include <fmt/ranges.h>

#include "catalog/connector.h"
#include "catalog/function.h"
#include "catalog/sink.h"
#include "sql/detail/ddl.h"
#include "sql/detail/function_statements.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using catalog::Object;
using duckdb::LogicalType;
using duckdb::Value;

std::string columns_text(const Object& object) {
  std::vector<std::string> parts;
  for (const auto& column : object.columns) {
    parts.push_back(fmt::format("{} {}", quoted(column.name), column.type));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string option(const Object& object, const std::string& name) {
  const auto found = object.options.find(name);
  return found == object.options.end() ? std::string() : found->second;
}

Listing of_text(std::vector<std::string> names) {
  Listing listing;
  listing.types.assign(names.size(), LogicalType::VARCHAR);
  listing.names = std::move(names);
  return listing;
}

}  // namespace

Listing show_objects(const catalog::Snapshot& snapshot, ShowObjects::What what) {
  using What = ShowObjects::What;
  if (what == What::kTransforms) return show_transforms(snapshot);
  if (what == What::kUsers) return show_users(snapshot);
  auto listing =
      what == What::kTopics      ? of_text({"name", "partitions", "format", "columns"})
      : what == What::kTables    ? of_text({"name", "primary_key", "columns"})
      : what == What::kViews     ? of_text({"name", "kind", "query"})
      : what == What::kSources   ? of_text({"name", "connector", "topic", "sql", "owner"})
      : what == What::kSinks     ? of_text({"name", "format", "key", "query", "connector", "topic"})
      : what == What::kFunctions ? of_text({"name", "language", "exports", "hash", "owner"})
                                 : of_text({"name", "kind", "columns"});
  if (what == What::kTopics) listing.types[1] = LogicalType::INTEGER;
  for (const auto* object : snapshot.list()) {
    if (what == What::kSinks && catalog::is_sink(*object)) {
      listing.rows.push_back({Value(catalog::sink_topic(*object)),
                              Value(option(*object, "sink.format")),
                              Value(option(*object, "sink.key")), Value(object->query), Value(""),
                              Value(catalog::sink_topic(*object))});
    } else if (what == What::kSinks && object->kind == Kind::kSink) {
      listing.rows.push_back({Value(object->name), Value(""), Value(""), Value(""),
                              Value(option(*object, catalog::kConnectorOption)),
                              Value(option(*object, catalog::kTopicOption))});
    } else if (what == What::kSources && object->kind == Kind::kSource) {
      listing.rows.push_back({Value(object->name),
                              Value(option(*object, catalog::kConnectorOption)),
                              Value(option(*object, catalog::kTopicOption)), Value(object->sql),
                              Value(object->owner)});
    }
    if (object->internal) continue;
    const bool is_view = object->kind == Kind::kView || object->kind == Kind::kMaterializedView;
    if (what == What::kTopics && object->kind == Kind::kTopic) {
      listing.rows.push_back({Value(object->name), Value::INTEGER(object->partitions),
                              Value(option(*object, "format")), Value(columns_text(*object))});
    } else if (what == What::kTables && object->kind == Kind::kTable) {
      listing.rows.push_back({Value(object->name),
                              Value(fmt::format("{}", fmt::join(object->primary_key, ", "))),
                              Value(columns_text(*object))});
    } else if (what == What::kViews && is_view) {
      listing.rows.push_back(
          {Value(object->name), Value(std::string(name_of(object->kind))), Value(object->query)});
    } else if (what == What::kFunctions && object->kind == Kind::kFunction) {
      listing.rows.push_back({Value(object->name), Value("wasm"),
                              Value(option(*object, catalog::kModuleExports)),
                              Value(catalog::module_hash(*object)), Value(object->owner)});
    } else if (what == What::kAll) {
      const auto* sink = catalog::sink_of(snapshot, object->name);
      listing.rows.push_back({Value(object->name),
                              Value(std::string(catalog::shown_kind(sink ? *sink : *object))),
                              Value(columns_text(*object))});
    }
  }
  return listing;
}

Result<Listing> show_create(const catalog::Snapshot& snapshot, const ShowCreate& show) {
  const auto* object = snapshot.find(show.name);
  if (!object) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("\"{}\" does not exist", show.name),
                 show.name_begin};
  }
  auto listing = of_text({"sql"});
  auto sql = object->sql;
  const bool topic = object->kind == catalog::Kind::kTopic;  // of others it has them already
  for (const auto& each : topic ? object->transforms : std::vector<catalog::Transform>()) {
    sql += fmt::format(";\nALTER TOPIC {} ADD TRANSFORM {}", quoted(object->name),
                       transform_sql(each));
  }
  listing.rows.push_back({Value(sql)});
  return listing;
}

Result<std::string> analyze_view(Host& host, const Object& view) {
  const auto tables = host.system_tables();
  const auto found = std::ranges::find(tables, "operators", &SystemTable::name);
  if (found == tables.end()) return host.explain(view);
  MR_TRY(const auto rows, found->rows());
  const auto column = [&](std::string_view name) {
    return std::ranges::find(found->columns, name, &RelationColumn::name) - found->columns.begin();
  };
  const auto at_view = column("view"), at_parent = column("parent"),
             at_text = column("description");
  std::string text;
  std::vector<size_t> depths;  // by operator
  for (const auto& row : rows) {
    if (row[at_view].ToString() != catalog::shown_name(view)) continue;
    const auto& parent = row[at_parent];
    depths.push_back(parent.IsNull() ? 0 : depths.at(parent.GetValue<int32_t>()) + 1);
    std::string figures;
    for (size_t c = at_text + 1; c < row.size(); ++c)
      if (!row[c].IsNull())
        figures += fmt::format("{}{} {}", figures.empty() ? "" : ", ",
                               duckdb::StringUtil::Replace(found->columns[c].name, "_", " "),
                               row[c].ToString());
    text += fmt::format("{}{}{}  ({})", text.empty() ? "" : "\n",
                        std::string(depths.back() * 2, ' '), row[at_text].ToString(), figures);
  }
  return text.empty() ? host.explain(view) : Result<std::string>(std::move(text));
}

Result<Listing> describe_object(
    const Object& object,
    const std::function<Result<ViewPlanner::Checked>(const std::string&)>& view_columns) {
  auto listing = of_text({"column", "type", "nullable", "key", "default", "hidden"});
  const auto add = [&](const std::string& name, const std::string& type, bool not_null, bool key,
                       const std::string& default_sql, bool hidden) {
    listing.rows.push_back(
        {Value(name), Value(type), Value(not_null ? "no" : "yes"), Value(key ? "primary key" : ""),
         default_sql.empty() ? Value() : Value(default_sql), Value(hidden ? "yes" : "no")});
  };
  if (object.kind == Kind::kView) {
    MR_TRY(auto checked, view_columns(object.query));
    for (size_t i = 0; i < checked.names.size(); ++i) {
      add(checked.names[i], checked.types[i].ToString(), false, false, {}, false);
    }
    return listing;
  }
  MR_TRY(auto columns, columns_of(object));
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto& column = columns[i];
    if (column.hidden && object.kind != Kind::kTopic) continue;
    const bool key = std::ranges::find(object.primary_key, column.name) != object.primary_key.end();
    const bool declared = i < object.columns.size();
    add(column.name, column.type.ToString(), column.not_null, key,
        declared ? object.columns[i].default_sql : "", column.hidden);
  }
  return listing;
}

}  // namespace millrace::sql
