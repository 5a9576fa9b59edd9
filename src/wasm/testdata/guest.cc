// A guest without a library, against docs/guest-abi.md alone: what the tests and the measurements
// of the room run. Built with clang for wasm32; see src/CMakeLists.txt.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) extern "C" __attribute__((export_name(name), used))
#define IMPORT(name) extern "C" __attribute__((import_module("millrace"), import_name(name)))

IMPORT("log") void host_log(uint32_t level, const char* at, uint32_t size);
IMPORT("fail") void host_fail(const char* at, uint32_t size);
extern unsigned char __heap_base;

namespace {

struct Record {
  int64_t timestamp_ms, offset;
  const char* key;
  int32_t key_size;
  const char* value;
  int32_t value_size;
  struct Header* headers;
  uint32_t header_count, input, state;
};
struct Header {
  const char* name;
  uint32_t name_size;
  const char* value;
  int32_t value_size;
};
struct Error {
  uint32_t input;
  const char* message;
  uint32_t message_size;
};
struct State {
  const char* key;
  int32_t key_size;
  const char* value;
  int32_t value_size;
};
struct Batch {
  uint32_t version = 1, count = 0;
  Record* records = nullptr;
  uint32_t error_count = 0;
  Error* errors = nullptr;
  uint32_t state_count = 0;
  State* states = nullptr;
  uint32_t reserved[3] = {};
};
static_assert(sizeof(Batch) == 40 && sizeof(Record) == 48 && sizeof(Header) == 16);

uintptr_t kept = 0;  // below it: what init keeps
uintptr_t next = 0;

char* allocate(size_t size) {
  if (next == 0) kept = next = (reinterpret_cast<uintptr_t>(&__heap_base) + 7) & ~uintptr_t{7};
  const uintptr_t at = next;
  next = (next + size + 7) & ~uintptr_t{7};
  const size_t pages = (next + 65535) / 65536;
  if (pages > __builtin_wasm_memory_size(0) &&
      __builtin_wasm_memory_grow(0, pages - __builtin_wasm_memory_size(0)) == SIZE_MAX) {
    return nullptr;
  }
  return reinterpret_cast<char*>(at);
}
template <typename T>
T* table(size_t count) {
  return reinterpret_cast<T*>(allocate(count * sizeof(T)));
}
Batch* result(size_t records, size_t errors) {
  auto* batch = table<Batch>(1);
  *batch = {};
  batch->records = table<Record>(records);
  batch->errors = table<Error>(errors);
  return batch;
}
void add_error(Batch* batch, uint32_t input, const char* message, uint32_t size) {
  batch->errors[batch->error_count++] = {input, message, size};
}
template <size_t kSize>
void fail(const char (&text)[kSize]) {
  host_fail(text, kSize - 1);
}
bool same(const char* a, const char* b, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}
bool contains(const char* text, int32_t size, const char* word, int32_t word_size) {
  for (int32_t i = 0; i + word_size <= size; ++i) {
    if (text[i] == word[0] && same(text + i, word, word_size)) return true;
  }
  return false;
}
int32_t to_text(uint64_t n, char* at) {
  char digits[20];
  int32_t size = 0;
  do digits[size++] = static_cast<char>('0' + n % 10);
  while (n /= 10);
  for (int32_t i = 0; i < size; ++i) at[i] = digits[size - 1 - i];
  return size;
}

char word[64] = "JFK";
int32_t word_size = 3;
char tail[64];
int32_t tail_size = 0;

}  // namespace

EXPORT("millrace_abi_1") void abi() {}
EXPORT("millrace_alloc") char* alloc(size_t size) {
  next = kept;
  return allocate(size);
}

// ---- filter: records whose value holds a word
EXPORT("millrace__init__contains") int init_contains(const Batch* params) {
  const Record& record = params->records[0];
  for (uint32_t i = 0; i < record.header_count; ++i) {
    const Header& param = record.headers[i];
    if (param.name_size != 4 || !same(param.name, "word", 4) || param.value_size > 64) {
      fail("contains takes one parameter, word, of at most 64 bytes");
      return 0;
    }
    word_size = param.value_size;
    for (int32_t k = 0; k < word_size; ++k) word[k] = param.value[k];
  }
  return 1;
}
EXPORT("millrace__filter__contains") Batch* contains_word(const Batch* in) {
  Batch* out = result(in->count, 0);
  for (uint32_t i = 0; i < in->count; ++i) {
    const Record& record = in->records[i];
    if (!contains(record.value, record.value_size, word, word_size)) continue;
    Record& to = out->records[out->count++];
    to = record;
    to.input = i;
  }
  return out;
}

// ---- filter that looks at one byte: what a filter costs around the guest's own work
EXPORT("millrace__filter__first_byte") Batch* first_byte(const Batch* in) {
  Batch* out = result(in->count, 0);
  for (uint32_t i = 0; i < in->count; ++i) {
    const Record& record = in->records[i];
    if (record.value_size < 1 || (record.value[0] & 1) == 0) continue;
    Record& to = out->records[out->count++];
    to = record;
    to.input = i;
  }
  return out;
}

// ---- filter: records with a key
EXPORT("millrace__filter__keyed") Batch* keyed(const Batch* in) {
  Batch* out = result(in->count, 0);
  for (uint32_t i = 0; i < in->count; ++i) {
    if (in->records[i].key_size < 0) continue;
    Record& to = out->records[out->count++];
    to = in->records[i];
    to.input = i;
  }
  return out;
}

// ---- map: upper case; a record without a value is an error
EXPORT("millrace__map__upper") Batch* upper(Batch* in) {
  Batch* out = result(in->count, in->count);
  for (uint32_t i = 0; i < in->count; ++i) {
    const Record& record = in->records[i];
    if (record.value_size < 0) {
      add_error(out, i, "no value", 8);
      continue;
    }
    char* text = allocate(record.value_size);
    for (int32_t k = 0; k < record.value_size; ++k) {
      const char c = record.value[k];
      text[k] = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    }
    Record& to = out->records[out->count++];
    to = record;
    to.value = text;
    to.input = i;
  }
  return out;
}

// ---- map: goes to the topic that its value names
EXPORT("millrace__map__route") Batch* route(const Batch* in) {
  Batch* out = result(in->count, 0);
  Header* header = table<Header>(in->count);
  for (uint32_t i = 0; i < in->count; ++i) {
    Record& to = out->records[out->count++];
    to = in->records[i];
    *header = {"millrace.output", 15, to.value, to.value_size};
    to.headers = header++;
    to.header_count = 1;
    to.input = i;
  }
  return out;
}

// ---- filter_map: the key becomes the value; records without a key are dropped
EXPORT("millrace__filter_map__key_only") Batch* key_only(const Batch* in) {
  Batch* out = result(in->count, 0);
  for (uint32_t i = 0; i < in->count; ++i) {
    if (in->records[i].key_size < 0) continue;
    Record& to = out->records[out->count++];
    to = in->records[i];
    to.value = to.key;
    to.value_size = to.key_size;
    to.input = i;
  }
  return out;
}

// ---- expand: a record for each part between commas, with a header that tells which
EXPORT("millrace__expand__split") Batch* split(const Batch* in) {
  size_t parts = 0;
  for (uint32_t i = 0; i < in->count; ++i) {
    ++parts;
    for (int32_t k = 0; k < in->records[i].value_size; ++k) parts += in->records[i].value[k] == ',';
  }
  Batch* out = result(parts, 0);
  Header* header = table<Header>(parts);
  for (uint32_t i = 0; i < in->count; ++i) {
    const Record& record = in->records[i];
    int32_t from = 0;
    uint32_t part = 0;
    for (int32_t k = 0; k <= record.value_size; ++k) {
      if (k < record.value_size && record.value[k] != ',') continue;
      Record& to = out->records[out->count++];
      to = record;
      to.value = record.value + from;
      to.value_size = k - from;
      to.input = i;
      char* number = allocate(20);
      *header = {"part", 4, number, to_text(part++, number)};
      to.headers = header++;
      to.header_count = 1;
      from = k + 1;
    }
  }
  return out;
}

// ---- aggregate: how many records each key had; a record for each key of the batch
EXPORT("millrace__aggregate__count") Batch* count(Batch* in) {
  Batch* out = result(in->state_count, 0);
  auto* counts = table<uint64_t>(in->state_count);
  for (uint32_t s = 0; s < in->state_count; ++s) {
    counts[s] = 0;
    for (int32_t k = 0; k < in->states[s].value_size; ++k) {
      counts[s] = counts[s] * 10 + static_cast<uint64_t>(in->states[s].value[k] - '0');
    }
  }
  auto* last = table<uint32_t>(in->state_count);
  for (uint32_t i = 0; i < in->count; ++i) {
    ++counts[in->records[i].state];
    last[in->records[i].state] = i;
  }
  for (uint32_t s = 0; s < in->state_count; ++s) {
    char* text = allocate(20);
    in->states[s].value = text;
    in->states[s].value_size = to_text(counts[s], text);
    Record& to = out->records[out->count++];
    to = in->records[last[s]];
    to.value = text;
    to.value_size = in->states[s].value_size;
    to.input = last[s];
  }
  out->state_count = in->state_count;
  out->states = in->states;
  return out;
}

// ---- scalar: the sum of two BIGINTs, null when one is
EXPORT("millrace__scalar__add") Batch* add(const Batch* in) {
  Batch* out = result(in->count, in->count);
  for (uint32_t i = 0; i < in->count; ++i) {
    const Record& row = in->records[i];
    if (row.header_count != 2) {
      add_error(out, i, "add takes two numbers", 21);
      continue;
    }
    Record& to = out->records[out->count++];
    to = {};
    to.input = i;
    to.key_size = -1;
    to.value_size = -1;
    if (row.headers[0].value_size != 8 || row.headers[1].value_size != 8) continue;
    auto* sum = table<int64_t>(1);
    int64_t terms[2];
    for (size_t t = 0; t < 2; ++t) __builtin_memcpy(&terms[t], row.headers[t].value, 8);
    *sum = static_cast<int64_t>(static_cast<uint64_t>(terms[0]) + static_cast<uint64_t>(terms[1]));
    to.value = reinterpret_cast<char*>(sum);
    to.value_size = 8;
  }
  return out;
}

// ---- map with look-back: values become the last record's of the look-back; logs how many there
// were
EXPORT("millrace__look_back__last") int look_back_last(const Batch* in) {
  char text[20];
  host_log(1, text, static_cast<uint32_t>(to_text(in->count, text)));
  if (in->count == 0) return 1;
  const Record& record = in->records[in->count - 1];
  tail_size = record.value_size;
  for (int32_t k = 0; k < tail_size && k < 64; ++k) tail[k] = record.value[k];
  return 1;
}
EXPORT("millrace__map__last") Batch* last(Batch* in) {
  for (uint32_t i = 0; i < in->count; ++i) {
    in->records[i].value = tail;
    in->records[i].value_size = tail_size;
    in->records[i].input = i;
  }
  return in;
}

// ---- a filter whose whole batch fails
EXPORT("millrace__filter__refuse") Batch* refuse(const Batch*) {
  fail("I do not want to");
  return nullptr;
}
