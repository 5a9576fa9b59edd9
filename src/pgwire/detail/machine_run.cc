#include <duckdb/common/vector_operations/vector_operations.hpp>

#include "pgwire/detail/machine.h"
#include "pgwire/detail/portal.h"
#include "pgwire/detail/rewrite.h"
#include "pgwire/detail/types.h"

namespace millrace::pgwire::detail {
namespace {

/// A parameter's type on the wire: what the client said, else what the engine inferred, else text.
int32_t parameter_oid(int32_t said, const duckdb::LogicalType& inferred) {
  if (said != 0 && said != oid::kUnknown) return said;
  switch (inferred.id()) {
    case duckdb::LogicalTypeId::INVALID:
    case duckdb::LogicalTypeId::SQLNULL:
    case duckdb::LogicalTypeId::UNKNOWN:
    case duckdb::LogicalTypeId::ANY:
      return oid::kText;
    default:
      return wire_type(inferred).oid;
  }
}

/// The engine's part of a statement, and where it begins.
std::string inner_statement(const std::string& sql, const std::optional<Local>& local,
                            size_t& begin) {
  begin = 0;
  if (!local) return sql;
  if (auto* declare = std::get_if<DeclareCursor>(&*local)) {
    begin = declare->query;
    return sql.substr(begin);
  }
  const auto& copy = std::get<CopyToStdout>(*local);
  begin = copy.query_at.value_or(0);
  return copy.query;
}

/// For a statement that is not the client's text any more.
constexpr size_t kNoPosition = SIZE_MAX;

/// From the engine's statement to the client's.
void move_position(Error& error, size_t inner) {
  if (inner == kNoPosition) error.position.reset();
  if (error.position) *error.position += inner;
}

bool has_query(const std::optional<Local>& local) {
  return !local || std::holds_alternative<DeclareCursor>(*local) ||
         std::holds_alternative<CopyToStdout>(*local);
}

/// Makes the chunk's columns what the client was told: a statement whose parameters came with other
/// types than it was planned for may give other types than it said.
Result<> fit(duckdb::unique_ptr<duckdb::DataChunk>& chunk,
             const std::vector<duckdb::LogicalType>& types) {
  if (chunk->ColumnCount() != types.size()) {
    return Error{ErrorCode::kInternal, "a result has not the columns that its statement said"};
  }
  duckdb::vector<duckdb::LogicalType> wanted;
  for (const auto& type : types) {
    bool open = type.id() == duckdb::LogicalTypeId::UNKNOWN;
    wanted.push_back(open ? duckdb::LogicalType::VARCHAR : type);
  }
  if (wanted == chunk->GetTypes()) return {};
  try {
    auto fitted = duckdb::make_uniq<duckdb::DataChunk>();
    fitted->Initialize(duckdb::Allocator::DefaultAllocator(), wanted, chunk->size());
    for (size_t i = 0; i < wanted.size(); i++) {
      std::string problem;
      if (!duckdb::VectorOperations::DefaultTryCast(chunk->data[i], fitted->data[i], chunk->size(),
                                                    &problem)) {
        return Error{ErrorCode::kTypeMismatch, problem};
      }
    }
    fitted->SetCardinality(chunk->size());
    chunk = std::move(fitted);
  } catch (const std::exception& e) {
    return Error{ErrorCode::kTypeMismatch, e.what()};
  }
  return {};
}

}  // namespace

/// Gives `step` to the session, which has no other cursor open when it gets there.
void Machine::ask(Step step) {
  auto live = live_.lock();
  if (!live || !live->cursor) {
    asked_ = std::move(step);
    phase_ = Phase::kAsked;
    return;
  }
  after_drain_ = std::move(step);
  asked_ = Fetch{live->cursor.get()};
  phase_ = Phase::kDraining;
}

void Machine::drained(Result<duckdb::unique_ptr<duckdb::DataChunk>> result) {
  auto live = live_.lock();
  MR_CHECK(live && live->cursor && after_drain_);
  bool ended = !result || !*result;
  if (!result) {
    live->error = result.error();
  } else if (!*result) {
    live->tag = live->cursor->tag();
  } else if (auto fitted = fit(*result, live->prepared->statement->types()); !fitted) {
    live->error = fitted.error();
    ended = true;
  } else {
    live->kept_bytes += (*result)->GetAllocationSize();
    live->kept.push_back(std::move(*result));
    if (live->kept_bytes > kKeptBytesMax) {
      live->error = Error{ErrorCode::kOutOfMemory,
                          "a suspended cursor has too many rows left to be kept while another "
                          "statement runs; read it to its end first, or take another connection"};
      live->kept.clear();
      live->encoding = false;
      ended = true;
    }
  }
  if (!ended) {
    asked_ = Fetch{live->cursor.get()};
    return;
  }
  live->cursor.reset();
  live_.reset();
  asked_ = std::exchange(after_drain_, std::nullopt);
  phase_ = Phase::kAsked;
}

void Machine::prepare(PreparedPtr prepared, std::vector<int32_t> oids) {
  counts_.statements += simple_ ? 1 : 0;
  preparing_ = prepared;
  prepared->oids = std::move(oids);
  if (!has_query(prepared->local)) return this->prepared(std::unique_ptr<sql::Statement>());
  std::string sql = inner_statement(prepared->sql, prepared->local, prepared->inner);
  if (auto rewritten = rewrite(sql, settings_, setup_.process)) {
    sql = std::move(rewritten->sql);
    if (!rewritten->oids.empty()) prepared->oids = std::move(rewritten->oids);
    prepared->inner = kNoPosition;
  }
  std::vector<duckdb::LogicalType> types;
  for (int32_t type : prepared->oids) types.push_back(logical_type(type));
  ask(Prepare{std::move(sql), std::move(types)});
}

void Machine::prepared(Result<std::unique_ptr<sql::Statement>> result) {
  phase_ = Phase::kMessages;
  if (!result) {
    Error error = result.error();
    if (preparing_) move_position(error, preparing_->inner);
    return fail(error);
  }
  if (!preparing_) return transaction_prepared(std::move(*result));
  PreparedPtr prepared = std::move(preparing_);
  prepared->statement = std::move(*result);
  if (prepared->statement) {
    const auto& inferred = prepared->statement->parameters();
    if (prepared->oids.size() < inferred.size()) prepared->oids.resize(inferred.size());
    for (size_t i = 0; i < inferred.size(); i++) {
      prepared->oids[i] = parameter_oid(prepared->oids[i], inferred[i]);
    }
  }
  if (!simple_) {
    statements_[preparing_name_] = std::move(prepared);
    Message parse_complete(output_, '1');
    return;
  }
  if (!prepared->oids.empty()) return fail("42P02", "there is no parameter $1");
  auto portal = std::make_shared<Portal>();
  portal->prepared = std::move(prepared);
  portal->describe = true;
  start(std::move(portal), UINT64_MAX);
}

/// Runs a portal, or goes on with it, for up to `limit` rows.
void Machine::start(PortalPtr portal, uint64_t limit) {
  running_ = portal;
  limit_ = limit;
  sent_ = 0;
  fetch_until_.reset();
  tag_.clear();
  discard_rows_ = false;
  const Prepared& prepared = *portal->prepared;
  if (!has_query(prepared.local)) return run_local(*prepared.local);
  if (prepared.is_empty()) {
    {
      Message empty(output_, 'I');
    }
    return statement_done();
  }
  if (portal->started) {
    bool spent = !portal->cursor && portal->kept.empty() && !portal->error;
    if (spent && !prepared.returns_rows()) return fail("55000", "portal cannot be run anymore");
    phase_ = Phase::kStreaming;
    return;
  }
  portal->started = true;
  // The session may keep the parameters; the portal runs once.
  ask(Execute{prepared.statement.get(), std::move(portal->parameters)});
}

void Machine::executed(Result<std::unique_ptr<sql::Cursor>> result) {
  phase_ = Phase::kMessages;
  if (!result) {
    Error error = result.error();
    move_position(error, running_->prepared->inner);
    return fail(error);
  }
  Portal& portal = *running_;
  const Prepared& prepared = *portal.prepared;
  portal.cursor = std::move(*result);
  if (!portal.cursor->endless()) live_ = running_;
  phase_ = Phase::kStreaming;
  if (prepared.local) {
    if (auto* declare = std::get_if<DeclareCursor>(&*prepared.local)) return declared(*declare);
    if (auto* copy = std::get_if<CopyToStdout>(&*prepared.local)) return copy_out_started(*copy);
  }
  if (portal.describe && prepared.returns_rows()) {
    put_rows(prepared.statement->names(), prepared.statement->types(), portal.formats);
  }
}

void Machine::put_rows(const std::vector<std::string>& names,
                       const std::vector<duckdb::LogicalType>& types,
                       const std::vector<Format>& formats) {
  Message message(output_, 'T');
  put<int16_t>(output_, static_cast<int16_t>(names.size()));
  for (size_t i = 0; i < names.size(); i++) {
    WireType type = wire_type(types[i]);
    put_text(output_, names[i]);
    put<int32_t>(output_, 0);  // table
    put<int16_t>(output_, 0);  // column of it
    put<int32_t>(output_, type.oid);
    put<int16_t>(output_, type.size);
    put<int32_t>(output_, type.modifier);
    Format format = formats.empty() ? Format::kText : formats[formats.size() == 1 ? 0 : i];
    put<int16_t>(output_, static_cast<int16_t>(format));
  }
}

void Machine::fetched(Result<duckdb::unique_ptr<duckdb::DataChunk>> result) {
  if (phase_ == Phase::kDraining) return drained(std::move(result));
  phase_ = Phase::kStreaming;
  if (!result) return fail(result.error());
  Portal& portal = *running_;
  if (!*result) {
    portal.tag = portal.cursor->tag();
    portal.cursor.reset();
    live_.reset();
    return;
  }
  // The count that an INSERT gives as a row is in its tag.
  if (!portal.prepared->returns_rows() && !portal.prepared->local) return;
  if ((*result)->size() == 0 && portal.cursor->endless()) return no_rows_yet(portal);
  auto fitted = fit(*result, portal.prepared->statement->types());
  if (!fitted) return fail(fitted.error());
  portal.kept.push_back(std::move(*result));
}

bool Machine::fetch_time_is_over() const {
  return fetch_until_ && std::chrono::steady_clock::now() >= *fetch_until_;
}

/// Of a result without an end. A FETCH with a timeout gives what comes in that time; one without
/// gives what is there, and waits for the first row.
void Machine::no_rows_yet(Portal& portal) {
  if (is_fetch() && (fetch_until_ ? fetch_time_is_over() : sent_ > 0)) return finish_rows();
  asked_ = Await{portal.cursor.get(), fetch_until_};
  phase_ = Phase::kAsked;
}

void Machine::waited(Result<> result) {
  phase_ = Phase::kStreaming;
  if (!result) return fail(result.error());
  if (frames_.buffered() > kAheadBytesMax)
    return fatal("08P01", "the client sends and sends while a result without an end is read");
}

void Machine::stream() {
  Portal& portal = *running_;
  while (!portal.kept.empty() && limit_ > 0) {
    if (!stream_chunk(portal)) return;
  }
  if (portal.error) return fail(*std::exchange(portal.error, std::nullopt));
  if (limit_ == 0) return suspend();
  if (!portal.cursor) return finish_rows();
  if (is_fetch() && sent_ > 0 && portal.cursor->endless() && fetch_time_is_over())
    return finish_rows();
  asked_ = Fetch{portal.cursor.get()};
  phase_ = Phase::kAsked;
}

/// Sends rows of the first chunk; false when the output should be written before there is more.
bool Machine::stream_chunk(Portal& portal) {
  duckdb::DataChunk& chunk = *portal.kept.front();
  if (!portal.encoding) {
    if (!portal.rows) portal.rows.emplace(portal.prepared->statement->types(), portal.formats);
    copy_out_ ? copy_out_->begin(chunk) : portal.rows->begin(chunk);
    portal.encoding = true;
  }
  for (; portal.row < chunk.size() && limit_ > 0; portal.row++, limit_--, sent_++) {
    if (output_.size() >= kOutputBytes) return false;
    if (discard_rows_) continue;
    copy_out_ ? copy_out_->write(portal.row, output_) : portal.rows->write(portal.row, output_);
  }
  if (portal.row == chunk.size()) {
    portal.kept.pop_front();
    portal.row = 0;
    portal.encoding = false;
  }
  return true;
}

/// The limit of rows is reached.
void Machine::suspend() {
  if (!tag_.empty()) return finish_rows();
  {
    Message suspended(output_, 's');
  }
  statement_done();
}

void Machine::finish_rows() {
  if (copy_out_) {
    copy_out_->finish(output_);
    copy_out_.reset();
    {
      Message copy_done(output_, 'c');
    }
    return complete(fmt::format("COPY {}", sent_));
  }
  if (is_fetch()) return complete(fmt::format("{} {}", tag_, sent_));
  if (!tag_.empty()) return complete(tag_);
  // A portal that was read in parts says how many rows came last, as PostgreSQL does.
  if (running_->tag.starts_with("SELECT")) return complete(fmt::format("SELECT {}", sent_));
  complete(running_->tag);
}

void Machine::complete(std::string_view tag) {
  {
    Message message(output_, 'C');
    put_text(output_, tag);
  }
  statement_done();
}

void Machine::statement_done() {
  running_.reset();
  preparing_.reset();
  phase_ = Phase::kMessages;
}

}  // namespace millrace::pgwire::detail
