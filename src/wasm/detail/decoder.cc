#include "wasm/detail/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "wasm/detail/abi.h"

namespace millrace::wasm {

namespace {

constexpr size_t kMessageMax = 1024;

Error malformed(std::string what) {
  return {ErrorCode::kGuestFailed, "its result is malformed: " + std::move(what)};
}

/// Reads of a memory whose every number is doubted.
class Reader {
 public:
  Reader(std::span<const uint8_t> memory, const ResultRules& rules, Decoded& out)
      : memory_(memory), rules_(rules), out_(out) {}

  Result<> read(uint32_t address) {
    out_.count = 0;
    out_.headers.clear();
    out_.errors.clear();
    out_.states.clear();
    MR_TRY(check_table("the batch", address, 1, sizeof(abi::Batch), 4));
    std::memcpy(&head_, memory_.data() + address, sizeof head_);
    if (head_.version != abi::kVersion ||
        head_.reserved[0] | head_.reserved[1] | head_.reserved[2]) {
      return malformed(fmt::format("at address {} stands no batch of version 1 (version {})",
                                   address, head_.version));
    }
    MR_TRY(
        check_table("the table of records", head_.records_at, head_.count, sizeof(abi::Record), 8));
    MR_TRY(check_table("the table of errors", head_.errors_at, head_.error_count,
                       sizeof(abi::RowError), 4));
    MR_TRY(check_table("the table of states", head_.states_at, head_.state_count,
                       sizeof(abi::State), 4));
    if (head_.count > rules_.records_max) {
      return Error{ErrorCode::kGuestFailed,
                   fmt::format("it gave {} records for {}; its limit is {}", head_.count,
                               rules_.inputs, rules_.records_max)};
    }
    MR_TRY(read_records());
    MR_TRY(read_headers());
    MR_TRY(read_errors());
    MR_TRY(check_counts());
    MR_TRY(read_states());
    if (bytes_ > rules_.bytes_max) return too_much();
    out_.bytes = bytes_;
    return {};
  }

 private:
  Result<> check_table(std::string_view what, uint32_t at, uint64_t count, size_t size,
                       size_t alignment) const {
    if (count == 0) return {};
    if (at % alignment != 0) {
      return malformed(fmt::format("{} at address {} is not {}-aligned", what, at, alignment));
    }
    if (at + count * size > memory_.size()) {
      return malformed(
          fmt::format("{} ({} of {} bytes at address {}) is outside the memory of {} bytes", what,
                      count, size, at, memory_.size()));
    }
    return {};
  }

  /// Whether (0 or 1) a text lies in memory, and counts it; the absent one does. A size below -1
  /// is, as an unsigned number, larger than any memory.
  int count_text(uint32_t at, int32_t size) {
    const bool present = size != abi::kAbsent;
    const auto length = static_cast<uint32_t>(size);
    bytes_ += present ? length : 0;
    return static_cast<int>(!present) | static_cast<int>(uint64_t{at} + length <= memory_.size());
  }
  std::string_view view(uint32_t at, uint32_t size) const {
    return {reinterpret_cast<const char*>(memory_.data()) + at, size};
  }
  std::optional<std::string_view> text(uint32_t at, int32_t size) const {
    if (size == abi::kAbsent) return std::nullopt;
    return view(at, static_cast<uint32_t>(size));
  }
  Error too_much() const {
    return {ErrorCode::kGuestFailed,
            fmt::format("it gave more than {} bytes for {} records; that is its limit",
                        rules_.bytes_max, rules_.inputs)};
  }

  const abi::Record& record_at(size_t i) const {
    return reinterpret_cast<const abi::Record*>(memory_.data() + head_.records_at)[i];
  }

  Result<> read_records() {
    const size_t count = head_.count;
    if (out_.records.size() < count) out_.records.resize(count);
    const uint64_t step = rules_.kind == Kind::kExpand || rules_.kind == Kind::kAggregate ? 0 : 1;
    const bool ordered = rules_.kind != Kind::kAggregate;
    uint64_t least = 0;
    for (size_t i = 0; i < count; ++i) {
      const abi::Record& record = record_at(i);
      // One branch for all that can be wrong; which it was is found out when it was.
      const bool fine = count_text(record.key_at, record.key_size) &
                        count_text(record.value_at, record.value_size) & (record.input >= least) &
                        (record.input < rules_.inputs);
      if (!fine) [[unlikely]]
        return wrong_record(i, least);
      least = ordered ? record.input + step : 0;
      header_count_ += record.header_count;
      RecordView& to = out_.records[i];
      to.timestamp = record.timestamp_ms;
      to.offset = record.offset;
      to.key = text(record.key_at, record.key_size);
      to.value = text(record.value_at, record.value_size);
      to.headers = {};
      to.input = record.input;
    }
    out_.count = count;
    return {};
  }

  Error wrong_record(size_t i, uint64_t least) const {
    const abi::Record& record = record_at(i);
    if (record.input >= rules_.inputs) {
      return malformed(fmt::format("record {} says that it comes from input {} of {}", i,
                                   record.input, rules_.inputs));
    }
    if (record.input < least) {
      return malformed(fmt::format("record {} comes from input {}, out of order", i, record.input));
    }
    return malformed(fmt::format(
        "key or value of record {} (sizes {} and {} at addresses {} and {}) is outside the memory "
        "of {} bytes",
        i, record.key_size, record.value_size, record.key_at, record.value_at, memory_.size()));
  }

  Result<> read_headers() {
    if (header_count_ == 0) return {};
    bytes_ += header_count_ * sizeof(abi::Header);
    if (bytes_ > rules_.bytes_max)
      return too_much();  // tables may overlap: no room for all at once
    out_.headers.reserve(header_count_);
    for (size_t i = 0; i < head_.count; ++i) {
      const abi::Record& record = record_at(i);
      MR_TRY(check_table("a record's table of headers", record.headers_at, record.header_count,
                         sizeof(abi::Header), 4));
      const size_t first = out_.headers.size();
      for (uint32_t k = 0; k < record.header_count; ++k) {
        abi::Header header;
        std::memcpy(&header, memory_.data() + record.headers_at + k * sizeof header, sizeof header);
        const bool fine = count_text(header.name_at, static_cast<int32_t>(header.name_size)) &
                          int{static_cast<int32_t>(header.name_size) >= 0} &
                          count_text(header.value_at, header.value_size);
        if (!fine)
          return malformed(fmt::format("header {} of record {} is outside the memory", k, i));
        out_.headers.push_back({.name = view(header.name_at, header.name_size),
                                .value = text(header.value_at, header.value_size)});
      }
      out_.records[i].headers = {out_.headers.data() + first, record.header_count};
    }
    return {};
  }

  Result<> read_errors() {
    if (head_.error_count > rules_.inputs) {
      return malformed(fmt::format("{} errors for {} inputs", head_.error_count, rules_.inputs));
    }
    uint64_t least = 0;
    for (uint32_t i = 0; i < head_.error_count; ++i) {
      abi::RowError error;
      std::memcpy(&error, memory_.data() + head_.errors_at + i * sizeof error, sizeof error);
      if (error.input >= rules_.inputs || error.input < least) {
        return malformed(fmt::format("error {} is of input {}, which is out of order or of {}", i,
                                     error.input, rules_.inputs));
      }
      least = uint64_t{error.input} + 1;
      if (uint64_t{error.message_at} + error.message_size > memory_.size()) {
        return malformed(fmt::format("the message of error {} is outside the memory", i));
      }
      out_.errors.push_back(
          {.input = error.input,
           .message = view(error.message_at, error.message_size).substr(0, kMessageMax)});
    }
    return {};
  }

  /// No input is both a record and an error; of a map and a scalar each is one of them.
  Result<> check_counts() const {
    if (rules_.kind == Kind::kAggregate) return {};
    auto error = out_.errors.begin();
    for (size_t i = 0; i < out_.count && error != out_.errors.end(); ++i) {
      const uint32_t input = out_.records[i].input;
      while (error != out_.errors.end() && error->input < input) ++error;
      if (error != out_.errors.end() && error->input == input) {
        return malformed(fmt::format("input {} is both a record and an error", input));
      }
    }
    const bool each_once = rules_.kind == Kind::kMap || rules_.kind == Kind::kScalar;
    if (each_once && out_.count + out_.errors.size() != rules_.inputs) {
      return malformed(
          fmt::format("{} records and {} errors for {} inputs; a {} gives one for each", out_.count,
                      out_.errors.size(), rules_.inputs, to_string(rules_.kind)));
    }
    return {};
  }

  Result<> read_states() {
    if (rules_.kind != Kind::kAggregate) return {};
    if (head_.state_count != rules_.states) {
      return malformed(fmt::format("{} states; it was given {}", head_.state_count, rules_.states));
    }
    for (uint32_t i = 0; i < head_.state_count; ++i) {
      abi::State state;
      std::memcpy(&state, memory_.data() + head_.states_at + i * sizeof state, sizeof state);
      if (!count_text(state.value_at, state.value_size)) {
        return malformed(fmt::format("the value of state {} is outside the memory", i));
      }
      out_.states.push_back(text(state.value_at, state.value_size));
    }
    return {};
  }

  std::span<const uint8_t> memory_;
  const ResultRules& rules_;
  Decoded& out_;
  abi::Batch head_{};
  uint64_t bytes_ = 0;
  uint64_t header_count_ = 0;
};

}  // namespace

Result<> decode(std::span<const uint8_t> memory, uint32_t address, const ResultRules& rules,
                Decoded& out) {
  return Reader(memory, rules, out).read(address);
}

}  // namespace millrace::wasm
