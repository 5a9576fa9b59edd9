#include <duckdb/common/types/timestamp.hpp>

#include "app/system_tables.h"

namespace millrace::app {

namespace {

using duckdb::LogicalType;
using duckdb::Value;
using Rows = std::vector<std::vector<Value>>;

const LogicalType kText = LogicalType::VARCHAR;
const LogicalType kNumber = LogicalType::BIGINT;
const LogicalType kTime = LogicalType::TIMESTAMP_TZ;

Value number(uint64_t n) { return Value::BIGINT(static_cast<int64_t>(n)); }
Value time_or_null(TimestampMs ms) {
  if (ms < 0) return Value(kTime);
  return Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(ms * 1000));
}

sql::SystemTable connectors_of(SystemSources from, std::string name, catalog::Kind kind) {
  const auto column = [](std::string of, LogicalType type) {
    return sql::RelationColumn{.name = std::move(of), .type = std::move(type)};
  };
  return {std::move(name),
          {column("name", kText), column("connector", kText), column("topic", kText),
           column("owner", kText), column("state", kText), column("records", kNumber),
           column("bytes", kNumber), column("lag", kNumber), column("errors", kNumber),
           column("restarts", kNumber), column("last_error", kText), column("last_error_at", kTime),
           column("retry_at", kTime)},
          [from, kind]() -> Result<Rows> {
            Rows rows;
            for (const auto& of : from.connectors.status()) {
              if (of.kind != kind) continue;
              rows.push_back({Value(of.name), Value(of.connector), Value(of.topic), Value(of.owner),
                              Value(of.state), number(of.records), number(of.bytes),
                              of.lag ? number(*of.lag) : Value(kNumber), number(of.errors),
                              number(of.restarts), of.error ? Value(*of.error) : Value(kText),
                              time_or_null(of.error_at), time_or_null(of.retry_at)});
            }
            return rows;
          }};
}

}  // namespace

std::vector<sql::SystemTable> connector_tables(SystemSources sources) {
  return {connectors_of(sources, "sources", catalog::Kind::kSource),
          connectors_of(sources, "sinks", catalog::Kind::kSink)};
}

}  // namespace millrace::app
