#include "broker/detail/share_batches.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <set>

#include "log/record_batch.h"

namespace millrace::broker::detail {

namespace {

constexpr std::string_view kDeliverAt = "deliver_at";
constexpr int64_t kSecondMs = 1000;

std::optional<int64_t> digits(std::string_view text) {
  int64_t n = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, n);
  if (failed != std::errc() || stop != end || text.empty() || text.front() == '-')
    return std::nullopt;
  return n;
}

/// Takes `count` digits, and `after` when given, from the front of `text`.
std::optional<int64_t> field(std::string_view& text, size_t count, char after) {
  if (text.size() < count + (after ? 1 : 0)) return std::nullopt;
  const auto n = digits(text.substr(0, count));
  if (!n || (after && text[count] != after)) return std::nullopt;
  text.remove_prefix(count + (after ? 1 : 0));
  return n;
}

/// ".123" to milliseconds; takes it from the front. Nothing there: 0.
std::optional<int64_t> fraction(std::string_view& text) {
  if (text.empty() || (text.front() != '.' && text.front() != ',')) return 0;
  text.remove_prefix(1);
  size_t count = 0;
  int64_t ms = 0;
  constexpr size_t kDigitsMax = 9;
  while (count < text.size() && text[count] >= '0' && text[count] <= '9') {
    if (count < 3) ms = ms * 10 + (text[count] - '0');
    ++count;
  }
  if (count == 0 || count > kDigitsMax) return std::nullopt;
  for (size_t i = count; i < 3; ++i) ms *= 10;
  text.remove_prefix(count);
  return ms;
}

/// "Z" or "+02:00" to milliseconds east.
std::optional<int64_t> zone(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const int64_t sign = text.front() == '-' ? -1 : 1;
  text.remove_prefix(1);
  const auto hours = field(text, 2, ':');
  if (!hours) return std::nullopt;
  const auto minutes = field(text, 2, '\0');
  if (!minutes || !text.empty() || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 60 + *minutes) * 60 * kSecondMs;
}

std::optional<TimestampMs> parse_rfc3339(std::string_view text) {
  const auto year = field(text, 4, '-');
  const auto month = year ? field(text, 2, '-') : std::nullopt;
  const auto day = month ? field(text, 2, '\0') : std::nullopt;
  if (!day || text.empty() || (text[0] != 'T' && text[0] != 't' && text[0] != ' '))
    return std::nullopt;
  text.remove_prefix(1);
  const auto hour = field(text, 2, ':');
  const auto minute = hour ? field(text, 2, ':') : std::nullopt;
  const auto second = minute ? field(text, 2, '\0') : std::nullopt;
  const auto ms = second ? fraction(text) : std::nullopt;
  const auto east = ms ? zone(text) : std::nullopt;
  using namespace std::chrono;
  if (!east || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const year_month_day date{std::chrono::year(static_cast<int>(*year)),
                            std::chrono::month(static_cast<unsigned>(*month)),
                            std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const int64_t days = sys_days(date).time_since_epoch().count();
  return (((days * 24 + *hour) * 60 + *minute) * 60 + *second) * kSecondMs + *ms - *east;
}

/// Producers whose aborted transactions touch the batch at hand. As a consumer reads the list
/// (KIP-98): a transaction begins to count at its first offset and ends with its marker.
class Aborted {
 public:
  explicit Aborted(std::vector<log::AbortedTransaction> transactions)
      : transactions_(std::move(transactions)) {
    std::ranges::sort(transactions_, {}, &log::AbortedTransaction::first_offset);
  }
  bool covers(const log::BatchHeader& batch) {
    while (next_ < transactions_.size() &&
           transactions_[next_].first_offset <= batch.last_offset()) {
      producers_.insert(transactions_[next_++].producer_id);
    }
    if (batch.control()) producers_.erase(batch.producer_id);
    return batch.transactional() && producers_.contains(batch.producer_id);
  }

 private:
  std::vector<log::AbortedTransaction> transactions_;
  size_t next_ = 0;
  std::set<int64_t> producers_;
};

}  // namespace

std::optional<TimestampMs> parse_deliver_at(std::string_view text) {
  if (const auto ms = digits(text)) return ms;
  return parse_rfc3339(text);
}

std::optional<int64_t> parse_duration(std::string_view text) {
  if (text.size() < 3 || text.front() != 'P') return std::nullopt;
  text.remove_prefix(1);
  int64_t total = 0;
  bool time = false;
  while (!text.empty()) {
    if (text.front() == 'T') {
      if (time) return std::nullopt;
      time = true;
      text.remove_prefix(1);
      continue;
    }
    const size_t length = std::min(text.find_first_not_of("0123456789"), text.size());
    constexpr size_t kDigitsMax = 9;
    const auto n = digits(text.substr(0, length));
    if (!n || length > kDigitsMax) return std::nullopt;
    text.remove_prefix(length);
    const auto part = fraction(text);
    if (!part || text.empty()) return std::nullopt;
    const char unit = text.front();
    text.remove_prefix(1);
    if (!time && unit == 'D') {
      total += *n * 24 * 3600 * kSecondMs;
    } else if (time && unit == 'H') {
      total += *n * 3600 * kSecondMs;
    } else if (time && unit == 'M') {
      total += *n * 60 * kSecondMs;
    } else if (time && unit == 'S') {
      total += *n * kSecondMs + *part;
    } else {
      return std::nullopt;
    }
  }
  return total;
}

Result<std::vector<ShareSpan>> share_spans(const log::ReadResult& read, Offset from, bool committed,
                                           bool delayed) {
  std::vector<ShareSpan> spans;
  Aborted aborted(committed ? read.aborted : std::vector<log::AbortedTransaction>());
  std::string_view bytes = read.batches;
  Offset next = from;
  while (!bytes.empty()) {
    const auto header = log::parse_batch_header(bytes);
    if (!header || header->total_bytes() > bytes.size())
      return Error{ErrorCode::kCorruptRecord, "a batch that was read is cut short"};
    const Offset base = header->base_offset;
    if (base > next) spans.push_back({.first = next, .last = base - 1, .passed_over = true});
    auto& span = spans.emplace_back();
    span.first = base;
    span.last = header->last_offset();
    span.begin = static_cast<size_t>(bytes.data() - read.batches.data());
    span.bytes = header->total_bytes();
    span.passed_over = aborted.covers(*header) || header->control() || header->record_count == 0;
    if (delayed && !span.passed_over) {
      MR_TRY(log::for_each_record(bytes.substr(0, span.bytes), true,
                                  [&](const log::RecordView& record) {
                                    for (const auto& h : record.headers) {
                                      if (h.key != kDeliverAt || !h.value) continue;
                                      if (const auto time = parse_deliver_at(*h.value))
                                        span.deliver_at.emplace_back(record.offset, *time);
                                    }
                                  }));
    }
    next = std::max(next, span.last + 1);
    bytes.remove_prefix(span.bytes);
  }
  return spans;
}

std::string taken_batches(std::string batches, const std::vector<ShareSpan>& spans) {
  size_t kept = 0;
  for (const auto& span : spans) {
    if (!span.taken) continue;
    if (span.begin != kept)
      std::memmove(batches.data() + kept, batches.data() + span.begin, span.bytes);
    kept += span.bytes;
  }
  batches.resize(kept);
  return batches;
}

}  // namespace millrace::broker::detail
