#include "catalog/detail/object_json.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <optional>

#include "catalog/function.h"

namespace millrace::catalog::detail {

namespace json = boost::json;

namespace {

constexpr Kind kKinds[] = {Kind::kTopic,    Kind::kTable,    Kind::kView,   Kind::kMaterializedView,
                           Kind::kFunction, Kind::kPipeline, Kind::kSource, Kind::kSink,
                           Kind::kUser};

json::array to_array(const std::vector<std::string>& texts) {
  json::array out;
  for (const auto& text : texts) out.emplace_back(text);
  return out;
}

json::object to_object(const Column& column) {
  json::object out{{"name", column.name}, {"type", column.type}};
  if (column.not_null) out["not_null"] = true;
  if (!column.default_sql.empty()) out["default"] = column.default_sql;
  return out;
}

json::object to_object(const std::map<std::string, std::string>& options) {
  json::object out;
  for (const auto& [name, value] : options) out[name] = value;
  return out;
}

json::object to_object(const Transform& transform) {
  json::object out{{"function", transform.function},
                   {"export", transform.export_name},
                   {"place", name_of(transform.place)},
                   {"on_error", name_of(transform.on_error)},
                   {"owner", transform.owner}};
  if (!transform.group.empty()) out["group"] = transform.group;
  if (!transform.user.empty()) out["user"] = transform.user;
  if (!transform.params.empty()) out["params"] = to_object(transform.params);
  if (!transform.options.empty()) out["options"] = to_object(transform.options);
  return out;
}

/// Takes members out of a JSON object; remembers the first that has the wrong form, so that the
/// caller checks once.
class Reader {
 public:
  explicit Reader(const json::object& object) : object_(object) {}

  std::string text(std::string_view name, bool needed = false) {
    const auto* value = member(name, needed);
    if (!value) return {};
    if (!value->is_string()) return bad(name), std::string();
    return std::string(value->get_string());
  }
  bool flag(std::string_view name) {
    const auto* value = member(name, false);
    if (!value) return false;
    if (!value->is_bool()) return bad(name), false;
    return value->get_bool();
  }
  int64_t number(std::string_view name) {
    const auto* value = member(name, true);
    if (!value) return 0;
    if (!value->is_int64()) return bad(name), 0;
    return value->get_int64();
  }
  std::vector<std::string> texts(std::string_view name) {
    std::vector<std::string> out;
    for (const auto& value : array(name)) {
      if (!value.is_string()) return bad(name), out;
      out.emplace_back(value.get_string());
    }
    return out;
  }
  std::map<std::string, std::string> text_map(std::string_view name) {
    std::map<std::string, std::string> out;
    const auto* value = member(name, false);
    if (!value) return out;
    if (!value->is_object()) return bad(name), out;
    for (const auto& [key, text] : value->get_object()) {
      if (!text.is_string()) return bad(name), out;
      out.emplace(key, text.get_string());
    }
    return out;
  }
  const json::array& array(std::string_view name) {
    static const json::array kNone;
    const auto* value = member(name, false);
    if (!value) return kNone;
    if (!value->is_array()) return bad(name), kNone;
    return value->get_array();
  }
  const json::value* member(std::string_view name, bool needed) {
    const auto* value = object_.if_contains(name);
    if (!value && needed) bad(name);
    return value;
  }

  void bad(std::string_view name) {
    if (!bad_) bad_ = name;
  }
  const std::optional<std::string>& bad_member() const { return bad_; }

 private:
  const json::object& object_;
  std::optional<std::string> bad_;
};

void read_columns(Reader& in, Object& object) {
  for (const auto& value : in.array("columns")) {
    if (!value.is_object()) return in.bad("columns");
    Reader column(value.get_object());
    object.columns.push_back({.name = column.text("name", true),
                              .type = column.text("type", true),
                              .not_null = column.flag("not_null"),
                              .default_sql = column.text("default")});
    if (column.bad_member()) return in.bad("columns." + *column.bad_member());
  }
}

void read_watermark(Reader& in, Object& object) {
  const auto* value = in.member("watermark", false);
  if (!value) return;
  if (!value->is_object()) return in.bad("watermark");
  Reader watermark(value->get_object());
  object.watermark = Watermark{watermark.text("column", true), watermark.text("expression", true)};
  if (watermark.bad_member()) in.bad("watermark." + *watermark.bad_member());
}

/// Of an enum's values, the one that is called `name`.
template <typename E>
bool find_named(const std::string& name, std::initializer_list<E> values, E& out) {
  for (const E value : values) {
    if (name_of(value) != name) continue;
    out = value;
    return true;
  }
  return false;
}

void read_transforms(Reader& in, Object& object) {
  using Place = Transform::Place;
  using OnError = Transform::OnError;
  for (const auto& value : in.array("transforms")) {
    if (!value.is_object()) return in.bad("transforms");
    Reader each(value.get_object());
    Transform transform{.function = each.text("function", true),
                        .export_name = each.text("export", true),
                        .group = each.text("group"),
                        .user = each.text("user"),
                        .params = each.text_map("params"),
                        .options = each.text_map("options"),
                        .owner = each.text("owner")};
    if (!find_named(
            each.text("place", true),
            {Place::kProduce, Place::kFetch, Place::kPipeline, Place::kSource, Place::kSink},
            transform.place)) {
      each.bad("place");
    }
    if (!find_named(each.text("on_error", true),
                    {OnError::kReject, OnError::kDeadLetter, OnError::kSkip}, transform.on_error)) {
      each.bad("on_error");
    }
    if (each.bad_member()) return in.bad("transforms." + *each.bad_member());
    object.transforms.push_back(std::move(transform));
  }
}

void read_kind(Reader& in, Object& object) {
  const std::string kind = in.text("kind", true);
  for (const Kind known : kKinds) {
    if (name_of(known) == kind) {
      object.kind = known;
      return;
    }
  }
  in.bad("kind");
}

Error corrupt(std::string_view what) {
  return Error{ErrorCode::kCorruptRecord, fmt::format("a record of the catalog {}", what)};
}

}  // namespace

std::string to_json(const Object& object) {
  json::object out{{"kind", name_of(object.kind)},
                   {"name", object.name},
                   {"id", object.id.to_string()},
                   {"version", static_cast<int64_t>(object.version)},
                   {"partitions", object.partitions}};
  if (!object.columns.empty()) {
    json::array columns;
    for (const auto& column : object.columns) columns.emplace_back(to_object(column));
    out["columns"] = std::move(columns);
  }
  if (!object.primary_key.empty()) out["primary_key"] = to_array(object.primary_key);
  if (object.watermark) {
    out["watermark"] = json::object{{"column", object.watermark->column},
                                    {"expression", object.watermark->expression}};
  }
  if (!object.query.empty()) out["query"] = object.query;
  if (!object.depends_on.empty()) out["depends_on"] = to_array(object.depends_on);
  if (!object.options.empty()) out["options"] = to_object(object.options);
  if (!object.sql.empty()) out["sql"] = object.sql;
  if (object.internal) out["internal"] = true;
  if (!object.owner.empty()) out["owner"] = object.owner;
  if (!object.transforms.empty()) {
    json::array transforms;
    for (const auto& transform : object.transforms) transforms.emplace_back(to_object(transform));
    out["transforms"] = std::move(transforms);
  }
  return json::serialize(out);
}

Result<Object> from_json(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return corrupt("is no JSON object");
  Reader in(value.get_object());
  Object object;
  read_kind(in, object);
  object.name = in.text("name", true);
  auto id = Uuid::parse(in.text("id", true));
  if (id) {
    object.id = *id;
  } else {
    in.bad("id");
  }
  object.version = static_cast<uint64_t>(in.number("version"));
  object.partitions = static_cast<int32_t>(in.number("partitions"));
  read_columns(in, object);
  object.primary_key = in.texts("primary_key");
  read_watermark(in, object);
  object.query = in.text("query");
  object.depends_on = in.texts("depends_on");
  object.options = in.text_map("options");
  object.sql = in.text("sql");
  object.internal = in.flag("internal");
  object.owner = in.text("owner");
  read_transforms(in, object);
  if (in.bad_member()) return corrupt(fmt::format("lacks or misspells {}", *in.bad_member()));
  return object;
}

}  // namespace millrace::catalog::detail
