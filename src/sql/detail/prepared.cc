#include "sql/detail/prepared.h"

#include <fmt/format.h>

namespace millrace::sql {
namespace {

class ListingCursor : public Cursor {
 public:
  ListingCursor(Listing rows, std::string tag) : rows_(std::move(rows)), tag_(std::move(tag)) {}

  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() override {
    if (at_ == rows_.rows.size()) return duckdb::unique_ptr<duckdb::DataChunk>();
    auto chunk = duckdb::make_uniq<duckdb::DataChunk>();
    chunk->Initialize(duckdb::Allocator::DefaultAllocator(),
                      duckdb::vector<duckdb::LogicalType>(rows_.types.begin(), rows_.types.end()));
    size_t count = 0;
    for (; at_ < rows_.rows.size() && count < STANDARD_VECTOR_SIZE; ++at_, ++count) {
      for (size_t i = 0; i < rows_.types.size(); ++i) {
        chunk->SetValue(i, count, rows_.rows[at_][i]);
      }
    }
    chunk->SetCardinality(count);
    return chunk;
  }
  std::string tag() const override { return tag_; }

 private:
  Listing rows_;
  std::string tag_;
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<Cursor> make_cursor(Listing rows, std::string tag) {
  return std::make_unique<ListingCursor>(std::move(rows), std::move(tag));
}

std::string verb_of(const std::vector<Token>& tokens, duckdb::StatementReturnType returns) {
  if (tokens.empty() || tokens[0].kind == Token::Kind::kEnd) return {};
  auto verb = duckdb::StringUtil::Upper(tokens[0].text);
  if (returns == duckdb::StatementReturnType::QUERY_RESULT) {
    return verb == "EXPLAIN" ? verb : "SELECT";
  }
  if (returns == duckdb::StatementReturnType::CHANGED_ROWS) {
    // WITH ... INSERT: the verb stands after the common table expressions.
    for (size_t i = 0; verb == "WITH" && i < tokens.size(); ++i) {
      for (const char* word : {"insert", "update", "delete"}) {
        if (tokens[i].is(word)) verb = duckdb::StringUtil::Upper(word);
      }
    }
    return verb == "INSERT" ? "INSERT 0" : verb;
  }
  if ((verb == "CREATE" || verb == "DROP" || verb == "ALTER") && tokens.size() > 1) {
    size_t i = 1;
    while (tokens[i].is("or") || tokens[i].is("replace") || tokens[i].is("temp") ||
           tokens[i].is("temporary")) {
      ++i;
    }
    verb += " " + duckdb::StringUtil::Upper(tokens[i].text);
  }
  return verb;
}

}  // namespace millrace::sql
