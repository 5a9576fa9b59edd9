#include "table/row_store.h"

#include <array>
#include <atomic>
#include <limits>
#include <mutex>
#include <numeric>

#include "base/check.h"
#include "table/detail/row_codec.h"

namespace millrace::table {
namespace {

constexpr size_t kBlockRows = 512;
constexpr uint32_t kFree = std::numeric_limits<uint32_t>::max();
constexpr uint32_t kGenerationMax = 0x7FFF'FFFF;

/// The heap, or a store's RowMemory.
template <typename T>
struct RowAllocator {
  using value_type = T;
  std::shared_ptr<RowMemory> memory;

  explicit RowAllocator(std::shared_ptr<RowMemory> m) : memory(std::move(m)) {}
  template <typename U>
  RowAllocator(const RowAllocator<U>& other) : memory(other.memory) {}
  T* allocate(size_t n) {
    return static_cast<T*>(memory ? memory->borrow(n * sizeof(T)) : ::operator new(n * sizeof(T)));
  }
  void deallocate(T* at, size_t n) {
    memory ? memory->give_back(at, n * sizeof(T)) : ::operator delete(at);
  }
  bool operator==(const RowAllocator&) const = default;
};

/// The rows of kBlockRows slots, one after the other in the order in which they came.
struct Block {
  std::array<uint32_t, kBlockRows> begin;
  std::array<uint32_t, kBlockRows> length;
  std::array<uint32_t, kBlockRows> generation{};  // of each slot: counts the rows that stood there
  size_t used = 0;
  size_t garbage = 0;  // bytes of rows that are gone
  std::vector<char, RowAllocator<char>> bytes;
  std::atomic<size_t> readers =
      0;  // snapshots that hold it; a block without any is written in place

  explicit Block(const RowAllocator<char>& allocator) : bytes(allocator) { begin.fill(kFree); }
  static std::shared_ptr<Block> make(const RowAllocator<char>& allocator) {
    return std::allocate_shared<Block>(allocator, allocator);
  }
  /// A copy that holds no garbage.
  std::shared_ptr<Block> copy() const {
    auto other = make(bytes.get_allocator());
    other->bytes.reserve(bytes.size() - garbage + bytes.size() / 8);
    other->generation = generation;
    for (size_t i = 0; i < kBlockRows; ++i)
      if (begin[i] != kFree) other->put(i, row(i));
    return other;
  }
  std::string_view row(size_t i) const { return {bytes.data() + begin[i], length[i]}; }
  void put(size_t i, std::string_view row) {
    MR_CHECK(bytes.size() < kFree);
    begin[i] = static_cast<uint32_t>(bytes.size());
    length[i] = static_cast<uint32_t>(row.size());
    bytes.insert(bytes.end(), row.begin(), row.end());
    // Filled for the first time: most blocks stay as they are from then on.
    if (++used == kBlockRows && garbage == 0) bytes.shrink_to_fit();
  }
  void remove(size_t i) {
    garbage += length[i];
    begin[i] = kFree;
    generation[i] = (generation[i] + 1) & kGenerationMax;
    if (--used == 0) {
      bytes.clear();
      bytes.shrink_to_fit();
      garbage = 0;
    }
  }
  bool wasteful() const { return garbage > 4096 && garbage > bytes.size() / 2; }
  size_t memory() const { return sizeof(Block) + bytes.capacity(); }
};

/// A slot: its generation, then its place.
RowStore::Slot slot_of(const Block& block, size_t place) {
  return static_cast<int64_t>(block.generation[place % kBlockRows]) << 32 |
         static_cast<int64_t>(place);
}
size_t place_of(RowStore::Slot slot) { return static_cast<size_t>(slot & 0xFFFF'FFFF); }

using Blocks = std::vector<std::shared_ptr<Block>>;

class StoreSnapshot final : public RowStore::Snapshot {
 public:
  StoreSnapshot(std::shared_ptr<const RowCodec> codec, Blocks blocks, size_t size)
      : codec_(std::move(codec)), blocks_(std::move(blocks)), size_(size) {}
  ~StoreSnapshot() override {
    for (const auto& block : blocks_) block->readers.fetch_sub(1, std::memory_order_release);
  }

  size_t size() const override { return size_; }

  bool next(const std::vector<size_t>& columns, duckdb::DataChunk& out) override {
    std::vector<size_t> targets;
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] == std::numeric_limits<size_t>::max()) continue;
      if (targets.size() <= columns[i]) targets.resize(columns[i] + 1, RowCodec::kSkip);
      if (targets[columns[i]] == RowCodec::kSkip) targets[columns[i]] = i;
    }
    size_t count = 0;
    while (count + kBlockRows <= STANDARD_VECTOR_SIZE) {
      const size_t at = next_.fetch_add(1, std::memory_order_relaxed);
      if (at >= blocks_.size()) break;
      count = decode(at, targets, columns, out, count);
    }
    out.SetCardinality(count);
    for (size_t i = 0; i < columns.size(); ++i)
      if (columns[i] < targets.size() && targets[columns[i]] != i)
        out.data[i].Reference(out.data[targets[columns[i]]]);  // a column that is asked for twice
    return count > 0;
  }

 private:
  size_t decode(size_t at, const std::vector<size_t>& targets, const std::vector<size_t>& columns,
                duckdb::DataChunk& out, size_t count) const {
    const Block& block = *blocks_[at];
    const size_t first = count;
    std::array<int64_t, kBlockRows> slots;
    for (size_t i = 0; i < kBlockRows && block.used > 0; ++i) {
      if (block.begin[i] == kFree) continue;
      codec_->decode(block.row(i), targets, out, count);
      slots[count++ - first] = slot_of(block, at * kBlockRows + i);
    }
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] != std::numeric_limits<size_t>::max()) continue;
      std::copy_n(slots.begin(), count - first,
                  duckdb::FlatVector::GetData<int64_t>(out.data[i]) + first);
    }
    return count;
  }

  std::shared_ptr<const RowCodec> codec_;
  Blocks blocks_;
  size_t size_;
  std::atomic<size_t> next_ = 0;
};

}  // namespace

struct RowStore::Impl {
  std::shared_ptr<const RowCodec> codec;
  std::shared_ptr<RowMemory> where;  // null: the heap
  std::vector<size_t> all_columns;
  mutable std::mutex mutex;  // what follows; held for a batch of rows
  Blocks blocks;
  std::vector<uint32_t> free;  // places
  size_t size = 0;
  size_t memory = 0;
  RowCodec::Rows encoded;
  std::vector<char> one;

  Block& writable(size_t at) {
    std::shared_ptr<Block>& block = blocks[at];
    // Acquire: what the last snapshot read of it, it read before we write.
    if (block->readers.load(std::memory_order_acquire) != 0 || block->wasteful()) {
      memory -= block->memory();
      block = block->copy();
      memory += block->memory();
    }
    return *block;
  }

  void add_block() {
    const size_t first = blocks.size() * kBlockRows;
    MR_CHECK(first + kBlockRows <= std::numeric_limits<uint32_t>::max());
    blocks.push_back(Block::make(RowAllocator<char>(where)));
    memory += blocks.back()->memory();
    for (size_t i = kBlockRows; i > 0; --i) free.push_back(static_cast<uint32_t>(first + i - 1));
  }

  /// Adds the encoded rows from `row` on as a block of their own, if they fill one and no slot is
  /// free: then its bytes stand where they stay, and are copied once.
  bool put_block(size_t row, std::vector<Slot>& slots) {
    if (!free.empty() || encoded.ends.size() - 1 - row < kBlockRows) return false;
    const size_t begin = encoded.ends[row], end = encoded.ends[row + kBlockRows];
    if (end - begin >= kFree) return false;
    add_block();
    free.clear();
    Block& block = *blocks.back();
    const size_t first = (blocks.size() - 1) * kBlockRows;
    memory -= block.memory();
    block.bytes.assign(encoded.bytes.begin() + static_cast<ptrdiff_t>(begin),
                       encoded.bytes.begin() + static_cast<ptrdiff_t>(end));
    for (size_t i = 0; i < kBlockRows; ++i) {
      block.begin[i] = static_cast<uint32_t>(encoded.ends[row + i] - begin);
      block.length[i] = static_cast<uint32_t>(encoded[row + i].size());
      slots.push_back(slot_of(block, first + i));
    }
    block.used = kBlockRows;
    memory += block.memory();
    size += kBlockRows;
    return true;
  }

  Slot put(std::string_view row) {
    MR_CHECK(row.size() <= std::numeric_limits<uint32_t>::max());
    if (free.empty()) add_block();
    const size_t place = free.back();
    free.pop_back();
    Block& block = writable(place / kBlockRows);
    memory -= block.memory();
    block.put(place % kBlockRows, row);
    memory += block.memory();
    ++size;
    return slot_of(block, place);
  }

  const Block* find(Slot slot) const {
    const size_t place = place_of(slot);
    if (slot < 0 || place / kBlockRows >= blocks.size()) return nullptr;
    const Block& block = *blocks[place / kBlockRows];
    const bool there = block.begin[place % kBlockRows] != kFree && slot_of(block, place) == slot;
    return there ? &block : nullptr;
  }
};

RowStore::RowStore(std::vector<duckdb::LogicalType> types, std::shared_ptr<RowMemory> memory)
    : impl_(std::make_unique<Impl>()) {
  impl_->where = std::move(memory);
  impl_->codec = std::make_shared<const RowCodec>(types, RowCodec::Form::kExact);
  impl_->all_columns.resize(types.size());
  std::iota(impl_->all_columns.begin(), impl_->all_columns.end(), size_t{0});
}

RowStore::~RowStore() = default;

RowStore::Slot RowStore::insert(duckdb::DataChunk& chunk, size_t row) {
  impl_->codec->encode_row(chunk, row, impl_->one);
  std::lock_guard lock(impl_->mutex);
  return impl_->put({impl_->one.data(), impl_->one.size()});
}

void RowStore::insert(duckdb::DataChunk& chunk, std::vector<Slot>& slots) {
  impl_->codec->encode(chunk, impl_->all_columns, impl_->encoded);
  std::lock_guard lock(impl_->mutex);
  for (size_t row = 0; row < chunk.size();) {
    if (impl_->put_block(row, slots)) {
      row += kBlockRows;
    } else {
      slots.push_back(impl_->put(impl_->encoded[row++]));
    }
  }
}

void RowStore::erase(Slot slot) {
  std::lock_guard lock(impl_->mutex);
  MR_CHECK(impl_->find(slot) != nullptr);
  const size_t place = place_of(slot);
  Block& block = impl_->writable(place / kBlockRows);
  impl_->memory -= block.memory();
  block.remove(place % kBlockRows);
  impl_->memory += block.memory();
  impl_->free.push_back(static_cast<uint32_t>(place));
  --impl_->size;
}

void RowStore::read(Slot slot, duckdb::DataChunk& out) const {
  std::lock_guard lock(impl_->mutex);
  const Block* block = impl_->find(slot);
  MR_CHECK(block != nullptr);
  const size_t at = out.size();
  impl_->codec->decode(block->row(place_of(slot) % kBlockRows), impl_->all_columns, out, at);
  out.SetCardinality(at + 1);
}

bool RowStore::holds(Slot slot) const {
  std::lock_guard lock(impl_->mutex);
  return impl_->find(slot) != nullptr;
}

size_t RowStore::size() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->size;
}

size_t RowStore::memory_bytes() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->memory + impl_->free.capacity() * sizeof(uint32_t) +
         impl_->blocks.capacity() * sizeof(Blocks::value_type);
}

std::shared_ptr<RowStore::Snapshot> RowStore::snapshot() const {
  std::lock_guard lock(impl_->mutex);
  for (const auto& block : impl_->blocks) block->readers.fetch_add(1, std::memory_order_relaxed);
  return std::make_shared<StoreSnapshot>(impl_->codec, impl_->blocks, impl_->size);
}

}  // namespace millrace::table
