#pragma once
// What the host and a module hand each other: docs/guest-abi.md, version 1. Pointers are the 32-bit
// addresses of that page in a module, and the machine's own when a transform is tested natively;
// the code is the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#if defined(__wasm__)
#define MILLRACE_EXPORT(text) __attribute__((export_name(text), used))
#else
#define MILLRACE_EXPORT(text)
#include <string>
#endif

namespace millrace::abi {

struct Header {
  const char* name;
  uint32_t name_size;
  const char* value;
  int32_t value_size;  // -1: null
};

struct Record {
  int64_t timestamp;  // milliseconds
  int64_t offset;     // -1: none yet
  const char* key;
  int32_t key_size;  // -1: null
  const char* value;
  int32_t value_size;  // -1: null
  const Header* headers;
  uint32_t header_count;
  uint32_t input;  // of a result: the index in the call's batch of the record that it comes from
  uint32_t state;  // which of the batch's states is its key's
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
  int32_t value_size;  // -1: none yet, or remove it
};

struct Batch {
  uint32_t version;
  uint32_t count;
  Record* records;
  uint32_t error_count;
  Error* errors;
  uint32_t state_count;
  State* states;
  uint32_t reserved[3];
};

#if defined(__wasm__)
static_assert(sizeof(Header) == 16 && sizeof(Record) == 48 && sizeof(Error) == 12);
static_assert(sizeof(State) == 16 && sizeof(Batch) == 40);

extern "C" __attribute__((import_module("millrace"), import_name("log"))) void millrace_host_log(
    int32_t level, const char* at, uint32_t size);
extern "C" __attribute__((import_module("millrace"), import_name("fail"))) void millrace_host_fail(
    const char* at, uint32_t size);

inline void log(int32_t level, std::string_view text) {
  millrace_host_log(level, text.data(), static_cast<uint32_t>(text.size()));
}
inline void fail(std::string_view why) {
  millrace_host_fail(why.data(), static_cast<uint32_t>(why.size()));
}
#else
/// What a native run said, for the test that runs it.
inline std::string logged, failed;
inline void log(int32_t level, std::string_view text) {
  logged += std::to_string(level) + " " + std::string(text) + "\n";
}
inline void fail(std::string_view why) { failed = why; }
#endif

/// Memory for one batch and its result: taken piece by piece, given back at once when the next
/// batch comes. What it once needed it keeps, in one block, so that a module at work asks for no
/// memory.
class Arena {
 public:
  /// 8-aligned; null when memory is out.
  char* take(size_t size) {
    size = (size + 7) & ~size_t{7};
    if (block_ == nullptr || size > block_->size - used_) {
      if (!grow(size)) return nullptr;
    }
    char* at = reinterpret_cast<char*>(block_ + 1) + used_;
    used_ += size;
    return at;
  }

  void reset() {
    used_ = 0;
    if (block_ == nullptr || block_->before == nullptr) return;
    size_t all = 0;
    while (block_ != nullptr) {
      Block* before = block_->before;
      all += block_->size;
      std::free(block_);
      block_ = before;
    }
    grow(all);
  }

 private:
  struct alignas(8) Block {
    Block* before;
    size_t size;
  };

  bool grow(size_t size) {
    size_t most = block_ == nullptr ? kFirst : block_->size * 2;
    if (most < size) most = size;
    auto* block = static_cast<Block*>(std::malloc(sizeof(Block) + most));
    if (block == nullptr && most > size) {
      most = size;
      block = static_cast<Block*>(std::malloc(sizeof(Block) + most));
    }
    if (block == nullptr) return false;
    block->before = block_;
    block->size = most;
    block_ = block;
    used_ = 0;
    return true;
  }

  static constexpr size_t kFirst = 64 * 1024;
  Block* block_ = nullptr;
  size_t used_ = 0;
};

inline constinit Arena arena;

/// Room in the arena. Out of memory ends the call: the host reports the trap and goes on with a
/// fresh instance.
inline char* take(size_t size) {
  char* at = arena.take(size);
  if (at == nullptr) {
    fail("out of memory");
    __builtin_trap();
  }
  return at;
}

template <typename T>
T* take_array(size_t count) {
  return reinterpret_cast<T*>(take(count * sizeof(T)));
}

/// For what outlives a batch, e.g. the parameters; never given back.
inline const char* keep(const char* at, size_t size) {
  auto* kept = static_cast<char*>(std::malloc(size + 1));
  if (kept == nullptr) __builtin_trap();
  if (size != 0) std::memcpy(kept, at, size);
  return kept;
}

}  // namespace millrace::abi

#if defined(__wasm__)
// The standard library's own ways to end say why through stdio, 20 KiB of it, which nobody would
// read.
__attribute__((weak)) void* operator new(size_t size) {
  void* at = std::malloc(size);
  if (at == nullptr) __builtin_trap();
  return at;
}
__attribute__((weak)) void* operator new[](size_t size) { return operator new(size); }
__attribute__((weak)) void operator delete(void* at) noexcept { std::free(at); }
__attribute__((weak)) void operator delete[](void* at) noexcept { std::free(at); }
__attribute__((weak)) void operator delete(void* at, size_t) noexcept { std::free(at); }
__attribute__((weak)) void operator delete[](void* at, size_t) noexcept { std::free(at); }
#if !defined(_LIBCPP_VERBOSE_ABORT_NOEXCEPT)
#define _LIBCPP_VERBOSE_ABORT_NOEXCEPT
#endif
_LIBCPP_BEGIN_NAMESPACE_STD
__attribute__((weak)) void __libcpp_verbose_abort(const char*, ...) _LIBCPP_VERBOSE_ABORT_NOEXCEPT {
  __builtin_trap();
}
_LIBCPP_END_NAMESPACE_STD
#endif
