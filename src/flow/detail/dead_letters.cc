#include "flow/detail/dead_letters.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <set>

#include "base/logging.h"
#include "broker/dead_letter.h"
#include "log/record_batch.h"

namespace millrace::flow {

namespace json = boost::json;

namespace {

constexpr auto kLookAgain = std::chrono::seconds(1);
constexpr auto kSaveEvery = std::chrono::seconds(10);
constexpr Offset kOffsetsATime = 32'768;
constexpr size_t kBatchBytes = 256u << 10;

bool keeps_letters(const catalog::Object& object) {
  if (object.kind != catalog::Kind::kTopic || object.columns.empty() ||
      broker::is_dead_letter_topic(object.name))
    return false;
  const auto options = broker::effective_options(object);
  const auto found = options.find("on_error");
  return found == options.end() || found->second == "dead_letter";
}

std::optional<int64_t> number(const log::RecordView& letter, std::string_view header) {
  for (const auto& h : letter.headers) {
    if (h.key != header || !h.value) continue;
    int64_t out = 0;
    const auto* end = h.value->data() + h.value->size();
    const auto [stop, failed] = std::from_chars(h.value->data(), end, out);
    if (failed == std::errc() && stop == end) return out;
  }
  return std::nullopt;
}

/// Letters of share groups say nothing of what was decoded.
bool is_of(const log::RecordView& letter, std::string_view topic) {
  const auto has = [&](std::string_view key, std::optional<std::string_view> value) {
    return std::ranges::any_of(letter.headers, [&](const auto& h) {
      return h.key == key && (!value || h.value == *value);
    });
  };
  return has("topic", topic) && !has("group", std::nullopt);
}

}  // namespace

// ---- marks

Result<> LettersMarks::load() {
  if (!files_.exists(path_)) return {};
  MR_TRY(const auto text, files_.read_file(path_));
  std::lock_guard lock(mutex_);
  try {
    const auto parsed = json::parse(text);
    for (const auto& [name, value] : parsed.as_object()) {
      LettersMark mark;
      const auto& id = value.at("id").as_string();
      MR_TRY(mark.topic, Uuid::parse(std::string_view(id.data(), id.size())));
      mark.letters = value.at("letters").to_number<Offset>();
      for (const auto& position : value.at("positions").as_array())
        mark.positions.push_back(position.to_number<Offset>());
      marks_[std::string(name)] = std::move(mark);
    }
  } catch (const std::exception& e) {
    return Error{ErrorCode::kCorruptRecord, fmt::format("{}: {}", path_, e.what())};
  }
  return {};
}

std::optional<LettersMark> LettersMarks::find(const std::string& topic) const {
  std::lock_guard lock(mutex_);
  const auto found = marks_.find(topic);
  return found == marks_.end() ? std::nullopt : std::optional(found->second);
}

void LettersMarks::put(const std::string& topic, LettersMark mark) {
  std::lock_guard lock(mutex_);
  auto& known = marks_[topic];
  changed_ = changed_ || known.topic != mark.topic || known.positions != mark.positions ||
             known.letters != mark.letters;
  known = std::move(mark);
}

void LettersMarks::erase(const std::string& topic) {
  std::lock_guard lock(mutex_);
  changed_ = marks_.erase(topic) > 0 || changed_;
}

Result<> LettersMarks::save() {
  std::lock_guard lock(mutex_);
  if (!changed_) return {};
  json::object all;
  for (const auto& [name, mark] : marks_) {
    json::array positions;
    for (const Offset position : mark.positions) positions.emplace_back(position);
    all[name] = json::object{{"id", mark.topic.to_string()},
                             {"letters", mark.letters},
                             {"positions", std::move(positions)}};
  }
  const std::string text = json::serialize(all);
  MR_TRY(files_.replace_file(path_, text));
  changed_ = false;
  return {};
}

// ---- one topic

TopicLetters::TopicLetters(io::Env& env, broker::Broker& broker, std::shared_ptr<Source> source,
                           LettersMarks& marks)
    : env_(env),
      broker_(broker),
      source_(std::move(source)),
      marks_(marks),
      name_(broker::dead_letter_topic(source_->object().name)) {}

TopicLetters::~TopicLetters() {
  if (reader_) source_->unsubscribe(reader_);
}

std::optional<Clock::time_point> TopicLetters::run() {
  const auto failed = [&](const Error& error) {
    logging::warn("bad records cannot be kept, trying again",
                  {{"topic", source_->object().name}, {"reason", error.text}});
    return Clock::now() + kLookAgain;
  };
  if (!opened_) {
    if (auto opened = open(); !opened) return failed(opened.error());
  }
  auto more = look();
  if (!more) return failed(more.error());
  return *more ? std::optional(Clock::now()) : std::nullopt;
}

Result<> TopicLetters::open() {
  if (!reader_) {
    MR_TRY(reader_, source_->subscribe({}));
  }
  positions_.assign(source_->topic().partitions.size(), 0);
  const auto mark = marks_.find(source_->object().name);
  marked_ = mark && mark->topic == source_->object().id;
  if (marked_) MR_TRY(recover(*mark));
  // Or what others decode is kept for this reader until something new comes.
  for (size_t p = 0; p < positions_.size(); ++p)
    source_->advance(*reader_, static_cast<int32_t>(p), positions_[p]);
  opened_ = true;
  return {};
}

Result<> TopicLetters::recover(const LettersMark& mark) {
  for (size_t p = 0; p < std::min(positions_.size(), mark.positions.size()); ++p)
    positions_[p] = mark.positions[p];
  const auto topic = broker_.find(name_);
  if (!topic) return {};
  const auto& log = topic->partitions.at(0);
  Offset at = mark.letters > log->high_watermark() ? 0 : mark.letters;
  at = std::max(at, log->start_offset());
  while (at < log->high_watermark()) {
    MR_TRY(const auto read, log->shard().block_on(log->read(at, 1u << 20)));
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& letter) {
      if (!is_of(letter, source_->object().name)) return;
      const auto partition = number(letter, "partition");
      const auto offset = number(letter, "offset");
      if (!partition || !offset || static_cast<uint64_t>(*partition) >= positions_.size()) return;
      positions_[*partition] = std::max(positions_[*partition], *offset + 1);
    }));
    if (read.next_offset <= at) break;
    at = read.next_offset;
  }
  return {};
}

Result<bool> TopicLetters::look() {
  const auto& partitions = source_->topic().partitions;
  std::vector<std::pair<int32_t, const sql::BadRecord*>> bad;
  std::vector<Source::Cursor> cursors;
  bool more = false;
  for (size_t p = 0; p < partitions.size(); ++p) {
    const Offset from = std::max(positions_[p], partitions[p]->start_offset());
    const Offset end = partitions[p]->last_stable_offset();
    const Offset until = std::min(end, from + kOffsetsATime);
    if (until <= from) continue;
    more = more || until < end;
    cursors.push_back({static_cast<int32_t>(p), from, until, {}});
  }
  for (auto& cursor : cursors) {
    const Offset from = cursor.at;
    MR_TRY(source_->read(cursor, true));
    for (const auto& span : cursor.spans)
      for (const auto& record : span.piece->bad)
        if (record.offset >= from && record.offset < cursor.until)
          bad.emplace_back(cursor.partition, &record);
  }
  if (!bad.empty()) MR_TRY(write(bad));
  for (const auto& cursor : cursors) {
    positions_[cursor.partition] = cursor.until;
    source_->advance(*reader_, cursor.partition, cursor.until);
  }
  if (!cursors.empty()) mark();
  return more;
}

Result<> TopicLetters::write(const Bad& bad) {
  const auto topic = broker_.find(source_->object().name);
  if (!topic) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("topic \"{}\" was dropped", source_->object().name)};
  }
  auto& shard = topic->partitions.at(0)->shard();
  MR_TRY(const auto log, shard.block_on(broker::open_dead_letters(broker_, topic)));
  if (!marked_) {
    // From here on a restart knows which letters are this topic's, not those of one that had its
    // name before.
    marks_.put(source_->object().name, {source_->object().id, log->high_watermark(), positions_});
    MR_TRY(marks_.save());
    marked_ = true;
  }
  MR_TRY(log->shard().block_on(log->append(build(bad), log::Ack::kDurable)));
  return {};
}

TopicLetters::Headers TopicLetters::headers_of(const Bad& bad) const {
  Headers found;
  for (size_t i = 0; i < bad.size();) {
    const auto [index, first] = bad[i];
    auto& partition = *source_->topic().partitions.at(static_cast<size_t>(index));
    // One that is gone meanwhile is set aside without its headers.
    const auto read = partition.shard().block_on(partition.read(first->offset, kBatchBytes));
    const Offset until = read ? read->next_offset : 0;
    std::set<Offset> wanted;
    do {
      wanted.insert(bad[i].second->offset);
      ++i;
    } while (i < bad.size() && bad[i].first == index && bad[i].second->offset < until);
    if (!read) continue;
    const auto walked = log::for_each_record(
        read->batches, true, [&, partition_index = index](const log::RecordView& record) {
          if (!wanted.contains(record.offset)) return;
          auto& kept = found[{partition_index, record.offset}];
          for (const auto& header : record.headers) {
            std::optional<std::string> value;
            if (header.value) value.emplace(*header.value);
            kept.emplace_back(header.key, std::move(value));
          }
        });
    if (!walked)
      logging::warn("headers of bad records are lost", {{"reason", walked.error().text}});
  }
  return found;
}

std::string TopicLetters::build(const Bad& bad) const {
  std::string bytes;
  log::BatchBuilder batch;
  const TimestampMs now = env_.now_ms();
  const Headers headers = headers_of(bad);
  for (const auto& [partition, record] : bad) {
    log::RecordView view;
    view.offset = record->offset;
    view.timestamp = record->timestamp;
    view.key = record->key;
    view.value = record->value;
    if (const auto own = headers.find({partition, record->offset}); own != headers.end()) {
      for (const auto& [key, value] : own->second) view.headers.push_back({key, value});
    }
    broker::add_dead_letter(
        batch, now,
        {.reason = record->reason, .topic = source_->object().name, .partition = partition}, view);
    if (batch.bytes() >= kBatchBytes) bytes += batch.finish();
  }
  if (batch.count() > 0) bytes += batch.finish();
  return bytes;
}

void TopicLetters::mark() {
  const auto log = broker_.find(name_);
  const Offset end = log ? log->partitions.at(0)->high_watermark() : 0;
  marks_.put(source_->object().name, {source_->object().id, end, positions_});
}

// ---- all topics

DeadLetters::DeadLetters(io::Env& env, broker::Broker& broker, SourceRegistry& sources,
                         std::shared_ptr<Lanes> lanes)
    : env_(env),
      broker_(broker),
      sources_(sources),
      lanes_(lanes),
      marks_(env.files(),
             (std::filesystem::path(broker.options().path).parent_path() / "dead_letters.json")
                 .string()) {}

std::optional<Clock::time_point> DeadLetters::run() {
  if (!loaded_) {
    if (auto loaded = marks_.load(); !loaded)
      logging::error("marks of dead letters cannot be read; letters may be written twice",
                     {{"reason", loaded.error().text}});
    loaded_ = true;
  }
  std::map<std::string, std::shared_ptr<const broker::Topic>> wanted;
  for (const auto& topic : broker_.list())
    if (keeps_letters(topic->object)) wanted.emplace(topic->object.name, topic);
  for (auto at = topics_.begin(); at != topics_.end();) {
    const auto& [name, letters] = *at++;
    const auto found = wanted.find(name);
    if (found == wanted.end() || !is_same(*found->second, letters->topic()))
      remove(std::string(name));
  }
  for (const auto& [name, topic] : wanted)
    if (!topics_.contains(name)) add(topic);
  if (Clock::now() >= saved_ + kSaveEvery) save();
  return Clock::now() + kLookAgain;
}

void DeadLetters::add(const std::shared_ptr<const broker::Topic>& topic) {
  auto source = sources_.get(topic->object.name);
  if (!source) {
    if (!refused_.insert(topic->object.id).second) return;
    logging::warn("a topic cannot be decoded",
                  {{"topic", topic->object.name}, {"reason", source.error().text}});
    return;
  }
  auto letters = std::make_shared<TopicLetters>(env_, broker_, *source, marks_);
  topics_[topic->object.name] = letters;
  const std::weak_ptr<TopicLetters> job = letters;
  for (const auto& partition : topic->partitions)
    partition->on_advance("dead letters", [job, lanes = lanes_] {
      const auto alive = job.lock();
      const auto running = lanes.lock();
      if (alive && running) running->wake(alive);
    });
}

void DeadLetters::remove(const std::string& topic) {
  const auto found = topics_.find(topic);
  const auto letters = found->second;
  for (const auto& partition : letters->topic().partitions)
    partition->on_advance("dead letters", nullptr);
  if (const auto lanes = lanes_.lock()) lanes->remove(letters);
  topics_.erase(found);
}

void DeadLetters::save() {
  saved_ = Clock::now();
  if (auto saved = marks_.save(); !saved)
    logging::warn("marks of dead letters cannot be written", {{"reason", saved.error().text}});
}

void DeadLetters::stop() {
  save();
  for (const auto& [name, letters] : topics_)
    for (const auto& partition : letters->topic().partitions)
      partition->on_advance("dead letters", nullptr);
  topics_.clear();
}

}  // namespace millrace::flow
