#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace millrace::flow {

/// A source of choices that remembers what it gave, so that a generator can be run again over fewer
/// or smaller ones: what is shrunk is the sequence, whatever is made of it. 0 is the simplest
/// choice, and what comes after the end. Source: MacIver and Donaldson, "Test-case reduction via
/// test-case generation", ECOOP 2020.
class Choices {
 public:
  explicit Choices(uint64_t seed) : random_(seed), replays_(false) {}
  explicit Choices(std::vector<uint32_t> given) : given_(std::move(given)), replays_(true) {}

  /// A number below n.
  uint32_t below(uint32_t n);
  /// True once in n times; false is the simpler one.
  bool one_in(uint32_t n) { return below(n) == n - 1; }
  const std::vector<uint32_t>& made() const { return made_; }

 private:
  std::mt19937_64 random_{0};
  std::vector<uint32_t> given_, made_;
  bool replays_;
};

/// The tables that generated queries read: a CREATE TABLE each, and rows as SQL.
struct GeneratedTable {
  std::string name, create;
  std::vector<std::string> rows;
  /// CREATE and INSERT.
  void append_to(std::vector<std::string>& setup) const;
};
std::vector<GeneratedTable> generate_tables(std::mt19937_64& random);

/// A query over those tables: projections, filters, joins (as-of and LATERAL ones too), aggregates,
/// grouping sets, subqueries, set operations, DISTINCT, common table expressions, windows of time,
/// lists made rows, window functions, first rows by an order. Its answer does not depend on the
/// order of rows.
std::string generate_query(Choices& choices);

}  // namespace millrace::flow
