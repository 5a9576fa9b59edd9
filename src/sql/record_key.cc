#include "sql/record_key.h"

#include <fmt/format.h>

#include "sql/detail/json_shape.h"
#include "sql/detail/json_values.h"

namespace millrace::sql {
namespace {

class Reader final : public RecordKeyReader {
 public:
  explicit Reader(std::vector<Shape> shapes) : shapes_(std::move(shapes)) {}

  Result<> read(std::string_view key, duckdb::DataChunk& out, size_t row) override {
    padded_.assign(key);
    padded_.resize(key.size() + simdjson::SIMDJSON_PADDING);
    json::document document;
    json::array array;
    if (parser_.iterate(padded_.data(), key.size(), padded_.size()).get(document) !=
            simdjson::SUCCESS ||
        document.get_array().get(array) != simdjson::SUCCESS)
      return refuse("not a JSON array");
    size_t count = 0;
    for (auto element : array) {
      json::value value;
      if (element.get(value) != simdjson::SUCCESS) return refuse("not valid JSON");
      if (count < shapes_.size() && !values_.read(shapes_[count], value, out.data[count], row))
        return refuse(fmt::format("value {}{}", count + 1, values_.reason));
      ++count;
    }
    const char* rest = nullptr;
    if (document.current_location().get(rest) == simdjson::SUCCESS)
      return refuse("something follows the array");
    if (count != shapes_.size())
      return refuse(fmt::format("{} values, the primary key has {}", count, shapes_.size()));
    return {};
  }

 private:
  static Error refuse(const std::string& why) {
    return Error{ErrorCode::kInvalidRecord, "the record's key: " + why};
  }

  std::vector<Shape> shapes_;
  JsonValues values_;
  simdjson::ondemand::parser parser_;
  std::string padded_;
};

}  // namespace

Result<std::unique_ptr<RecordKeyReader>> RecordKeyReader::make(
    std::vector<duckdb::LogicalType> types) {
  std::vector<Shape> shapes;
  for (const auto& type : types) {
    MR_TRY(Shape shape, shape_of(type));
    shapes.push_back(std::move(shape));
  }
  return std::unique_ptr<RecordKeyReader>(std::make_unique<Reader>(std::move(shapes)));
}

}  // namespace millrace::sql
