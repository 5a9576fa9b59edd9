#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "catalog/catalog.h"

namespace millrace::flow {

/// What a sink's query changed in one epoch, as the records of its topic. The same epoch gives the
/// same records in the same order, always. docs/dataflow.md has the formats.
class SinkWriter {
 public:
  /// A row of the changelog, as its JSON, and how often it comes (+) or goes (-).
  struct Row {
    std::string json;
    int64_t weight = 0;
  };
  struct Record {
    std::optional<std::string> key;
    std::optional<std::string> value;  // none: a tombstone
  };

  /// Errors: kInvalidConfig.
  static Result<SinkWriter> make(const catalog::Object& sink);
  /// Errors: kUniqueViolation, when rows share a key; kCorruptRecord.
  Result<std::vector<Record>> write(const std::vector<Row>& rows, int64_t clock_ms) const;

 private:
  enum class Format { kPlain, kUpsert, kDebezium };
  struct KeyColumn {
    size_t index;
    std::string json_name;  // "name":
  };
  /// What one key had and has, in an epoch.
  struct Change {
    std::string key;
    std::optional<std::string_view> before;
    std::optional<std::string_view> after;
  };

  Result<std::string> key_of(std::string_view row) const;
  Result<std::vector<Change>> by_key(const std::vector<Row>& rows) const;

  std::string name_;
  Format format_ = Format::kPlain;
  std::vector<KeyColumn> key_;
};

/// The values of a JSON object that JsonWriter wrote, in order, as they stand in it. Errors:
/// kCorruptRecord.
Result<std::vector<std::string_view>> values_of(std::string_view object);

}  // namespace millrace::flow
