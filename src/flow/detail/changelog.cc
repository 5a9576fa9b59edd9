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
// Rows that another thread is asked to write, and how many such runs an epoch is cut into.
constexpr size_t kRunRows = 2048;
constexpr size_t kRunsMax = 8;

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
  // Chunks may share the inner vectors of nested values, which reading may change.
  const bool nested = std::ranges::any_of(types, [](const auto& type) { return type.IsNested(); });
  std::vector<Encoder> encoders;
  for (size_t i = 0; i < (nested ? 1 : kRunsMax); ++i) {
    MR_TRY(auto json, sql::JsonWriter::make(names, types));
    encoders.emplace_back().json = std::move(json);
  }
  return std::unique_ptr<ChangelogWriter>(new ChangelogWriter(std::move(encoders)));
}

std::string ChangelogWriter::write(const DeltaStream& rows, const Commit& commit, size_t* records,
                                   Parallel* parallel) {
  const auto& epoch = commit.epochs.back().epoch;
  const TimestampMs timestamp = epoch.clock_us / 1000;
  const size_t count = rows.row_count();
  const size_t runs = parallel ? std::clamp<size_t>(count / kRunRows, 1, encoders_.size()) : 1;
  const size_t chunks = rows.chunks.size();
  const auto write_run = [&](size_t run) -> Result<> {
    auto& encoder = encoders_[run];
    encoder.bytes.clear();
    // Growing step by step would cost as much as writing; the first takes in the others' bytes.
    encoder.bytes.reserve((count / (run == 0 ? 1 : runs) + 1) * (row_bytes_ + row_bytes_ / 8));
    for (size_t i = chunks * run / runs; i < chunks * (run + 1) / runs; ++i)
      encoder.add(*rows.chunks[i], timestamp);
    if (run + 1 < runs && encoder.batch.count() > 0) encoder.batch.finish(encoder.bytes);
    return {};
  };
  MR_CHECK(for_each_piece(parallel, runs, write_run).has_value());
  *records = count + 1;
  auto& last = encoders_[runs - 1];
  const std::string number = std::to_string(epoch.number);
  last.batch.add(last.bytes, timestamp, commit.to_json(), {{kEpochHeader, number}});
  last.batch.finish(last.bytes);
  std::string bytes = std::move(encoders_[0].bytes);
  size_t total = bytes.size();
  for (size_t run = 1; run < runs; ++run) total += encoders_[run].bytes.size();
  bytes.reserve(total);
  for (size_t run = 1; run < runs; ++run) bytes += encoders_[run].bytes;
  row_bytes_ = bytes.size() / *records;
  return bytes;
}

void ChangelogWriter::Encoder::add(const Delta& delta, TimestampMs timestamp) {
  duckdb::DataChunk chunk;  // its own references: the writer may look at them as it likes
  chunk.InitializeEmpty(delta.rows.GetTypes());
  chunk.Reference(const_cast<duckdb::DataChunk&>(delta.rows));
  json->begin(chunk);
  for (size_t i = 0; i < delta.weights.size(); ++i) {
    row.clear();
    json->write(i, row);
    if (const int64_t weight = delta.weights[i]; weight == 1) {
      batch.add(bytes, timestamp, row);
    } else {
      const std::string text = std::to_string(weight);
      batch.add(bytes, timestamp, row, {{kWeightHeader, text}});
    }
    if (batch.bytes(bytes) >= kBatchBytes) batch.finish(bytes);
  }
}

}  // namespace millrace::flow
