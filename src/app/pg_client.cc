#include "app/pg_client.h"

#include <libpq-fe.h>

namespace millrace::app {

namespace {

using ResultPtr = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return std::string(text);
}

bool is_numeric(Oid type) {
  constexpr Oid kNumeric[] = {20, 21, 23, 26, 700, 701, 1700};
  return std::ranges::find(kNumeric, type) != std::end(kNumeric);
}
constexpr Oid kBool = 16, kJson = 114, kJsonb = 3802;

Error server_error(const PGresult* result) {
  auto field = [&](int code) {
    const char* text = PQresultErrorField(result, code);
    return std::string(text ? text : "");
  };
  Error error{ErrorCode::kInvalidArgument,
              fmt::format("{} ({})", field(PG_DIAG_MESSAGE_PRIMARY), field(PG_DIAG_SQLSTATE))};
  if (auto detail = field(PG_DIAG_MESSAGE_DETAIL); !detail.empty()) error.text += "\n  " + detail;
  error.hint = field(PG_DIAG_MESSAGE_HINT);
  auto position = field(PG_DIAG_STATEMENT_POSITION);
  if (!position.empty()) error.position = std::stoul(position) - 1;
  return error;
}

TextTable to_table(const PGresult* result) {
  TextTable table;
  int columns = PQnfields(result);
  for (int c = 0; c < columns; ++c) {
    Oid type = PQftype(result, c);
    table.names.emplace_back(PQfname(result, c));
    table.numeric.push_back(is_numeric(type));
    table.raw_json.push_back(type == kBool || type == kJson || type == kJsonb);
  }
  for (int r = 0; r < PQntuples(result); ++r) {
    auto& row = table.rows.emplace_back();
    for (int c = 0; c < columns; ++c) {
      if (PQgetisnull(result, r, c)) {
        row.emplace_back(std::nullopt);
      } else if (PQftype(result, c) == kBool) {
        row.emplace_back(*PQgetvalue(result, r, c) == 't' ? "true" : "false");
      } else {
        row.emplace_back(PQgetvalue(result, r, c));
      }
    }
  }
  return table;
}

}  // namespace

struct PgClient::Impl {
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection;
};

PgClient::PgClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PgClient::~PgClient() = default;

Result<std::unique_ptr<PgClient>> PgClient::connect(const std::string& address) {
  size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  std::string port = colon == std::string::npos ? "5432" : address.substr(colon + 1);
  const char* names[] = {"host", "port", "dbname", "user", "connect_timeout", "application_name",
                         nullptr};
  const char* values[] = {host.c_str(), port.c_str(), "millrace", "millrace",
                          "10",         "millrace",   nullptr};
  auto impl = std::make_unique<Impl>(Impl{{PQconnectdbParams(names, values, 0), &PQfinish}});
  if (PQstatus(impl->connection.get()) != CONNECTION_OK) {
    return Error{
        ErrorCode::kConnectionClosed,
        fmt::format("no node answers at {}: {}", address,
                    trimmed(PQerrorMessage(impl->connection.get()))),
        std::nullopt,
        "start one with `millrace serve --data DIR`, or name it with --data DIR or --pg ADDR"};
  }
  PQsetNoticeProcessor(
      impl->connection.get(), [](void*, const char* text) { fmt::print(stderr, "{}", text); },
      nullptr);
  return std::unique_ptr<PgClient>(new PgClient(std::move(impl)));
}

Result<> PgClient::run(const std::string& script, const std::function<void(Answer)>& each) {
  PGconn* connection = impl_->connection.get();
  std::optional<Error> failure;
  if (!PQsendQuery(connection, script.c_str())) {
    return Error{ErrorCode::kConnectionClosed, trimmed(PQerrorMessage(connection))};
  }
  while (auto result = ResultPtr(PQgetResult(connection), &PQclear)) {
    switch (PQresultStatus(result.get())) {
      case PGRES_TUPLES_OK:
        each(Answer{to_table(result.get()), PQcmdStatus(result.get())});
        break;
      case PGRES_COMMAND_OK:
        each(Answer{TextTable{}, PQcmdStatus(result.get())});
        break;
      case PGRES_EMPTY_QUERY:
        break;
      default:
        if (!failure) failure = server_error(result.get());
        if (PQstatus(connection) != CONNECTION_OK) {
          failure = Error{ErrorCode::kConnectionClosed, "the node closed the connection"};
        }
    }
  }
  if (failure) return std::move(*failure);
  return {};
}

}  // namespace millrace::app
