#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "broker/broker.h"
#include "catalog/connector.h"
#include "catalog/function.h"
#include "catalog/pipeline.h"
#include "catalog/sink.h"
#include "sql/detail/ddl.h"
#include "sql/detail/function_statements.h"
#include "sql/detail/guest_options.h"

namespace millrace::sql {
namespace {

using catalog::Object;
using catalog::Transform;
using duckdb::LogicalType;
using duckdb::Value;

/// Lines of numbered steps under headings.
class Way {
 public:
  void heading(std::string_view text) {
    line(text);
    steps_ = 0;
  }
  void step(std::string_view text) { line(fmt::format("  {}. {}", ++steps_, text)); }
  std::string text() && { return std::move(text_); }

 private:
  void line(std::string_view text) {
    if (!text_.empty()) text_ += '\n';
    text_ += text;
  }
  std::string text_;
  int steps_ = 0;
};

std::string described(const Transform& transform) {
  return fmt::format("transform {} (of {})", transform_sql(transform), quoted(transform.owner));
}

void add_fetch(Way& way, const Object& topic, std::string_view group, std::string_view user) {
  way.step("read from the log");
  for (const auto& each : topic.transforms) {
    if (each.place != Transform::Place::kFetch) continue;
    const bool for_group = each.group.empty() || each.group == group;
    const bool for_user = each.user.empty() || each.user == user;
    if (for_group && for_user) way.step(described(each));
  }
}

/// Sorted, but for the empty name, which is everybody else's.
struct OthersLast {
  bool operator()(const std::string& a, const std::string& b) const {
    return a.empty() != b.empty() ? b.empty() : a < b;
  }
};

/// Each kind of consumer that the topic tells apart: by group, by user, by both.
void add_consumers(Way& way, const Object& topic) {
  std::set<std::string, OthersLast> groups{""}, users{""};
  for (const auto& each : topic.transforms) {
    groups.insert(each.group);
    users.insert(each.user);
  }
  const bool some = groups.size() + users.size() > 2;
  for (const auto& user : users) {
    for (const auto& group : groups) {
      way.heading(group.empty() && user.empty()
                      ? fmt::format("to every {}Kafka consumer", some ? "other " : "")
                      : fmt::format("to a consumer{}{}",
                                    group.empty() ? "" : " of group " + quoted(group),
                                    user.empty() ? "" : " logged in as " + quoted(user)));
      add_fetch(way, topic, group, user);
    }
  }
}

/// From the system that a source reads, or to the one that a sink writes.
void add_connector(Way& way, const Object& connector) {
  const bool source = connector.kind == catalog::Kind::kSource;
  const auto system = catalog::option_of(connector, catalog::kConnectorOption);
  way.heading(fmt::format("{} {} {}", source ? "from" : "to", catalog::name_of(connector.kind),
                          quoted(connector.name)));
  way.step(source ? fmt::format("read from {}", system)
                  : std::string("read from the log, as it stands there"));
  for (const auto& each : connector.transforms) way.step(described(each));
  way.step(source ? std::string("produced, in one transaction with the source's position")
                  : fmt::format("written to {}", system));
}

std::string topics_of(const Object& pipeline, const char* list) {
  return fmt::format("{}", fmt::join(catalog::pipeline_topics(pipeline, list), ", "));
}

bool has(const Object& pipeline, const char* list, const std::string& topic) {
  const auto names = catalog::pipeline_topics(pipeline, list);
  return std::ranges::find(names, topic) != names.end();
}

void add_reader(Way& way, const Object& reader) {
  way.heading(
      fmt::format("to {} {}", catalog::shown_kind(reader), quoted(catalog::shown_name(reader))));
  if (reader.kind != catalog::Kind::kPipeline) {
    way.step("read from the log, as it stands there");
    return;
  }
  way.step("read from the log, once it is committed");
  for (const auto& step : reader.transforms) way.step(described(step));
  way.step(fmt::format("written to {}, in one transaction with how far it was read",
                       topics_of(reader, catalog::kPipelineOutputs)));
}

}  // namespace

std::string explain_topic(const catalog::Snapshot& snapshot, const Object& topic) {
  auto options = broker::effective_options(topic);
  Way way;
  std::string writers;
  for (const auto* each : snapshot.dependents(topic.name)) {
    if (each->kind != catalog::Kind::kPipeline) continue;
    if (!has(*each, catalog::kPipelineOutputs, topic.name)) continue;
    writers += fmt::format(", or of transform {} from {}", quoted(each->name),
                           topics_of(*each, catalog::kPipelineInputs));
  }
  way.heading("a producer's record" + writers);
  way.step("lengths and checksum of its batch are checked");
  for (const auto& each : topic.transforms) {
    if (each.place == Transform::Place::kProduce) way.step(described(each));
  }
  if (!topic.columns.empty()) {
    way.step(options["on_error"] == "reject"
                 ? "it is refused when it does not fit the columns (on_error = reject)"
                 : fmt::format("kept whether or not it fits the columns (on_error = {})",
                               options["on_error"]));
  }
  way.step(fmt::format("appended to the log: {} partition{}, durability {}", topic.partitions,
                       topic.partitions == 1 ? "" : "s", options["durability"]));
  add_consumers(way, topic);
  for (const auto* reader : snapshot.dependents(topic.name)) {
    if (catalog::is_connector(*reader)) {
      add_connector(way, *reader);
      continue;
    }
    const bool pipeline = reader->kind == catalog::Kind::kPipeline;
    if (!pipeline || has(*reader, catalog::kPipelineInputs, topic.name)) add_reader(way, *reader);
  }
  way.heading("to SELECT and SUBSCRIBE");
  way.step("read from the log, as it stands there");
  return std::move(way).text();
}

Listing show_transforms(const catalog::Snapshot& snapshot) {
  Listing listing;
  listing.names = {"topic",    "position", "transform", "place", "group",   "user",
                   "on_error", "params",   "owner",     "name",  "outputs", "limits"};
  listing.types.assign(listing.names.size(), LogicalType::VARCHAR);
  listing.types[1] = LogicalType::INTEGER;
  for (const auto* object : snapshot.list()) {
    int32_t position = 0;
    const bool pipeline = object->kind == catalog::Kind::kPipeline;
    const Value inputs(pipeline ? topics_of(*object, catalog::kPipelineInputs) : object->name);
    const auto named = pipeline ? Value(object->name) : Value(LogicalType::VARCHAR);
    const auto outputs = pipeline ? Value(topics_of(*object, catalog::kPipelineOutputs))
                                  : Value(LogicalType::VARCHAR);
    for (const auto& each : object->transforms) {
      std::vector<std::string> params;
      for (const auto& [name, value] : each.params) {
        params.push_back(fmt::format("{} => {}", quoted(name), literal(value)));
      }
      listing.rows.push_back({inputs, Value::INTEGER(++position),
                              Value(each.function + "." + each.export_name),
                              Value(std::string(catalog::name_of(each.place))),
                              each.group.empty() ? Value(LogicalType::VARCHAR) : Value(each.group),
                              each.user.empty() ? Value(LogicalType::VARCHAR) : Value(each.user),
                              Value(std::string(catalog::name_of(each.on_error))),
                              Value(fmt::format("{}", fmt::join(params, ", "))), Value(each.owner),
                              named, outputs, Value(guest_limits(each))});
    }
  }
  return listing;
}

}  // namespace millrace::sql
