#include "flow/detail/changelog.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

namespace millrace::flow {

namespace json = boost::json;

namespace {

constexpr std::string_view kEpochHeader = "epoch";
constexpr std::string_view kWeightHeader = "weight";
// Well below max.message.bytes, and large enough that a batch's head does not matter.
constexpr size_t kBatchBytes = 256u << 10;

void write_epoch(const EpochInputs& at, std::string& out) {
  fmt::format_to(std::back_inserter(out), R"("epoch":{},"clock":{},"inputs":{{)", at.epoch.number,
                 at.epoch.clock_us);
  bool first_topic = true;
  for (const auto& [topic, ranges] : at.inputs) {
    // Topic names hold letters, digits, '.', '_' and '-' alone: nothing to escape.
    fmt::format_to(std::back_inserter(out), R"({}"{}":[)", first_topic ? "" : ",", topic);
    first_topic = false;
    for (size_t i = 0; i < ranges.size(); ++i)
      fmt::format_to(std::back_inserter(out), "{}[{},{},{}]", i == 0 ? "" : ",",
                     ranges[i].partition, ranges[i].from, ranges[i].until);
    out += ']';
  }
  out += '}';
  for (bool first = true; const auto& [topic, time_us] : at.watermarks) {
    fmt::format_to(std::back_inserter(out), R"({}"{}":{})", first ? R"(,"watermarks":{)" : ",",
                   topic, time_us);
    first = false;
  }
  if (!at.watermarks.empty()) out += '}';
}

void write_aside(std::string_view member, const std::vector<FailedRow>& rows, std::string& out) {
  if (rows.empty()) return;
  json::array list;
  for (const auto& row : rows) {
    list.push_back(json::array{row.reason, row.json});
    if (row.weight != 1) list.back().as_array().push_back(row.weight);
  }
  out += fmt::format(R"(,"{}":{})", member, json::serialize(list));
}

std::vector<FailedRow> read_aside(const json::object& object, std::string_view member) {
  std::vector<FailedRow> rows;
  const auto* list = object.if_contains(member);
  if (!list) return rows;
  for (const auto& each : list->as_array()) {
    const auto& row = each.as_array();
    rows.push_back({std::string(row.at(0).as_string()), std::string(row.at(1).as_string()),
                    row.size() > 2 ? row.at(2).to_number<int64_t>() : 1});
  }
  return rows;
}

/// Throws what boost::json throws when a member is missing or of another type.
EpochInputs read_epoch(const json::object& object) {
  EpochInputs at;
  at.epoch.number = object.at("epoch").to_number<uint64_t>();
  at.epoch.clock_us = object.at("clock").to_number<int64_t>();
  for (const auto& [topic, ranges] : object.at("inputs").as_object()) {
    auto& out = at.inputs[std::string(topic)];
    for (const auto& range : ranges.as_array()) {
      const auto& numbers = range.as_array();
      out.push_back({numbers.at(0).to_number<int32_t>(), numbers.at(1).to_number<Offset>(),
                     numbers.at(2).to_number<Offset>()});
    }
  }
  if (const auto* watermarks = object.if_contains("watermarks"))
    for (const auto& [topic, time_us] : watermarks->as_object())
      at.watermarks[std::string(topic)] = time_us.to_number<int64_t>();
  return at;
}

}  // namespace

std::string Commit::to_json() const {
  MR_CHECK(!epochs.empty());
  std::string out = "{";
  write_epoch(epochs.back(), out);
  if (epochs.size() > 1) {
    out += R"(,"before":[)";
    for (size_t i = 0; i + 1 < epochs.size(); ++i) {
      out += i == 0 ? "{" : ",{";
      write_epoch(epochs[i], out);
      out += '}';
    }
    out += ']';
  }
  if (shares > 1) fmt::format_to(std::back_inserter(out), R"(,"shares":{})", shares);
  write_aside("failed", failed, out);
  write_aside("late", late, out);
  out += '}';
  return out;
}

Result<Commit> Commit::parse(std::string_view text) {
  try {
    const json::value parsed = json::parse(json::string_view(text.data(), text.size()));
    const auto& object = parsed.as_object();
    Commit commit;
    if (const auto* before = object.if_contains("before"))
      for (const auto& epoch : before->as_array())
        commit.epochs.push_back(read_epoch(epoch.as_object()));
    commit.epochs.push_back(read_epoch(object));
    if (const auto* shares = object.if_contains("shares"))
      commit.shares = std::max<size_t>(shares->to_number<size_t>(), 1);
    commit.failed = read_aside(object, "failed");
    commit.late = read_aside(object, "late");
    return commit;
  } catch (const std::exception& e) {
    return Error{ErrorCode::kCorruptRecord, fmt::format("not a commit record: {}", e.what())};
  }
}

bool is_commit(const log::RecordView& record) {
  return std::ranges::any_of(record.headers, [](const auto& h) { return h.key == kEpochHeader; });
}

Result<int64_t> weight_of(const log::RecordView& record) {
  for (const auto& header : record.headers) {
    if (header.key != kWeightHeader) continue;
    const std::string_view text = header.value.value_or("");
    int64_t weight = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), weight);
    if (failed != std::errc() || end != text.data() + text.size() || weight == 0)
      return Error{ErrorCode::kCorruptRecord,
                   fmt::format("record {} has the weight '{}'", record.offset, text)};
    return weight;
  }
  return 1;
}

Result<std::unique_ptr<ChangelogWriter>> ChangelogWriter::make(
    std::vector<std::string> names, std::vector<duckdb::LogicalType> types) {
  MR_TRY(auto json, sql::JsonWriter::make(std::move(names), std::move(types)));
  return std::unique_ptr<ChangelogWriter>(new ChangelogWriter(std::move(json)));
}

std::string ChangelogWriter::write(const DeltaStream& rows, const Commit& commit, size_t* records) {
  std::string bytes;
  const auto& epoch = commit.epochs.back().epoch;
  const TimestampMs timestamp = epoch.clock_us / 1000;
  for (const auto& delta : rows.chunks) {
    duckdb::DataChunk chunk;  // its own references: the writer may look at them as it likes
    chunk.InitializeEmpty(delta->rows.GetTypes());
    chunk.Reference(const_cast<duckdb::DataChunk&>(delta->rows));
    json_->begin(chunk);
    for (size_t row = 0; row < delta->weights.size(); ++row) {
      row_.clear();
      json_->write(row, row_);
      add_row(timestamp, delta->weights[row]);
      if (batch_.bytes() >= kBatchBytes) close_batch(bytes);
    }
  }
  *records = rows.row_count() + 1;
  const std::string number = std::to_string(epoch.number);
  batch_.add(timestamp, std::nullopt, commit.to_json(), {{kEpochHeader, number}});
  close_batch(bytes);
  return bytes;
}

void ChangelogWriter::add_row(TimestampMs timestamp, int64_t weight) {
  if (weight == 1) return batch_.add(timestamp, std::nullopt, row_);
  const std::string text = std::to_string(weight);
  batch_.add(timestamp, std::nullopt, row_, {{kWeightHeader, text}});
}

void ChangelogWriter::close_batch(std::string& bytes) { bytes += batch_.finish(); }

}  // namespace millrace::flow
