#include "flow/detail/view_letters.h"

#include <fmt/format.h>

#include <charconv>

#include "broker/dead_letter.h"
#include "catalog/sink.h"
#include "flow/detail/place.h"

namespace millrace::flow {

namespace {

constexpr size_t kReadBytes = 1u << 20;
constexpr size_t kBatchBytes = 256u << 10;
constexpr const char* kLateMessageBytes = "67108864";  // a row is as large as a changelog takes it

}  // namespace

ViewLetters::ViewLetters(broker::Broker& broker, const catalog::Object& view,
                         std::shared_ptr<broker::Partition> changelog, Kind kind)
    : broker_(broker),
      kind_(kind),
      view_(catalog::shown_name(view)),
      topic_(kind == Kind::kLate ? view_ + ".late" : broker::dead_letter_topic(view_)),
      changelog_id_(catalog::changelog_id(view)),
      changelog_(std::move(changelog)) {}

Result<> ViewLetters::prepare() {
  if (letters_) return {};
  auto& shard = changelog_->shard();
  if (kind_ == Kind::kFailed) {
    auto view = std::make_shared<broker::Topic>();
    view->object.name = view_;
    MR_TRY(letters_, shard.block_on(broker::open_dead_letters(broker_, std::move(view))));
    return {};
  }
  auto topic = broker_.find(topic_);
  if (!topic) {
    catalog::Object object;
    object.name = topic_;
    object.options["max.message.bytes"] = kLateMessageBytes;
    MR_TRY(topic, shard.block_on(broker_.create(std::move(object), false, false)));
  }
  letters_ = topic->partitions.at(0);
  return {};
}

Result<> ViewLetters::recover() {
  if (!broker_.find(topic_)) return {};  // it was made before the first commit that needed it
  MR_TRY(prepare());
  Offset at = changelog_->start_offset();
  TimestampMs begun = 0;  // letters that are older are of a view that had this name before
  MR_TRY(const auto start, read_log(*changelog_, at, 1));
  MR_TRY(log::for_each_record(start.batches, false, [&](const log::RecordView& record) {
    if (record.offset == at) begun = record.timestamp;
  }));
  MR_TRY(const auto last, last_place(*letters_, changelog_id_, begun));
  last_ = last.value_or(Place{});
  at = std::max(last_.at, at);
  while (at < changelog_->high_watermark()) {
    MR_TRY(const auto read, read_log(*changelog_, at, kReadBytes));
    Result<> outcome;
    MR_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (record.offset < at || !outcome || !is_commit(record)) return;
      auto commit = Commit::parse(record.value.value_or(""));
      if (!commit)
        outcome = std::move(commit).error();
      else
        outcome = write(record.offset, record.timestamp,
                        kind_ == Kind::kLate ? commit->late : commit->failed);
    }));
    MR_TRY(std::move(outcome));
    if (read.next_offset <= at) break;
    at = read.next_offset;
  }
  return {};
}

Result<> ViewLetters::write(Offset commit, TimestampMs clock,
                            const std::vector<FailedRow>& failed) {
  if (commit < last_.at) return {};
  size_t next = commit == last_.at ? last_.index + 1 : 0;
  if (next >= failed.size()) return {};
  MR_TRY(prepare());
  std::string bytes;
  log::BatchBuilder batch;
  for (; next < failed.size(); ++next) {
    const auto& row = failed[next];
    const auto place = place_text(changelog_id_, {commit, next});
    const auto weight = std::to_string(row.weight);
    std::vector<log::Header> headers = {{kind_ == Kind::kLate ? "watermark" : "reason", row.reason},
                                        {"view", view_},
                                        {kPlaceHeader, place}};
    if (row.weight != 1) headers.push_back({"weight", weight});
    batch.add(clock, std::nullopt, row.json, headers);
    if (batch.bytes() >= kBatchBytes) bytes += batch.finish();
  }
  if (batch.count() > 0) bytes += batch.finish();
  MR_TRY(letters_->shard().block_on(letters_->append(std::move(bytes), log::Ack::kDurable)));
  last_ = {commit, failed.size() - 1};
  return {};
}

}  // namespace millrace::flow
