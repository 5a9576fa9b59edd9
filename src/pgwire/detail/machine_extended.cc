#include "pgwire/detail/machine.h"
#include "pgwire/detail/parameter.h"
#include "pgwire/detail/portal.h"
#include "pgwire/detail/types.h"

namespace millrace::pgwire::detail {
namespace {

Error malformed(std::string_view message) {
  return Error{ErrorCode::kProtocol, fmt::format("malformed {} message", message)};
}

/// A list of formats, as Bind has it twice. Errors: kProtocol.
Result<std::vector<Format>> read_formats(Reader& reader) {
  auto count = reader.integer<int16_t>();
  if (count < 0) return malformed("Bind");
  std::vector<Format> formats;
  for (int16_t i = 0; i < count && reader.ok(); i++) {
    auto format = reader.integer<int16_t>();
    if (format != 0 && format != 1) return malformed("Bind");
    formats.push_back(static_cast<Format>(format));
  }
  if (!reader.ok()) return malformed("Bind");
  return formats;
}

}  // namespace

void Machine::parse(Reader& reader) {
  std::string name(reader.text());
  auto prepared = std::make_shared<Prepared>();
  prepared->sql = reader.text();
  auto count = reader.integer<int16_t>();
  std::vector<int32_t> oids;
  for (int16_t i = 0; i < count && reader.ok(); i++) oids.push_back(reader.integer<int32_t>());
  if (count < 0 || !reader.done()) return fatal("08P01", malformed("Parse").text);
  if (!name.empty() && statements_.contains(name)) {
    return fail("42P05", fmt::format("prepared statement \"{}\" already exists", name));
  }
  if (statements_.size() >= kStatementsMax) {
    return fail("53200", "too many prepared statements on this connection; close some");
  }
  statements_.erase(name);
  preparing_ = prepared;
  auto local = classify(prepared->sql);
  if (!local) return fail(local.error());
  if (refused(*local)) return;
  prepared->local = std::move(*local);
  preparing_name_ = std::move(name);
  prepare(std::move(prepared), std::move(oids));
}

void Machine::bind(Reader& reader) {
  std::string name(reader.text());
  std::string_view statement = reader.text();
  auto found = statements_.find(statement);
  if (!reader.ok()) return fatal("08P01", malformed("Bind").text);
  if (found == statements_.end()) {
    return fail("26000", fmt::format("prepared statement \"{}\" does not exist", statement));
  }
  if (!name.empty() && portals_.contains(name)) {
    return fail("42P03", fmt::format("cursor \"{}\" already exists", name));
  }
  if (portals_.size() >= kPortalsMax) {
    return fail("53200", "too many portals on this connection; close some");
  }
  if (refused(found->second->local)) return;
  auto portal = std::make_shared<Portal>();
  portal->prepared = found->second;
  auto formats = read_formats(reader);
  auto count = reader.integer<int16_t>();
  if (!formats || !reader.ok()) return fatal("08P01", malformed("Bind").text);
  auto size = static_cast<size_t>(std::max<int16_t>(count, 0));
  size_t needed = portal->prepared->oids.size();
  if (size != needed || (formats->size() > 1 && formats->size() != size)) {
    return fail("08P01", fmt::format("bind message supplies {} parameters, but prepared statement "
                                     "\"{}\" requires {}",
                                     size, statement, needed));
  }
  auto bound = bind_parameters(*portal, *formats, reader);
  if (bound) bound = bind_formats(*portal, reader);
  if (!bound) {
    if (bound.error().code == ErrorCode::kProtocol) return fatal("08P01", bound.error().text);
    return fail(bound.error());
  }
  portals_.erase(name);
  portals_.emplace(std::move(name), std::move(portal));
  Message bind_complete(output_, '2');
}

Result<> Machine::bind_parameters(Portal& portal, const std::vector<Format>& formats,
                                  Reader& reader) {
  const std::vector<int32_t>& oids = portal.prepared->oids;
  for (size_t i = 0; i < oids.size(); i++) {
    auto length = reader.integer<int32_t>();
    if (length == -1) {
      portal.parameters.push_back(null_parameter(oids[i]));
      continue;
    }
    if (length < 0) return malformed("Bind");
    std::string_view bytes = reader.bytes(static_cast<size_t>(length));
    if (!reader.ok()) return malformed("Bind");
    Format format = formats.empty() ? Format::kText : formats[formats.size() == 1 ? 0 : i];
    auto value = read_parameter(oids[i], format, bytes);
    if (!value) {
      Error error = value.error();
      error.text += fmt::format(" (parameter ${})", i + 1);
      // The message is whole, only this value is not: the connection goes on.
      if (error.code == ErrorCode::kProtocol) error.code = ErrorCode::kInvalidText;
      return error;
    }
    portal.parameters.push_back(std::move(*value));
  }
  if (portal.prepared->statement) {
    portal.parameters.resize(portal.prepared->statement->parameters().size());
  }
  return {};
}

Result<> Machine::bind_formats(Portal& portal, Reader& reader) {
  MR_TRY(portal.formats, read_formats(reader));
  if (!reader.done()) return malformed("Bind");
  const Prepared& prepared = *portal.prepared;
  size_t columns = prepared.returns_rows() ? prepared.statement->names().size() : 0;
  if (portal.formats.size() > 1 && columns != 0 && portal.formats.size() != columns) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("bind message has {} result formats but query has {} columns",
                             portal.formats.size(), columns)};
  }
  return {};
}

void Machine::describe(Reader& reader) {
  uint8_t kind = reader.byte();
  std::string_view name = reader.text();
  if (!reader.done() || (kind != 'S' && kind != 'P')) {
    return fatal("08P01", malformed("Describe").text);
  }
  const Prepared* prepared = nullptr;
  std::vector<Format> formats;
  if (kind == 'S') {
    auto found = statements_.find(name);
    if (found == statements_.end()) {
      return fail("26000", fmt::format("prepared statement \"{}\" does not exist", name));
    }
    prepared = found->second.get();
    put_parameters(*prepared);
  } else {
    auto found = portals_.find(name);
    if (found == portals_.end()) {
      return fail("34000", fmt::format("portal \"{}\" does not exist", name));
    }
    prepared = found->second->prepared.get();
    formats = found->second->formats;
    // A declared cursor is a portal of its query.
    bool declared = prepared->local && std::holds_alternative<DeclareCursor>(*prepared->local) &&
                    found->second->started;
    if (declared) {
      return put_rows(prepared->statement->names(), prepared->statement->types(), formats);
    }
  }
  if (prepared->local) return put_local_rows(*prepared->local, formats);
  if (prepared->returns_rows()) {
    return put_rows(prepared->statement->names(), prepared->statement->types(), formats);
  }
  Message no_data(output_, 'n');
}

void Machine::put_parameters(const Prepared& prepared) {
  Message message(output_, 't');
  put<int16_t>(output_, static_cast<int16_t>(prepared.oids.size()));
  for (int32_t type : prepared.oids) put<int32_t>(output_, type);
}

/// What a statement of our own returns.
void Machine::put_local_rows(const Local& local, const std::vector<Format>& formats) {
  if (auto* show = std::get_if<ShowSetting>(&local)) {
    return put_rows({show->name}, {duckdb::LogicalType::VARCHAR}, formats);
  }
  if (auto* fetch = std::get_if<FetchCursor>(&local)) {
    auto cursor = portals_.find(fetch->name);
    if (cursor != portals_.end() && cursor->second->prepared->statement && !fetch->move) {
      const sql::Statement& statement = *cursor->second->prepared->statement;
      return put_rows(statement.names(), statement.types(), formats);
    }
  }
  Message no_data(output_, 'n');
}

void Machine::execute(Reader& reader) {
  std::string_view name = reader.text();
  auto limit = reader.integer<int32_t>();
  if (!reader.done()) return fatal("08P01", malformed("Execute").text);
  auto found = portals_.find(name);
  if (found == portals_.end()) {
    return fail("34000", fmt::format("portal \"{}\" does not exist", name));
  }
  if (refused(found->second->prepared->local)) return;
  counts_.statements++;
  start(found->second, limit <= 0 ? UINT64_MAX : static_cast<uint64_t>(limit));
}

void Machine::close(Reader& reader) {
  uint8_t kind = reader.byte();
  std::string_view name = reader.text();
  if (!reader.done() || (kind != 'S' && kind != 'P')) {
    return fatal("08P01", malformed("Close").text);
  }
  // To close what is not there is no error.
  if (kind == 'S') {
    if (auto found = statements_.find(name); found != statements_.end()) statements_.erase(found);
  } else {
    if (auto found = portals_.find(name); found != portals_.end()) portals_.erase(found);
  }
  Message close_complete(output_, '3');
}

}  // namespace millrace::pgwire::detail
