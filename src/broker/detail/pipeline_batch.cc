#include "broker/detail/pipeline_batch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <ranges>

#include "broker/dead_letter.h"
#include "log/partitioner.h"
#include "log/remake.h"

namespace millrace::broker::detail {

namespace {

using OnError = catalog::Transform::OnError;

/// A guest is called with so many records at the most; fewer, where they are large.
constexpr size_t kCallRecords = 4096;
constexpr size_t kCallBytes = 1 << 20;
constexpr size_t kBatchBytes = 256 << 10;
/// More than a record's own lengths and varints take.
constexpr size_t kRecordOverhead = 128;

/// Records from any number of batches, for one call of the guests.
class Call {
 public:
  struct Origin {
    size_t input;
    const log::RecordView* record;
  };

  explicit Call(const PipelineTerms& terms) : terms_(terms) {}

  void add(size_t input, const log::RecordView& record) {
    const bool told = terms_.inputs.size() > 1;
    auto& headers = headers_.emplace_back();
    headers.reserve(record.headers.size() + (told ? 1 : 0));
    for (const auto& header : record.headers) {
      // These are the host's and the guest's to say, not a producer's.
      if (is_hosts_header(header.key)) continue;
      headers.push_back({header.key, header.value});
    }
    if (told) headers.push_back({kInputHeader, terms_.inputs[input]});
    records_.push_back({.timestamp = record.timestamp,
                        .offset = record.offset,
                        .key = record.key,
                        .value = record.value,
                        .headers = headers});
    origins_.push_back({input, &record});
    bytes_ += record.key.value_or("").size() + record.value.value_or("").size();
  }
  /// Holds what the records are views into.
  void hold(log::BatchContents contents) {
    held_bytes_ += contents.bytes().size();
    held_.push_back(std::move(contents));
  }
  bool holds_much() const { return held_bytes_ >= kCallBytes; }
  bool full() const { return records_.size() >= kCallRecords || bytes_ >= kCallBytes; }
  std::span<const wasm::RecordView> records() const { return records_; }
  const Origin& origin(size_t i) const { return origins_[i]; }
  /// Forgets the records; what is held stays until the last of it is sent.
  void clear_records() {
    records_.clear();
    origins_.clear();
    headers_.clear();
    bytes_ = 0;
  }
  void clear_held() {
    MR_CHECK(records_.empty());
    held_.clear();
    held_bytes_ = 0;
  }

 private:
  const PipelineTerms& terms_;
  std::deque<log::BatchContents> held_;
  size_t held_bytes_ = 0;
  std::deque<std::vector<wasm::HeaderView>> headers_;  // spans into them are given out
  std::vector<wasm::RecordView> records_;
  std::vector<Origin> origins_;
  size_t bytes_ = 0;
};

/// Batches of one partition of one output.
struct Writing {
  log::BatchBuilder batch;
  std::string done;
};

class Work {
 public:
  Work(wasm::Chain& chain, const PipelineTerms& terms, PipelineState& state, TimestampMs now)
      : chain_(chain), terms_(terms), state_(state), now_(now), call_(terms) {}

  PipelineResult run(const std::vector<PipelineInput>& inputs) {
    for (const auto& input : inputs) {
      if (const auto taken = take(input); !taken && !result_.error) result_.error = taken.error();
      if (result_.error) return std::move(result_);
    }
    send();
    for (auto& [at, writing] : outputs_) {
      if (writing.batch.count() > 0) writing.done += writing.batch.finish();
      if (!writing.done.empty()) result_.outputs[at] = std::move(writing.done);
    }
    for (auto& [input, writing] : letters_) {
      if (writing.batch.count() > 0) writing.done += writing.batch.finish();
      result_.letters[input] = std::move(writing.done);
    }
    return std::move(result_);
  }

 private:
  Result<> take(const PipelineInput& input) {
    std::string_view rest = input.batches;
    while (const auto header = log::parse_batch_header(rest)) {
      if (header->total_bytes() > rest.size()) break;
      const auto batch = rest.substr(0, header->total_bytes());
      rest.remove_prefix(batch.size());
      if (header->control() || header->record_count == 0) continue;
      MR_TRY(auto contents, log::BatchContents::open(batch, input.inflated_bytes_max));
      const auto& records = contents.records();  // it stays where it is when `contents` moves
      call_.hold(std::move(contents));
      for (const auto& record : records) {
        if (record.offset < input.from) continue;
        ++result_.records_in;
        if (terms_.stateful && !record.key) {
          fail({input.input, &record}, "it has no key, which an aggregate needs");
        } else {
          call_.add(input.input, record);
        }
        if (call_.full()) send();
        if (result_.error) return {};
      }
      if (call_.holds_much()) send();
      if (result_.error) return {};
      if (call_.records().empty()) call_.clear_held();
    }
    return {};
  }

  /// Sends what is gathered.
  void send() {
    if (result_.error || call_.records().empty()) return;
    send(0, call_.records().size());
    call_.clear_records();
  }

  void send(size_t first, size_t count) {
    if (paused()) return;
    {
      const auto records = call_.records().subspan(first, count);
      auto output = chain_.apply({.records = records}, terms_.stateful ? &state_ : nullptr);
      if (output) return take_output(*output, first);
      if (output.error().code != ErrorCode::kGuestFailed) {
        result_.error = std::move(output).error();
        return;
      }
      if (paused()) return;
      if (count == 1) return fail(call_.origin(first), output.error().text);
    }
    send(first, count / 2);
    if (!result_.error) send(first + count / 2, count - count / 2);
  }

  /// A module that has failed too often fails for every record now: none of them is to be lost.
  bool paused() {
    for (const auto& step : chain_.options().steps) {
      if (!step.module->paused()) continue;
      result_.error = Error{
          ErrorCode::kGuestFailed,
          fmt::format("the module of {} is paused, after {} failed batches in a row",
                      step.transform, wasm::Module::kFailuresMax),
          std::nullopt,
          "Replace the function, or ALTER FUNCTION ... RESUME; then ALTER TRANSFORM ... RESUME."};
      return true;
    }
    return false;
  }

  void take_output(const wasm::Output& output, size_t first) {
    for (const auto& error : output.errors()) {
      fail(call_.origin(first + error.input),
           fmt::format("{}: {}", terms_.steps[error.step], error.message));
    }
    if (result_.error) return;
    state_.change(output.states());
    for (const auto& record : output.records()) {
      write(record, call_.origin(first + record.input));
      if (result_.error) return;
    }
  }

  void write(const wasm::RecordView& record, const Call::Origin& origin) {
    MR_CHECK(!terms_.outputs.empty());
    size_t output = 0;
    size_t bytes =
        kRecordOverhead + record.key.value_or("").size() + record.value.value_or("").size();
    headers_.clear();
    for (const auto& header : record.headers) {
      if (header.name == kOutputHeader) {
        const auto wanted = header.value.value_or("");
        output =
            static_cast<size_t>(std::ranges::find(terms_.outputs, wanted, &PipelineOutput::topic) -
                                terms_.outputs.begin());
        if (output < terms_.outputs.size()) continue;
        return fail(origin, fmt::format("it is for the topic \"{}\", which is none of {}", wanted,
                                        output_names()));
      }
      if (header.name == kInputHeader) continue;
      headers_.push_back({header.name, header.value});
      bytes += header.name.size() + header.value.value_or("").size() + 10;
    }
    const auto& to = terms_.outputs[output];
    if (to.keys_required && !record.key) {
      return fail(origin, fmt::format("it comes out without a key, which topic \"{}\" needs: it is "
                                      "compacted",
                                      to.topic));
    }
    const size_t most = to.batch_bytes_max - log::BatchHeader::kBytes;
    if (bytes > most) {
      return fail(origin,
                  fmt::format("it comes out with {} bytes, more than topic \"{}\" takes ({})",
                              bytes, to.topic, to.batch_bytes_max));
    }
    const size_t partition = record.key ? log::partition_of(*record.key, to.partitions)
                                        : static_cast<size_t>(terms_.partition) % to.partitions;
    auto& writing = outputs_[{output, partition}];
    if (writing.batch.bytes() + bytes > std::min(kBatchBytes, most) && writing.batch.count() > 0) {
      writing.done += writing.batch.finish();
    }
    writing.batch.add(record.timestamp, record.key, record.value, headers_);
    ++result_.records_out;
  }

  std::string output_names() const {
    return fmt::format(
        "{}", fmt::join(terms_.outputs | std::views::transform(&PipelineOutput::topic), ", "));
  }

  void fail(const Call::Origin& origin, std::string_view why) {
    ++result_.record_errors;
    const auto& topic = terms_.inputs[origin.input];
    if (terms_.on_error == OnError::kReject && !result_.error) {
      result_.error =
          Error{ErrorCode::kGuestFailed,
                fmt::format("the record at offset {} of partition {} of \"{}\" failed: {}",
                            origin.record->offset, terms_.partition, topic, why)};
    }
    if (terms_.on_error != OnError::kDeadLetter) return;
    auto& letters = letters_[origin.input];
    if (letters.batch.bytes() > kBatchBytes) letters.done += letters.batch.finish();
    add_dead_letter(letters.batch, now_,
                    {.reason = why, .topic = topic, .partition = terms_.partition}, *origin.record);
  }

  wasm::Chain& chain_;
  const PipelineTerms& terms_;
  PipelineState& state_;
  const TimestampMs now_;
  PipelineResult result_;
  Call call_;
  std::map<std::pair<size_t, size_t>, Writing> outputs_;
  std::map<size_t, Writing> letters_;
  std::vector<log::Header> headers_;
};

}  // namespace

PipelineResult run_pipeline(wasm::Chain& chain, const PipelineTerms& terms, PipelineState& state,
                            TimestampMs now, const std::vector<PipelineInput>& inputs) {
  return Work(chain, terms, state, now).run(inputs);
}

}  // namespace millrace::broker::detail
