#pragma once

#include <duckdb.hpp>
#include <duckdb/main/client_context_state.hpp>

#include "sql/relation.h"

namespace millrace::sql {

/// What a session and our part of DuckDB tell each other about the statement under way.
struct StatementNotes : duckdb::ClientContextState {
  /// What INSERT means now: DuckDB would turn ON CONFLICT into MERGE, so the session takes the
  /// clause away and says it here.
  Change::Kind insert_kind = Change::Kind::kInsert;
  /// Rows that the last commit changed.
  uint64_t applied = 0;

  static StatementNotes& of(duckdb::ClientContext& context) {
    return *context.registered_state->GetOrCreate<StatementNotes>("millrace");
  }
};

}  // namespace millrace::sql
