#pragma once

#include <duckdb.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sql/detail/json_reader.h"
#include "sql/detail/json_values.h"

namespace millrace::sql {

/// Reads JSON objects that are spelled as producers mostly spell them, in one pass and some four
/// times as quick as the parser: strings without escapes, integers of up to 18 digits, each field
/// once. Anything else it gives up on, valid or not: then the parser decides. What it does read it
/// reads as the parser would (a test compares the two).
class PlainReader {
 public:
  /// How many bytes behind a record must be readable.
  static constexpr size_t kPadding = 64;

  /// `columns` must outlive it.
  explicit PlainReader(const std::vector<JsonReader::Column>& columns);
  /// Rows go to `out` from now on. To be told again whenever its vectors were made anew or reset.
  void begin(duckdb::DataChunk& out);
  /// False: the parser is to read the record, and to write the row over.
  bool read(std::string_view json, size_t row);

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  /// A field's name as it stands in a record, with the quote behind it.
  struct Name {
    std::string text;
    std::array<char, 16> head{};  // its first bytes
    uint32_t mask = 0;            // a bit for each of those
    size_t field = kNone;         // kNone: the type has none of this name
    size_t next = 0;              // the name that came after it the last time

    bool stands_at(const char* at) const;
  };
  /// A value of a declared type: the record itself, a column or a field.
  struct Node {
    const Shape* shape = nullptr;  // null: the record
    Form form = Form::kStruct;     // the shape's, at hand
    bool parser_only = false;
    bool not_null = false;
    size_t target = kNone;      // in targets_; kNone: only checked
    std::vector<size_t> below;  // targets of it and of all that is in it
    // Of a struct:
    std::vector<std::string> field_names;
    std::vector<Node> fields;
    uint64_t wanted = 0;  // fields that must not be left out, or are NULL then
    std::vector<Name> names;
    size_t first = 0;  // the name that stood first the last time
  };
  /// A vector of the chunk.
  struct Target {
    size_t column = 0;
    duckdb::Vector* vector = nullptr;
    duckdb::data_ptr_t data = nullptr;
    duckdb::ValidityMask* validity = nullptr;
    bool alone = false;  // nothing but the mask tells of a NULL

    template <typename T>
    void put(size_t row, T value) const {
      reinterpret_cast<T*>(data)[row] = value;
      if (!validity->AllValid()) validity->SetValid(row);
    }
  };

  Node make_node(const Shape& shape);
  void add_asked(Node& node, const JsonReader::Asked& asked);
  void finish(Node& node);
  static void add_name(Node& node, std::string_view name, size_t field);

  // Each gets where in the record it begins, and gives where it ended; null: not plain. So the
  // place stays in a register.
  const char* read_object(Node& node, const char* at, size_t row);
  const char* read_fields(Node& node, const char* at, size_t row, uint64_t& seen);
  const char* read_value(Node& node, const char* at, size_t row);
  const char* read_integer(const Node& node, const char* at, size_t row);
  const char* read_real(const Node& node, const char* at, size_t row);
  const char* read_bool(const Node& node, const char* at, size_t row);
  const char* read_text(const Node& node, const char* at, size_t row);
  const char* read_json(const Node& node, const char* at, size_t row);
  const char* read_null(const Node& node, const char* at, size_t row);
  bool put_nulls(const Node& node, size_t row);
  template <typename T>
  bool put_whole(const Node& node, size_t row, int64_t value);

  /// The name that follows the brace or comma at `at`; gives where its value begins. `likely` is
  /// where it mostly stands among the node's, and is set to where it does.
  const char* take_name(Node& node, const char* at, size_t& likely, const Name*& name);
  const char* find_name_at(Node& node, const char* at, size_t& likely, const Name*& name);
  const char* learn_name(Node& node, const char* at, const Name*& name);
  /// Begins behind the quote.
  const char* take_string(const char* at, std::string_view* text) const;
  const char* take_integer(const char* at, int64_t* number) const;
  const char* take_number(const char* at, std::string_view* token) const;
  const char* skip_value(const char* at, int depth) const;
  const char* skip_space(const char* at) const;

  Node record_;
  std::vector<Target> targets_;
  JsonValues values_;          // for types that are rarer
  const char* end_ = nullptr;  // of the record that is being read
  // After records that were not plain, this many are not tried.
  size_t pause_ = 0, pause_next_ = 1;
  Name unlearned_;
};

}  // namespace millrace::sql
