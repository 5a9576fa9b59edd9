#include "sql/detail/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "catalog/sink.h"
#include "sql/detail/adapt.h"
#include "sql/detail/copy_in.h"
#include "sql/detail/errors.h"
#include "sql/detail/notes.h"
#include "sql/detail/prepared.h"
#include "sql/detail/storage.h"
#include "sql/detail/subscribe.h"
#include "sql/detail/system_time.h"

namespace millrace::sql {
namespace {

/// One session's DuckDB connection and transaction; shared with its open cursor.
struct State {
  explicit State(std::shared_ptr<duckdb::DuckDB> i)
      : instance(std::move(i)), connection(*instance) {}

  std::shared_ptr<duckdb::DuckDB> instance;
  duckdb::Connection connection;
  TransactionState transaction = TransactionState::kIdle;

  duckdb::ClientContext& context() { return *connection.context; }
  /// An error in a transaction fails it, as PostgreSQL's does.
  Error failed(Error error) {
    // A commit's failure is told by DuckDB as text.
    auto& notes = StatementNotes::of(context());
    if (notes.commit_error) error = *std::exchange(notes.commit_error, std::nullopt);
    if (transaction == TransactionState::kActive) transaction = TransactionState::kFailed;
    return error;
  }
};

/// Rows as DuckDB produces them.
class DuckCursor : public Cursor {
 public:
  DuckCursor(std::shared_ptr<State> state, duckdb::unique_ptr<duckdb::QueryResult> result,
             std::string verb)
      : state_(std::move(state)), result_(std::move(result)), verb_(std::move(verb)) {}

  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() override {
    auto chunk = guarded([&] { return result_->Fetch(); });
    if (result_->HasError()) return state_->failed(to_error(result_->GetErrorObject()));
    if (!chunk) return state_->failed(std::move(chunk).error());
    if (!*chunk || (*chunk)->size() == 0) return duckdb::unique_ptr<duckdb::DataChunk>();
    rows_ += (*chunk)->size();
    return chunk;
  }
  std::string tag() const override {
    return verb_ == "SELECT" ? fmt::format("SELECT {}", rows_) : verb_;
  }

 private:
  std::shared_ptr<State> state_;
  duckdb::unique_ptr<duckdb::QueryResult> result_;
  std::string verb_;
  uint64_t rows_ = 0;
};

class SessionImpl : public Session {
 public:
  SessionImpl(std::shared_ptr<duckdb::DuckDB> instance, SessionSetup setup, std::string user)
      : setup_(std::move(setup)), state_(std::make_shared<State>(std::move(instance))) {
    facts_.user = std::move(user);
    facts_.version = setup_.version;
    use_public(state_->context());
    auto set = state_->connection.Query("SET SESSION errors_as_json = true");
    if (set->HasError()) set->ThrowError();
  }

  Result<std::vector<std::string>> split(std::string_view script) override {
    return split_statements(script);
  }
  Result<std::unique_ptr<Statement>> prepare(
      std::string sql, std::vector<duckdb::LogicalType> parameter_types) override;
  Result<std::unique_ptr<Cursor>> execute(Statement& statement,
                                          std::vector<duckdb::Value> parameters) override;
  TransactionState transaction_state() const override { return state_->transaction; }
  void interrupt() override { state_->connection.Interrupt(); }
  Result<uint64_t> copy_in(std::string_view table, const std::vector<std::string>& columns,
                           std::string_view format, bool header, std::string data) override;

 private:
  Result<std::unique_ptr<Statement>> prepare_any(std::string sql,
                                                 std::vector<duckdb::LogicalType> types);
  Result<> prepare_duck(PreparedOne& one, const std::vector<Token>& tokens,
                        const std::vector<duckdb::LogicalType>& types);
  Result<> bind_duck(PreparedOne& one, duckdb::unique_ptr<duckdb::SQLStatement> statement,
                     const std::vector<duckdb::LogicalType>& types);
  Result<std::unique_ptr<Cursor>> execute_ours(const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> execute_duck(PreparedOne& one,
                                               std::vector<duckdb::Value> parameters);

  Result<std::unique_ptr<Cursor>> run(const CreateObject& create, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const DropObject& drop, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const ShowObjects& show, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const ShowCreate& show, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const DescribeObject& describe, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const ExplainView& explain, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const ApplyObject& apply, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const SubscribeTo& subscribe, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const PauseView& pause, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const CreateFunction& create, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const ResumeFunction& resume, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const AlterTransforms& alter, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const ExplainTopic& explain, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const CreateConnector& create, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const PauseConnector& pause, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const CreatePipeline& create, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const AlterPipeline& alter, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const PutUser& put, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const BeginTransaction& begin, const PreparedOne& one);
  Result<std::unique_ptr<Cursor>> run(const EndTransaction& end, const PreparedOne& one);

  Error failed_transaction() const {
    return Error{ErrorCode::kFailedTransaction,
                 "the transaction has failed: statements are ignored until it ends", std::nullopt,
                 "End it with ROLLBACK."};
  }
  Subscriber subscriber() const {
    return Subscriber(setup_.core, setup_.definitions, setup_.planner);
  }
  /// Lets the open transaction see what a definition of ours has just changed.
  void refresh();

  SessionSetup setup_;
  std::shared_ptr<State> state_;
  SessionFacts facts_;
};

bool is_open(const duckdb::LogicalType& type) {
  using Id = duckdb::LogicalTypeId;
  return type.id() == Id::UNKNOWN || type.id() == Id::SQLNULL || type.id() == Id::INVALID;
}

void name_result(PreparedOne& one, const Listing& shape) {
  one.result_names = shape.names;
  one.result_types = shape.types;
}

Listing apply_shape() {
  Listing listing;
  listing.names = {"action", "kind", "name"};
  listing.types.assign(3, duckdb::LogicalType::VARCHAR);
  return listing;
}

/// The result's columns, which a statement of ours has before it runs.
void shape_ours(PreparedOne& one) {
  const auto text = [&](std::vector<std::string> names) {
    one.result_types.assign(names.size(), duckdb::LogicalType::VARCHAR);
    one.result_names = std::move(names);
  };
  if (const auto* show = std::get_if<ShowObjects>(&*one.ours)) {
    struct Nothing : catalog::Snapshot {
      const catalog::Object* find(std::string_view) const override { return nullptr; }
      const catalog::Object* find(const Uuid&) const override { return nullptr; }
      std::vector<const catalog::Object*> list() const override { return {}; }
      std::vector<const catalog::Object*> dependents(std::string_view) const override { return {}; }
      uint64_t version() const override { return 0; }
    };
    name_result(one, show_objects(Nothing(), show->what));
  } else if (std::holds_alternative<ShowCreate>(*one.ours)) {
    text({"sql"});
  } else if (std::holds_alternative<DescribeObject>(*one.ours)) {
    text({"column", "type", "nullable", "key", "default", "hidden"});
  } else if (std::holds_alternative<ExplainView>(*one.ours)) {
    text({"dataflow"});
  } else if (std::holds_alternative<ExplainTopic>(*one.ours)) {
    text({"way"});
  } else if (std::holds_alternative<ApplyObject>(*one.ours)) {
    name_result(one, apply_shape());
  }
}

Result<std::unique_ptr<Statement>> SessionImpl::prepare(
    std::string sql, std::vector<duckdb::LogicalType> parameter_types) {
  auto prepared = guarded([&] { return prepare_any(std::move(sql), std::move(parameter_types)); });
  if (!prepared) return state_->failed(std::move(prepared).error());
  return prepared;
}

Result<std::unique_ptr<Statement>> SessionImpl::prepare_any(
    std::string sql, std::vector<duckdb::LogicalType> types) {
  auto one = std::make_unique<PreparedOne>();
  one->sql = std::move(sql);
  MR_TRY(auto tokens, tokenize(one->sql));
  const auto snapshot = setup_.core.catalog.snapshot();
  if (tokens.size() > 1 && !tokens[0].is_symbol(';')) {
    MR_TRY(one->ours, parse_ours(one->sql, tokens, *snapshot));
    const bool ends = one->ours && std::holds_alternative<EndTransaction>(*one->ours);
    if (state_->transaction == TransactionState::kFailed && !ends) return failed_transaction();
    if (const auto* subscribe = one->ours ? std::get_if<SubscribeTo>(&*one->ours) : nullptr) {
      MR_TRY(const auto shape, subscriber().shape(*subscribe));
      name_result(*one, shape);
    } else if (one->ours) {
      shape_ours(*one);
    } else {
      MR_TRY(prepare_duck(*one, tokens, types));
    }
  }
  return std::unique_ptr<Statement>(std::move(one));
}

/// Guesses at the parameters that neither client nor DuckDB gave a type: text, as PostgreSQL takes
/// them; where that does not bind, one of them a number, or all of them.
std::vector<std::vector<duckdb::LogicalType>> guesses(const PreparedOne& one,
                                                      std::vector<duckdb::LogicalType> types) {
  types.resize(one.parameter_types.size(), duckdb::LogicalType::UNKNOWN);
  std::vector<size_t> open;
  for (size_t i = 0; i < types.size(); ++i) {
    if (is_open(types[i]) && is_open(one.parameter_types[i])) open.push_back(i);
  }
  std::vector<std::vector<duckdb::LogicalType>> result;
  const auto add = [&](const std::vector<size_t>& which, const duckdb::LogicalType& type) {
    auto guess = types;
    for (const auto i : open) guess[i] = duckdb::LogicalType::VARCHAR;
    for (const auto i : which) guess[i] = type;
    result.push_back(std::move(guess));
  };
  if (open.empty()) return result;
  add({}, duckdb::LogicalType::VARCHAR);
  for (const auto i : open) add({i}, duckdb::LogicalType::BIGINT);
  add(open, duckdb::LogicalType::BIGINT);
  add(open, duckdb::LogicalType::DOUBLE);
  return result;
}

Result<> SessionImpl::prepare_duck(PreparedOne& one, const std::vector<Token>& tokens,
                                   const std::vector<duckdb::LogicalType>& types) {
  MR_TRY(const auto sql, carry_system_time(one.sql));
  auto statements = state_->connection.ExtractStatements(sql);
  if (statements.empty()) return {};
  if (statements.size() > 1) {
    return Error{ErrorCode::kSyntax, "a prepared statement holds one command"};
  }
  auto& statement = *statements[0];
  const bool has_parameters = !statement.named_param_map.empty();
  MR_TRY(bind_duck(one, has_parameters ? statement.Copy() : std::move(statements[0]), types));
  // DuckDB knows no result type while a parameter's is open.
  for (const auto& guess : guesses(one, types)) {
    PreparedOne guessed;
    guessed.sql = one.sql;
    if (!bind_duck(guessed, statement.Copy(), guess)) continue;
    one = std::move(guessed);
    break;
  }
  one.verb = verb_of(tokens, one.duck->GetStatementProperties().return_type);
  return {};
}

Result<> SessionImpl::bind_duck(PreparedOne& one,
                                duckdb::unique_ptr<duckdb::SQLStatement> statement,
                                const std::vector<duckdb::LogicalType>& types) {
  adapt(*statement, facts_, types);
  MR_TRY(one.insert_kind, take_conflict_clause(*statement, *setup_.core.catalog.snapshot()));
  StatementNotes::of(state_->context()).insert_kind = one.insert_kind;
  one.duck = state_->connection.Prepare(std::move(statement));
  if (one.duck->HasError()) {
    auto error = to_error(one.duck->GetErrorObject());
    one.duck.reset();
    return error;
  }
  const auto expected = one.duck->GetExpectedParameterTypes();
  one.parameter_types.assign(one.duck->named_param_map.size(), duckdb::LogicalType::UNKNOWN);
  for (const auto& [name, index] : one.duck->named_param_map) {
    if (index < 1 || index > one.parameter_types.size()) continue;
    auto& type = one.parameter_types[index - 1];
    const auto found = expected.find(name);
    if (found != expected.end()) type = found->second;
    if (index <= types.size() && !is_open(types[index - 1])) type = types[index - 1];
  }
  const auto returns = one.duck->GetStatementProperties().return_type;
  if (returns == duckdb::StatementReturnType::QUERY_RESULT) {
    one.result_names.assign(one.duck->GetNames().begin(), one.duck->GetNames().end());
    one.result_types.assign(one.duck->GetTypes().begin(), one.duck->GetTypes().end());
  }
  return {};
}

Result<std::unique_ptr<Cursor>> SessionImpl::execute(Statement& statement,
                                                     std::vector<duckdb::Value> parameters) {
  auto& one = static_cast<PreparedOne&>(statement);
  if (one.is_empty()) return make_cursor({}, "");
  const bool ends = one.ours && std::holds_alternative<EndTransaction>(*one.ours);
  if (state_->transaction == TransactionState::kFailed && !ends) return failed_transaction();
  auto cursor = guarded(
      [&] { return one.ours ? execute_ours(one) : execute_duck(one, std::move(parameters)); });
  if (!cursor) return state_->failed(std::move(cursor).error());
  return cursor;
}

Result<std::unique_ptr<Cursor>> SessionImpl::execute_ours(const PreparedOne& one) {
  return std::visit([&](const auto& ours) { return run(ours, one); }, *one.ours);
}

Result<std::unique_ptr<Cursor>> SessionImpl::execute_duck(PreparedOne& one,
                                                          std::vector<duckdb::Value> parameters) {
  auto& notes = StatementNotes::of(state_->context());
  notes.insert_kind = one.insert_kind;
  notes.applied = std::nullopt;
  duckdb::vector<duckdb::Value> values(parameters.begin(), parameters.end());
  if (values.size() != one.parameter_types.size()) {
    return Error{ErrorCode::kProtocol, fmt::format("the statement has {} parameters, {} were given",
                                                   one.parameter_types.size(), values.size())};
  }
  auto result = one.duck->Execute(values, true);
  if (result->HasError()) return to_error(result->GetErrorObject());
  const auto returns = one.duck->GetStatementProperties().return_type;
  if (returns == duckdb::StatementReturnType::QUERY_RESULT) {
    return std::unique_ptr<Cursor>(
        std::make_unique<DuckCursor>(state_, std::move(result), one.verb));
  }
  uint64_t count = 0;
  while (auto chunk = result->Fetch()) {
    if (chunk->size() == 0) break;
    if (returns == duckdb::StatementReturnType::CHANGED_ROWS) {
      count += chunk->GetValue(0, 0).GetValue<uint64_t>();
    }
  }
  if (result->HasError()) return to_error(result->GetErrorObject());
  if (returns != duckdb::StatementReturnType::CHANGED_ROWS) return make_cursor({}, one.verb);
  // What the commit changed is less than what was given where rows were ignored.
  if (notes.applied) count = *notes.applied;
  return make_cursor({}, fmt::format("{} {}", one.verb, count));
}

void SessionImpl::refresh() {
  if (state_->transaction != TransactionState::kActive) return;
  auto& context = state_->context();
  context.RunFunctionInTransaction([&] {
    auto& catalog = duckdb::Catalog::GetCatalog(context, kDatabaseName);
    CatalogTransaction::get(context, catalog)
        .set_entries(static_cast<DuckCatalog&>(catalog).current());
  });
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const CreateObject& create,
                                                 const PreparedOne& one) {
  MR_TRY(setup_.definitions.create(create, one.sql, false));
  refresh();
  return make_cursor(
      {}, "CREATE " + duckdb::StringUtil::Upper(std::string(catalog::shown_kind(create.object))));
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const DropObject& drop, const PreparedOne&) {
  if (drop.kind == catalog::Kind::kFunction) {
    MR_TRY(setup_.definitions.drop_function(drop, facts_.user));
  } else if (drop.kind == catalog::Kind::kSource || drop.kind == catalog::Kind::kSink) {
    MR_TRY(setup_.definitions.drop_connector(drop, facts_.user));
  } else if (drop.kind == catalog::Kind::kPipeline) {
    MR_TRY(setup_.definitions.drop_pipeline(drop, facts_.user));
  } else if (drop.kind == catalog::Kind::kUser) {
    MR_TRY(setup_.definitions.drop_user(drop, facts_.user));
  } else {
    MR_TRY(setup_.definitions.drop(drop));
  }
  refresh();
  const auto kind = drop.sink ? "sink" : catalog::name_of(drop.kind);
  return make_cursor({}, "DROP " + duckdb::StringUtil::Upper(std::string(kind)));
}

std::unique_ptr<Cursor> listing_cursor(Listing listing) {
  auto tag = fmt::format("SELECT {}", listing.rows.size());
  return make_cursor(std::move(listing), std::move(tag));
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const ShowObjects& show, const PreparedOne&) {
  return listing_cursor(show_objects(*setup_.core.catalog.snapshot(), show.what));
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const ShowCreate& show, const PreparedOne&) {
  MR_TRY(auto listing, show_create(*setup_.core.catalog.snapshot(), show));
  return listing_cursor(std::move(listing));
}

Error gone(const std::string& name) {
  return Error{ErrorCode::kUndefinedObject, fmt::format("\"{}\" does not exist", name)};
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const DescribeObject& describe,
                                                 const PreparedOne&) {
  const auto snapshot = setup_.core.catalog.snapshot();
  const auto* object = snapshot->find(describe.name);
  if (!object) return gone(describe.name);
  const auto view_columns = [&](const std::string& query) { return setup_.planner.check(query); };
  MR_TRY(auto listing, describe_object(*object, view_columns));
  return listing_cursor(std::move(listing));
}

/// Text as rows of one column, a line each.
Listing lines_of(std::string column, const std::string& text) {
  Listing listing;
  listing.names = {std::move(column)};
  listing.types = {duckdb::LogicalType::VARCHAR};
  for (const auto& line : duckdb::StringUtil::Split(text, '\n')) {
    listing.rows.push_back({duckdb::Value(line)});
  }
  return listing;
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const ExplainView& explain, const PreparedOne&) {
  const auto snapshot = setup_.core.catalog.snapshot();
  const auto* object = snapshot->find(explain.name);
  auto* host = setup_.core.host.load();
  if (!object || !host) return gone(explain.name);
  MR_TRY(auto text, explain.analyze ? analyze_view(*host, *object) : host->explain(*object));
  return make_cursor(lines_of("dataflow", text), "EXPLAIN");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const ExplainTopic& explain, const PreparedOne&) {
  const auto snapshot = setup_.core.catalog.snapshot();
  const auto* topic = snapshot->find(explain.name);
  if (!topic || topic->kind != catalog::Kind::kTopic) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("topic \"{}\" does not exist", explain.name), explain.name_begin};
  }
  return make_cursor(lines_of("way", explain_topic(*snapshot, *topic)), "EXPLAIN");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const CreateFunction& create, const PreparedOne&) {
  MR_TRY(setup_.definitions.create(create, facts_.user, false));
  refresh();
  return make_cursor({}, "CREATE FUNCTION");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const ResumeFunction& resume, const PreparedOne&) {
  MR_TRY(setup_.definitions.resume(resume, facts_.user));
  return make_cursor({}, "ALTER FUNCTION");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const AlterTransforms& alter, const PreparedOne&) {
  MR_TRY(setup_.definitions.alter(alter, facts_.user));
  refresh();
  return make_cursor({}, "ALTER TOPIC");
}

std::string tag_of(const char* verb, catalog::Kind kind) {
  return fmt::format("{} {}", verb, duckdb::StringUtil::Upper(std::string(catalog::name_of(kind))));
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const CreateConnector& create,
                                                 const PreparedOne&) {
  MR_TRY(setup_.definitions.create(create, facts_.user, false));
  return make_cursor({}, tag_of("CREATE", create.object.kind));
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const PauseConnector& pause, const PreparedOne&) {
  MR_TRY(setup_.definitions.pause(pause, facts_.user));
  return make_cursor({}, tag_of("ALTER", pause.kind));
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const CreatePipeline& create, const PreparedOne&) {
  MR_TRY(setup_.definitions.create(create, facts_.user, false));
  refresh();
  return make_cursor({}, "CREATE TRANSFORM");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const AlterPipeline& alter, const PreparedOne&) {
  MR_TRY(setup_.definitions.alter(alter, facts_.user));
  refresh();
  return make_cursor({}, "ALTER TRANSFORM");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const PutUser& put, const PreparedOne&) {
  MR_TRY(setup_.definitions.put(put, facts_.user));
  return make_cursor({}, put.create ? "CREATE USER" : "ALTER USER");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const ApplyObject& apply, const PreparedOne& one) {
  using Outcome = Definitions::Outcome;
  auto outcome = Outcome::kUnchanged;
  std::string kind, name;
  if (apply.function) {
    MR_TRY(outcome, setup_.definitions.create(*apply.function, facts_.user, apply.dry_run));
    kind = "function";
    name = apply.function->name;
  } else if (apply.connector) {
    MR_TRY(outcome, setup_.definitions.create(*apply.connector, facts_.user, apply.dry_run));
    kind = catalog::name_of(apply.connector->object.kind);
    name = apply.connector->object.name;
  } else if (apply.pipeline) {
    MR_TRY(outcome, setup_.definitions.create(*apply.pipeline, facts_.user, apply.dry_run));
    kind = catalog::name_of(apply.pipeline->object.kind);
    name = apply.pipeline->object.name;
  } else if (apply.alter) {
    MR_TRY(outcome, setup_.definitions.apply(*apply.alter, facts_.user, apply.dry_run));
    kind = "transform";
    name = fmt::format("{} of {}", apply.alter->transform.function, apply.alter->topic);
  } else {
    auto create = apply.create;
    create.or_replace = true;
    create.if_not_exists = false;
    MR_TRY(outcome, setup_.definitions.create(create, one.sql, apply.dry_run));
    kind = catalog::shown_kind(create.object);
    name = catalog::shown_name(create.object);
  }
  if (!apply.dry_run) refresh();
  const char* action = "unchanged";
  if (outcome == Outcome::kCreated) action = apply.dry_run ? "would create" : "created";
  if (outcome == Outcome::kReplaced) action = apply.dry_run ? "would replace" : "replaced";
  auto listing = apply_shape();
  listing.rows.push_back({duckdb::Value(action), duckdb::Value(kind), duckdb::Value(name)});
  return make_cursor(std::move(listing), "APPLY");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const SubscribeTo& subscribe, const PreparedOne&) {
  return subscriber().open(subscribe);
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const PauseView& pause, const PreparedOne&) {
  MR_TRY(setup_.definitions.pause(pause));
  refresh();
  return make_cursor({}, pause.sink ? "ALTER SINK" : "ALTER MATERIALIZED VIEW");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const BeginTransaction&, const PreparedOne&) {
  if (state_->transaction == TransactionState::kIdle) {
    state_->connection.BeginTransaction();
    state_->transaction = TransactionState::kActive;
  }
  return make_cursor({}, "BEGIN");
}

Result<std::unique_ptr<Cursor>> SessionImpl::run(const EndTransaction& end, const PreparedOne&) {
  const auto was = std::exchange(state_->transaction, TransactionState::kIdle);
  if (was == TransactionState::kIdle) return make_cursor({}, end.commit ? "COMMIT" : "ROLLBACK");
  if (end.commit && was == TransactionState::kActive) {
    state_->connection.Commit();
    return make_cursor({}, "COMMIT");
  }
  state_->connection.Rollback();
  return make_cursor({}, "ROLLBACK");
}

Result<uint64_t> SessionImpl::copy_in(std::string_view table,
                                      const std::vector<std::string>& columns,
                                      std::string_view format, bool header, std::string data) {
  if (state_->transaction == TransactionState::kFailed) return failed_transaction();
  auto copied = guarded([&]() -> Result<uint64_t> {
    auto& context = state_->context();
    StatementNotes::of(context).insert_kind = Change::Kind::kInsert;
    MR_TRY(auto rows, parse_copy_text(data, {std::string(format), header}));
    return insert_text_rows(state_->connection, std::string(table), columns, std::move(rows),
                            *setup_.core.catalog.snapshot());
  });
  if (!copied) return state_->failed(std::move(copied).error());
  return copied;
}

}  // namespace

Result<std::unique_ptr<Session>> make_session(std::shared_ptr<duckdb::DuckDB> instance,
                                              SessionSetup setup, std::string user) {
  return guarded([&]() -> std::unique_ptr<Session> {
    return std::make_unique<SessionImpl>(std::move(instance), std::move(setup), std::move(user));
  });
}

}  // namespace millrace::sql
