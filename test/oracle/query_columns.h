#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace millrace::flow {

// What generated queries are made of: types, the columns of their tables, and values of them.

enum class Type { kInteger, kText, kDecimal, kTime, kBoolean };

struct Column {
  std::string text;
  Type type;
};
using Scope = std::vector<Column>;

inline constexpr std::pair<const char*, Type> kColumns[] = {
    {"k", Type::kInteger}, {"i", Type::kInteger}, {"s", Type::kText},
    {"d", Type::kDecimal}, {"ts", Type::kTime},   {"f", Type::kBoolean}};
inline constexpr const char* kTables[] = {"t1", "t2", "t3"};

/// One of five values of the type, as SQL.
const char* literal(Type type, uint32_t choice);

}  // namespace millrace::flow
