#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "oracle/query_generator.h"
#include "oracle/replay.h"

// Random queries as views, against DuckDB. MR_RANDOM_QUERIES says how many (300 by default),
// MR_SEED which. What fails is printed small: without the clauses and the rows that it does not
// need.

namespace millrace::flow {
namespace {

constexpr size_t kAtATime = 10;  // queries over the same rows
constexpr size_t kShrinkings = 600;
constexpr Walk kRandomWalks[] = {Walk::kWandering, Walk::kGrowing, Walk::kWandering,
                                 Walk::kOneByOne, Walk::kWhole};

struct Case {
  std::vector<GeneratedTable> tables;
  std::vector<uint32_t> choices;
  Walk walk;
  uint64_t seed;

  std::vector<std::string> setup() const {
    std::vector<std::string> statements;
    for (const auto& table : tables) table.append_to(statements);
    return statements;
  }
  std::string query() const {
    Choices replay(choices);
    return generate_query(replay);
  }
  /// What is wrong with it, when it is the view that is wrong.
  std::string wrong() const {
    const auto found = compare(setup(), {query()}, walk, seed);
    if (found.empty() || found[0].text.starts_with("refused: ")) return {};
    return found[0].text.find("DuckDB: ") == std::string::npos ? found[0].text : "";
  }
};

/// Makes the case smaller as long as it stays wrong.
class Shrinker {
 public:
  explicit Shrinker(Case from) : best_(std::move(from)) {}

  Case shrink() {
    for (bool smaller = true; smaller && tried_ < kShrinkings;) {
      smaller = false;
      for (size_t size : {16, 8, 4, 2, 1}) smaller |= without_choices(size);
      smaller |= lower_choices();
      smaller |= without_rows();
    }
    return best_;
  }

 private:
  bool keep(Case candidate) {
    if (++tried_ > kShrinkings || candidate.wrong().empty()) return false;
    best_ = std::move(candidate);
    return true;
  }

  bool without_choices(size_t size) {
    bool smaller = false;
    for (size_t at = best_.choices.size(); at >= size; --at) {
      if (at > best_.choices.size()) continue;
      Case candidate = best_;
      const auto end = candidate.choices.begin() + static_cast<std::ptrdiff_t>(at);
      candidate.choices.erase(end - static_cast<std::ptrdiff_t>(size), end);
      if (candidate.query().size() < best_.query().size()) smaller |= keep(std::move(candidate));
    }
    return smaller;
  }

  bool lower_choices() {
    bool smaller = false;
    for (size_t at = 0; at < best_.choices.size(); ++at) {
      if (best_.choices[at] == 0) continue;
      Case candidate = best_;
      candidate.choices[at] = 0;
      if (candidate.query().size() < best_.query().size()) smaller |= keep(std::move(candidate));
    }
    return smaller;
  }

  bool without_rows() {
    bool smaller = false;
    for (size_t t = 0; t < best_.tables.size(); ++t) {
      for (size_t at = best_.tables[t].rows.size(); at > 0; --at) {
        Case candidate = best_;
        auto& rows = candidate.tables[t].rows;
        rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(at - 1));
        smaller |= keep(std::move(candidate));
      }
    }
    return smaller;
  }

  Case best_;
  size_t tried_ = 0;
};

std::string report(const Case& shrunk, const std::string& original) {
  std::string text = fmt::format("MR_SEED={}: {}\nshrunk:\n", seed_of_run(), original);
  for (const auto& statement : shrunk.setup()) text += statement + ";\n";
  return text + shrunk.query() + ";\n" + shrunk.wrong();
}

size_t count_of_queries() {
  const char* given = std::getenv("MR_RANDOM_QUERIES");
  return given ? std::strtoull(given, nullptr, 10) : 300;
}

/// False when DuckDB broke over one of the queries: after an internal error it answers no more.
bool compare_all(const Case& drawn, const std::vector<std::string>& queries,
                 std::vector<Wrong>& wrong) {
  try {
    wrong = compare(drawn.setup(), queries, drawn.walk, drawn.seed);
    return true;
  } catch (const std::exception& thrown) {
    const std::string text = thrown.what();
    if (text.find("database has been invalidated") == std::string::npos) throw;
    fmt::print("DuckDB broke: {}\n", text);
    return false;
  }
}

TEST(RandomQueries, EqualDuckDBAtEveryEpoch) {
  std::mt19937_64 random(seed_of_run());
  size_t compared = 0, refused = 0, invalid = 0, failed = 0;
  const size_t count = count_of_queries();
  while (compared + refused + invalid < count && failed < 5) {
    Case drawn{
        generate_tables(random), {}, kRandomWalks[random() % std::size(kRandomWalks)], random()};
    std::vector<std::string> queries;
    std::vector<std::vector<uint32_t>> choices;
    for (size_t i = 0; i < kAtATime; ++i) {
      Choices fresh(random());
      queries.push_back(generate_query(fresh));
      choices.push_back(fresh.made());
    }
    std::vector<Wrong> wrong;
    if (!compare_all(drawn, queries, wrong)) {
      invalid += queries.size();
      continue;
    }
    compared += queries.size();
    for (const auto& [query, text] : wrong) {
      if (text.starts_with("refused: ")) {
        const bool by_duckdb = text.starts_with("refused: plan: ");
        --compared;
        ++(by_duckdb ? invalid : refused);
        if (std::getenv("MR_SHOW_REFUSED")) fmt::print("{}\n  {}\n", queries[query], text);
        continue;
      }
      ++failed;
      drawn.choices = choices[query];
      ADD_FAILURE() << text << "\n" << report(Shrinker(drawn).shrink(), queries[query]);
    }
  }
  fmt::print("{} random queries compared, {} refused, {} no valid SQL\n", compared, refused,
             invalid);
  EXPECT_GT(compared, count / 2);
}

}  // namespace
}  // namespace millrace::flow
