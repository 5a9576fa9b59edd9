#include "broker/detail/transform_batches.h"

#include <fmt/format.h>

#include <algorithm>

#include "broker/dead_letter.h"
#include "log/remake.h"
#include "wasm/record_views.h"

namespace millrace::broker::detail {

namespace {

using OnError = catalog::Transform::OnError;

/// Letters go out in batches of so many bytes; a larger record has one for itself.
constexpr size_t kLetterBytes = 256 << 10;

bool same(const wasm::RecordView& a, const wasm::RecordView& b) {
  return a.timestamp == b.timestamp && a.key == b.key && a.value == b.value &&
         std::ranges::equal(a.headers, b.headers, [](const auto& x, const auto& y) {
           return x.name == y.name && x.value == y.value;
         });
}

/// One call's work: its results, and what it needs to make them.
class Work {
 public:
  Work(wasm::Chain& chain, const ChainTerms& terms, int32_t partition, TimestampMs now)
      : chain_(chain), terms_(terms), partition_(partition), now_(now) {}

  Result<TransformedBatches> run(std::string_view batches) {
    while (const auto header = log::parse_batch_header(batches)) {
      if (header->total_bytes() > batches.size()) break;
      const auto batch = batches.substr(0, header->total_bytes());
      batches.remove_prefix(batch.size());
      if (header->control() || header->record_count == 0) {
        out_.batches += batch;
      } else {
        MR_TRY(one(batch));
      }
      if (out_.error) break;
    }
    flush_letters();
    return std::move(out_);
  }

 private:
  Result<> one(std::string_view batch) {
    MR_TRY(auto contents, log::BatchContents::open(batch, terms_.inflated_bytes_max));
    const wasm::RecordViews views(contents.records(), &log::Header::key, terms_.has_offsets);
    auto output = chain_.apply({.records = views.all(), .bytes = contents.bytes()});
    if (!output) {
      fail_all(contents, output.error());
      if (!out_.error) out_.batches += log::BatchRemaker(contents).finish();
      return {};
    }
    for (const auto& error : output->errors()) {
      fail(contents.records(), error.input, terms_.on_error[error.step],
           fmt::format("{}: {}", terms_.names[error.step], error.message));
    }
    if (out_.error) return {};
    remake(batch, contents, views.all(), output->records());
    return {};
  }

  void remake(std::string_view batch, const log::BatchContents& contents,
              std::span<const wasm::RecordView> records, std::span<const wasm::RecordView> kept) {
    log::BatchRemaker remaker(contents);
    bool changed = kept.size() != records.size();
    log::RecordView instead;
    for (const auto& record : kept) {
      if (terms_.filters_only || same(record, records[record.input])) {
        remaker.keep(record.input);
        continue;
      }
      changed = true;
      if (terms_.keys_required && !record.key) {
        fail(contents.records(), record.input, strictest(),
             "it has no key any more, which a compacted topic needs");
        if (out_.error) return;
        continue;
      }
      instead.timestamp = record.timestamp;
      instead.key = record.key;
      instead.value = record.value;
      instead.headers.clear();
      for (const auto& header : record.headers)
        instead.headers.push_back({header.name, header.value});
      remaker.put(record.input, instead);
    }
    if (changed) {
      out_.batches += remaker.finish();
    } else {
      out_.batches += batch;
    }
  }

  OnError strictest() const { return *std::ranges::min_element(terms_.on_error); }

  void fail_all(const log::BatchContents& contents, const Error& why) {
    const auto& records = contents.records();
    if (strictest() == OnError::kReject) {
      out_.lost += records.size();
      out_.error = Error{ErrorCode::kGuestFailed, why.text};
      return;
    }
    for (size_t i = 0; i < records.size(); ++i) fail(records, i, strictest(), why.text);
  }

  void fail(const std::vector<log::RecordView>& records, size_t i, OnError on_error,
            const std::string& why) {
    ++out_.lost;
    if (on_error == OnError::kReject && !out_.error) {
      out_.error = Error{ErrorCode::kGuestFailed,
                         fmt::format("record {} of a batch for partition {} of \"{}\" failed in {}",
                                     i, partition_, terms_.topic, why)};
    }
    if (on_error == OnError::kDeadLetter) write_letter(records[i], why);
  }

  void write_letter(log::RecordView record, const std::string& why) {
    if (!terms_.has_offsets) record.offset = -1;
    const size_t bytes = record.key.value_or("").size() + record.value.value_or("").size();
    if (letters_.count() > 0 && letters_.bytes() + bytes > kLetterBytes) flush_letters();
    add_dead_letter(letters_, now_, {.reason = why, .topic = terms_.topic, .partition = partition_},
                    record);
  }
  void flush_letters() {
    if (letters_.count() > 0) out_.letters.push_back(letters_.finish());
  }

  wasm::Chain& chain_;
  const ChainTerms& terms_;
  const int32_t partition_;
  const TimestampMs now_;
  TransformedBatches out_;
  log::BatchBuilder letters_;
};

}  // namespace

Result<TransformedBatches> transform_batches(wasm::Chain& chain, const ChainTerms& terms,
                                             int32_t partition, TimestampMs now,
                                             std::string_view batches) {
  return Work(chain, terms, partition, now).run(batches);
}

}  // namespace millrace::broker::detail
