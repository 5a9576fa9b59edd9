#include "flow/detail/state_memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <ranges>

#include "base/check.h"
#include "base/logging.h"

namespace millrace::flow {

namespace {

constexpr size_t kAlignment = 64 << 10;
constexpr size_t kPage = 4 << 10;
constexpr size_t kSpilledBytesMin = 16 << 10;  // less is not worth a file's pages
constexpr size_t kMappingBytesMin = 4 << 20, kMappingBytesMax = 256 << 20;

thread_local std::shared_ptr<StateMemory> scope;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

char* align(char* at) {
  return at +
         (round_up(reinterpret_cast<uintptr_t>(at), kAlignment) - reinterpret_cast<uintptr_t>(at));
}

/// Fresh memory; there being none ends the process, as it does elsewhere.
char* map(size_t bytes) {
  void* const mapped =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MR_CHECK(mapped != MAP_FAILED);
  return static_cast<char*>(mapped);
}

/// What the process holds of the machine's memory.
size_t resident_bytes() {
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128] = {};
  const auto got = read(file, text, sizeof(text) - 1);
  close(file);
  size_t pages = 0;
  if (got <= 0 || std::sscanf(text, "%*s %zu", &pages) != 1) return 0;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

StateMemory::StateMemory(std::shared_ptr<StateBudget> budget) : budget_(std::move(budget)) {
  if (budget_) ++budget_->views_;
}

StateMemory::~StateMemory() {
  if (budget_) {
    budget_->in_memory_ -= static_cast<int64_t>(kept_bytes_ + other_bytes_);
    --budget_->views_;
  }
  for (const auto& region : regions_) munmap(region.at, region.bytes);
  for (const auto& mapping : mappings_) munmap(mapping.at, mapping.bytes);
  if (file_ >= 0) close(file_);
}

void* StateMemory::take(size_t bytes) {
  bytes = round_up(bytes, kAlignment);
  std::lock_guard lock(mutex_);
  if (budget_ && budget_->spills())
    if (void* spilled = take_spilled(bytes)) return spilled;
  // Of the system, not of the heap: there an aligned piece costs another one.
  char* const mapped = map(bytes + kAlignment);
  char* const region = align(mapped);
  if (region > mapped) munmap(mapped, static_cast<size_t>(region - mapped));
  munmap(region + bytes, static_cast<size_t>(mapped + kAlignment - region));
  regions_.push_back({region, bytes});
  kept_bytes_ += bytes;
  if (budget_) budget_->in_memory_ += static_cast<int64_t>(bytes);
  return region;
}

void* StateMemory::borrow(size_t bytes) {
  if (budget_ && bytes >= kSpilledBytesMin && budget_->spills()) {
    std::lock_guard lock(mutex_);
    if (void* spilled = borrow_spilled(round_up(bytes, kPage))) return spilled;
  }
  void* const kept = ::operator new(bytes);
  kept_bytes_ += bytes;
  if (budget_) budget_->in_memory_ += static_cast<int64_t>(bytes);
  return kept;
}

void StateMemory::give_back(void* borrowed, size_t bytes) {
  if (!borrowed) return;
  if (bytes >= kSpilledBytesMin && is_spilled(borrowed)) {
    bytes = round_up(bytes, kPage);
    std::lock_guard lock(mutex_);
    given_back_[bytes].push_back(borrowed);
    spilled_bytes_ -= bytes;
    return;
  }
  ::operator delete(borrowed);
  kept_bytes_ -= bytes;
  if (budget_) budget_->in_memory_ -= static_cast<int64_t>(bytes);
}

bool StateMemory::is_spilled(const void* borrowed) {
  std::lock_guard lock(mappings_mutex_);
  return std::ranges::any_of(mappings_, [&](const Mapping& mapping) {
    return mapping.at <= borrowed && borrowed < mapping.at + mapping.bytes;
  });
}

/// What was given back of that size, or new.
void* StateMemory::borrow_spilled(size_t bytes) {
  const auto known = given_back_.find(bytes);
  if (known == given_back_.end()) return take_spilled(bytes);
  void* const borrowed = known->second.back();
  known->second.pop_back();
  if (known->second.empty()) given_back_.erase(known);
  spilled_bytes_ += bytes;
  return borrowed;
}

/// A multiple of kAlignment is aligned to it.
void* StateMemory::take_spilled(size_t bytes) {
  const bool aligned = bytes % kAlignment == 0;
  const auto skipped = static_cast<size_t>(aligned && next_ ? align(next_) - next_ : 0);
  if (left_ < skipped + bytes) {
    if (!map_more(bytes)) return nullptr;
  } else {
    next_ += skipped;
    left_ -= skipped;
  }
  void* taken = next_;
  next_ += bytes;
  left_ -= bytes;
  // Loading a snapshot takes much at once.
  if (spilled_bytes_ / kMappingBytesMin != (spilled_bytes_ + bytes) / kMappingBytesMin) trim();
  spilled_bytes_ += bytes;
  return taken;
}

/// The file's room is taken beforehand: a page that the disk has no room for ends the process.
bool StateMemory::map_more(size_t bytes) {
  if (file_fails_) return false;
  const size_t size = std::max(bytes, std::clamp(file_bytes_, kMappingBytesMin, kMappingBytesMax));
  int failed = 0;
  void* mapped = MAP_FAILED;
  if (!open_file()) {
    failed = errno;
  } else if ((failed = posix_fallocate(file_, static_cast<off_t>(file_bytes_),
                                       static_cast<off_t>(size))) == 0) {
    // Addresses for more than is mapped, so that there is an aligned one among them.
    mapped = mmap(nullptr, size + kAlignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped != MAP_FAILED) {
      std::lock_guard lock(mappings_mutex_);
      mappings_.push_back({static_cast<char*>(mapped), size + kAlignment});
      mapped = mmap(align(static_cast<char*>(mapped)), size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED, file_, static_cast<off_t>(file_bytes_));
    }
    if (mapped == MAP_FAILED) failed = errno;
  }
  if (failed != 0) {
    logging::warn("state that is too much for the memory cannot go to disk",
                  {{"folder", budget_->limits().folder}, {"reason", std::strerror(failed)}});
    file_fails_ = true;
    return false;
  }
  file_bytes_ += size;
  next_ = static_cast<char*>(mapped);
  left_ = size;
  return true;
}

bool StateMemory::open_file() {
  if (file_ >= 0) return true;
  const auto& folder = budget_->limits().folder;
  std::error_code ignored;  // opening tells
  std::filesystem::create_directories(folder, ignored);
  std::string name = folder + "/state.XXXXXX";
  file_ = mkostemp(name.data(), O_CLOEXEC);
  return file_ >= 0 && unlink(name.c_str()) == 0;
}

size_t StateMemory::report(size_t state_bytes) {
  const size_t taken = kept_bytes_ + spilled_bytes_;
  const size_t other = state_bytes - std::min(state_bytes, taken);
  const size_t before = other_bytes_.exchange(other);
  if (budget_) budget_->in_memory_ += static_cast<int64_t>(other) - static_cast<int64_t>(before);
  return kept_bytes_ + other;
}

bool StateMemory::is_full() const {
  return budget_ && budget_->is_full(kept_bytes_ + other_bytes_);
}

void StateMemory::trim() {
  if (!budget_ || budget_->limits().resident_bytes_max == 0) return;
  if (resident_bytes() <= budget_->limits().resident_bytes_max) return;
  {
    std::lock_guard lock(mappings_mutex_);
    // Of a file's mapping this takes nothing but the process's hold of its pages.
    for (const auto& mapping : mappings_) madvise(mapping.at, mapping.bytes, MADV_DONTNEED);
  }
  // What is free on the heap too; that looks at all of it, so not each time.
  if (budget_->may_trim_heap()) malloc_trim(0);
}

StateMemory::Scope::Scope(std::shared_ptr<StateMemory> memory)
    : before_(std::exchange(scope, std::move(memory))) {}

StateMemory::Scope::~Scope() { scope = std::move(before_); }

std::shared_ptr<StateMemory> StateMemory::current() {
  return scope ? scope : std::make_shared<StateMemory>();
}

}  // namespace millrace::flow
