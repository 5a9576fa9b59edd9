#include "wasm/detail/encoder.h"

#include <cstring>

#include "wasm/detail/abi.h"

namespace millrace::wasm {

namespace {

uint64_t size_of(const std::optional<std::string_view>& text) { return text ? text->size() : 0; }

/// Where the texts of one batch go: into the copy of its buffer, or behind it one by one.
class Texts {
 public:
  Texts(std::string_view buffer, uint8_t* memory, uint32_t at)
      : buffer_(buffer),
        memory_(memory),
        at_(at),
        next_(at + static_cast<uint32_t>(buffer.size())) {
    if (!buffer.empty()) std::memcpy(memory + at, buffer.data(), buffer.size());
  }

  uint32_t place(std::string_view text) {
    const auto from = reinterpret_cast<uintptr_t>(text.data());
    const auto begin = reinterpret_cast<uintptr_t>(buffer_.data());
    if (from >= begin && from + text.size() <= begin + buffer_.size()) {
      return at_ + static_cast<uint32_t>(from - begin);
    }
    const uint32_t to = next_;
    if (!text.empty()) std::memcpy(memory_ + to, text.data(), text.size());
    next_ += static_cast<uint32_t>(text.size());
    return to;
  }
  void place(const std::optional<std::string_view>& text, uint32_t& at, int32_t& size) {
    at = text ? place(*text) : 0;
    size = text ? static_cast<int32_t>(text->size()) : abi::kAbsent;
  }

 private:
  std::string_view buffer_;
  uint8_t* memory_;
  uint32_t at_;
  uint32_t next_;
};

}  // namespace

BatchLayout lay_out(const EncoderInput& input) {
  BatchLayout layout;
  const std::string_view buffer = input.batch.bytes;
  const auto begin = reinterpret_cast<uintptr_t>(buffer.data());
  const auto end = begin + buffer.size();
  uint64_t within = 0;
  const auto look = [&](std::string_view text) {
    const auto from = reinterpret_cast<uintptr_t>(text.data());
    (from >= begin && from + text.size() <= end ? within : layout.loose_bytes) += text.size();
  };
  for (const auto& record : input.batch.records) {
    if (record.key) look(*record.key);
    if (record.value) look(*record.value);
    layout.header_count += record.headers.size();
    for (const auto& header : record.headers) {
      look(header.name);
      if (header.value) look(*header.value);
    }
  }
  layout.content_bytes = within + layout.loose_bytes + 16 * layout.header_count;
  // A buffer of which the records are a small part costs more to copy than they do.
  layout.whole = within > 0 && buffer.size() <= 2 * within + 4096;
  if (!layout.whole) layout.loose_bytes += within;
  for (const auto& state : input.states)
    layout.state_bytes += size_of(state.key) + size_of(state.value);
  layout.content_bytes += layout.state_bytes;
  layout.total = sizeof(abi::Batch) + input.batch.records.size() * sizeof(abi::Record) +
                 layout.header_count * sizeof(abi::Header) +
                 input.states.size() * sizeof(abi::State) + (layout.whole ? buffer.size() : 0) +
                 layout.loose_bytes + layout.state_bytes;
  return layout;
}

void encode(const EncoderInput& input, const BatchLayout& layout, uint8_t* memory,
            uint32_t address) {
  const auto count = static_cast<uint32_t>(input.batch.records.size());
  const uint32_t records_at = address + sizeof(abi::Batch);
  const auto headers_at = static_cast<uint32_t>(records_at + count * sizeof(abi::Record));
  const auto states_at =
      static_cast<uint32_t>(headers_at + layout.header_count * sizeof(abi::Header));
  const auto texts_at = static_cast<uint32_t>(states_at + input.states.size() * sizeof(abi::State));
  auto* head = reinterpret_cast<abi::Batch*>(memory + address);
  *head = {.version = abi::kVersion,
           .count = count,
           .records_at = records_at,
           .error_count = 0,
           .errors_at = 0,
           .state_count = static_cast<uint32_t>(input.states.size()),
           .states_at = states_at,
           .reserved = {}};
  Texts texts(layout.whole ? input.batch.bytes : std::string_view(), memory, texts_at);
  auto* to = reinterpret_cast<abi::Record*>(memory + records_at);
  auto* header_to = reinterpret_cast<abi::Header*>(memory + headers_at);
  uint32_t header_at = headers_at;
  for (uint32_t i = 0; i < count; ++i, ++to) {
    const RecordView& record = input.batch.records[i];
    to->timestamp_ms = record.timestamp;
    to->offset = record.offset;
    texts.place(record.key, to->key_at, to->key_size);
    texts.place(record.value, to->value_at, to->value_size);
    to->headers_at = header_at;
    to->header_count = static_cast<uint32_t>(record.headers.size());
    to->input = i;
    to->state = input.state_of.empty() ? 0 : input.state_of[i];
    for (const auto& header : record.headers) {
      header_to->name_at = texts.place(header.name);
      header_to->name_size = static_cast<uint32_t>(header.name.size());
      texts.place(header.value, header_to->value_at, header_to->value_size);
      ++header_to;
    }
    header_at += static_cast<uint32_t>(record.headers.size() * sizeof(abi::Header));
  }
  auto* state_to = reinterpret_cast<abi::State*>(memory + states_at);
  for (const auto& state : input.states) {
    texts.place(state.key, state_to->key_at, state_to->key_size);
    texts.place(state.value, state_to->value_at, state_to->value_size);
    ++state_to;
  }
}

}  // namespace millrace::wasm
