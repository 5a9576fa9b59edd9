#pragma once

#include <duckdb.hpp>
#include <duckdb/main/client_context_state.hpp>

#include <optional>

#include "sql/relation.h"

namespace millrace::sql {

/// What a session and our part of DuckDB tell each other about the statement under way.
struct StatementNotes : duckdb::ClientContextState {
  /// What INSERT means now: DuckDB would turn ON CONFLICT into MERGE, so the session takes the
  /// clause away and says it here.
  Change::Kind insert_kind = Change::Kind::kInsert;
  /// Rows that the statement's own commit changed; nothing when it has not committed.
  std::optional<uint64_t> applied;
  /// Why the last commit failed: DuckDB passes on the text alone.
  std::optional<Error> commit_error;

  static StatementNotes& of(duckdb::ClientContext& context) {
    return *context.registered_state->GetOrCreate<StatementNotes>("millrace");
  }
};

}  // namespace millrace::sql
