#include "flow/detail/sketch_state.h"

#include <algorithm>
#include <cstring>
#include <duckdb/function/aggregate/minmax_n_helpers.hpp>
#include <duckdb/function/create_sort_key.hpp>
#include <functional>
#include <string>
#include <vector>

#include "flow/detail/evaluator.h"

// A state is made again by DuckDB's own functions as far as they go: they allocate what it owns,
// and what they cannot be told is written over it then.

namespace millrace::flow {

namespace {

// What follows is how DuckDB's states lie in memory in this version.
constexpr std::string_view kVersion = "v1.5.6";

/// A t-digest: its centroids are merged now and then, in place.
struct Digest {
  struct Centroid {
    double mean, weight;
  };
  double compression, min, max;
  uint64_t merged_max, waiting_max;
  double merged_weight, waiting_weight;
  std::vector<Centroid> merged, waiting;
  std::vector<double> cumulative;  // made anew by whoever asks the digest, on a copy
};
struct DigestState {
  Digest* digest;
  uint64_t count;
};

/// Filtered space-saving: the most frequent values in order, and counts by hash of the others.
struct TopK {
  struct Value {
    uint64_t count, index;
    duckdb::string_t text;  // of VARCHAR the value, otherwise its sort key
    uint64_t hash;
    char* memory;
    uint32_t size, capacity;
  };
  void* values_memory;
  std::vector<std::reference_wrapper<Value>> values;
  std::byte by_value[56];  // an unordered_map
  std::vector<uint64_t> filter;
  uint64_t k, capacity, filter_mask;
};
static_assert(sizeof(std::unordered_map<int, int>) == sizeof(TopK::by_value));
struct TopKState {
  TopK* top;
};

/// The first values, as many as the sample holds: no later one ever takes the place of one.
struct ReservoirState {
  char* values;
  uint64_t capacity, count;
  void* sampling;
};

/// arg_min or arg_max of several: the best so far as a heap, the worst of them first.
struct HeapState {
  uint64_t capacity, room;
  char* entries;  // a value that orders, and the one that stands beside it
  uint64_t count;
  bool has_begun;
};
/// A value in an entry: as it is, or a text, or for all other types a text that is its sort key.
struct Cell {
  enum class Form { kFixed, kText, kKey };
  explicit Cell(const duckdb::LogicalType& type) {
    switch (type.InternalType()) {
      case duckdb::PhysicalType::INT32:
      case duckdb::PhysicalType::FLOAT:
        form = Form::kFixed, bytes = align = 4;
        return;
      case duckdb::PhysicalType::INT64:
      case duckdb::PhysicalType::DOUBLE:
        form = Form::kFixed, bytes = align = 8;
        return;
      case duckdb::PhysicalType::VARCHAR:
        form = Form::kText;
        return;
      default:
        return;
    }
  }
  void save(const char* value, StateWriter& out) const {
    if (form == Form::kFixed) return out.raw(value, bytes);
    const auto& text = *reinterpret_cast<const duckdb::string_t*>(value);
    out.bytes({text.GetData(), text.GetSize()});
  }
  void load(StateReader& in, duckdb::OrderByNullType nulls, duckdb::Vector& into,
            size_t row) const {
    if (form == Form::kFixed) return in.raw(duckdb::FlatVector::GetData(into) + row * bytes, bytes);
    const auto read = in.bytes();
    if (!in.ok()) return;
    const duckdb::string_t text(read.data(), static_cast<uint32_t>(read.size()));
    if (form == Form::kKey)
      duckdb::CreateSortKeyHelpers::DecodeSortKey(text, into, row,
                                                  {duckdb::OrderType::ASCENDING, nulls});
    else
      duckdb::FlatVector::GetData<duckdb::string_t>(into)[row] =
          duckdb::StringVector::AddStringOrBlob(into, text);
  }
  Form form = Form::kKey;
  size_t bytes = sizeof(duckdb::HeapEntry<duckdb::string_t>);
  size_t align = alignof(duckdb::HeapEntry<duckdb::string_t>);
};
/// Where the second value of an entry stands, and how long an entry is.
struct Entry {
  Entry(const Cell& first, const Cell& second)
      : second_at(up(first.bytes, second.align)),
        bytes(up(second_at + second.bytes, std::max(first.align, second.align))) {}
  static size_t up(size_t to, size_t align) { return (to + align - 1) / align * align; }
  size_t second_at, bytes;
};

template <typename State>
const State& as(const char* state) {
  return *reinterpret_cast<const State*>(state);
}
template <typename State>
State& as(char* state) {
  return *reinterpret_cast<State*>(state);
}

void save_centroids(const std::vector<Digest::Centroid>& centroids, StateWriter& out) {
  out.number(static_cast<uint64_t>(centroids.size()));
  out.raw(centroids.data(), centroids.size() * sizeof(Digest::Centroid));
}

void load_centroids(std::vector<Digest::Centroid>& centroids, uint64_t most, StateReader& in) {
  const auto count = in.number<uint64_t>();
  if (!in.ok()) return;
  if (count > most) return in.fail("a t-digest has more centroids than it can");
  centroids.resize(count);
  if (count > 0) in.raw(centroids.data(), count * sizeof(Digest::Centroid));
}

void save_digest(const DigestState& state, StateWriter& out) {
  out.number(state.count);
  if (state.count == 0) return;
  const Digest& digest = *state.digest;
  for (const double value : {digest.min, digest.max, digest.merged_weight, digest.waiting_weight})
    out.number(value);
  save_centroids(digest.merged, out);
  save_centroids(digest.waiting, out);
}

/// Adds `count` rows to one state, at most STANDARD_VECTOR_SIZE.
void add(const AggregateFunction& function, std::span<duckdb::Vector> arguments, size_t count,
         char* state, duckdb::ArenaAllocator& arena) {
  duckdb::Vector states(duckdb::LogicalType::POINTER);
  std::fill_n(duckdb::FlatVector::GetData<duckdb::data_ptr_t>(states), count,
              reinterpret_cast<duckdb::data_ptr_t>(state));
  function.update(arguments, states, count, arena);
}

}  // namespace

std::optional<SketchState> SketchState::of(const AggregateFunction& function) {
  const auto& bound = function.bound();
  const auto& name = bound.function.name;
  if (bound.children.empty() || duckdb::DuckDB::LibraryVersion() != kVersion) return std::nullopt;
  const auto& argument = bound.children[0]->return_type;
  const bool is_fixed = duckdb::TypeIsConstantSize(argument.InternalType());
  if (name == "approx_quantile" && is_fixed) return SketchState(Kind::kDigest, argument);
  if (name == "approx_top_k") return SketchState(Kind::kTopK, argument);
  constexpr std::string_view kOfSeveral[] = {"arg_min", "arg_max", "argmin",
                                             "argmax",  "min_by",  "max_by"};
  if (bound.children.size() == 3 && std::ranges::find(kOfSeveral, name) != std::end(kOfSeveral))
    return SketchState(Kind::kHeap, argument, bound.children[1]->return_type);
  if (name == "reservoir_quantile" && is_fixed) return SketchState(Kind::kReservoir, argument);
  return std::nullopt;
}

void SketchState::save(const char* state, StateWriter& out) const {
  if (kind_ == Kind::kDigest) return save_digest(as<DigestState>(state), out);
  if (kind_ == Kind::kTopK) return save_top_k(state, out);
  if (kind_ == Kind::kHeap) return save_heap(state, out);
  const auto& reservoir = as<ReservoirState>(state);
  out.number(reservoir.count);
  out.raw(reservoir.values, reservoir.count * duckdb::GetTypeIdSize(argument_.InternalType()));
}

void SketchState::save_top_k(const char* state, StateWriter& out) const {
  const TopK* top = as<TopKState>(state).top;
  const uint64_t count = top ? top->values.size() : 0;
  out.number(count);
  if (count == 0) return;
  out.number(top->k);
  for (const TopK::Value& value : top->values) {
    out.number(value.count);
    out.bytes({value.text.GetData(), value.text.GetSize()});
  }
  out.number(static_cast<uint64_t>(top->filter.size()));
  out.raw(top->filter.data(), top->filter.size() * sizeof(uint64_t));
}

void SketchState::load(const AggregateFunction& function, char* state, StateReader& in,
                       duckdb::ArenaAllocator& arena) const {
  if (kind_ == Kind::kDigest) return load_digest(function, state, in, arena);
  if (kind_ == Kind::kTopK) return load_top_k(function, state, in, arena);
  if (kind_ == Kind::kHeap) return load_heap(function, state, in, arena);
  load_reservoir(function, state, in, arena);
}

void SketchState::load_digest(const AggregateFunction& function, char* state, StateReader& in,
                              duckdb::ArenaAllocator& arena) const {
  const auto count = in.number<uint64_t>();
  if (count == 0 || !in.ok()) return;
  // Any value makes the digest.
  std::vector<duckdb::Vector> arguments;
  arguments.emplace_back(argument_);
  std::memset(duckdb::FlatVector::GetData(arguments[0]), 0,
              duckdb::GetTypeIdSize(argument_.InternalType()));
  add(function, arguments, 1, state, arena);
  auto& made = as<DigestState>(state);
  made.count = count;
  Digest& digest = *made.digest;
  digest.min = in.number<double>();
  digest.max = in.number<double>();
  digest.merged_weight = in.number<double>();
  digest.waiting_weight = in.number<double>();
  load_centroids(digest.merged, digest.merged_max, in);
  load_centroids(digest.waiting, digest.waiting_max, in);
}

void SketchState::load_top_k(const AggregateFunction& function, char* state, StateReader& in,
                             duckdb::ArenaAllocator& arena) const {
  const auto count = in.number<uint64_t>();
  if (count == 0 || !in.ok()) return;
  const auto k = in.number<uint64_t>();
  std::vector<uint64_t> counts;
  for (uint64_t done = 0; done < count && in.ok();) {
    const uint64_t some = std::min<uint64_t>(count - done, STANDARD_VECTOR_SIZE);
    std::vector<duckdb::Vector> arguments;
    arguments.emplace_back(argument_);
    arguments.emplace_back(duckdb::Value::BIGINT(static_cast<int64_t>(k)));
    for (uint64_t i = 0; i < some && in.ok(); ++i) {
      counts.push_back(in.number<uint64_t>());
      const auto bytes = in.bytes();
      const duckdb::string_t text(bytes.data(), static_cast<uint32_t>(bytes.size()));
      if (argument_.id() == duckdb::LogicalTypeId::VARCHAR)
        duckdb::FlatVector::GetData<duckdb::string_t>(arguments[0])[i] =
            duckdb::StringVector::AddStringOrBlob(arguments[0], text);
      else if (in.ok())
        duckdb::CreateSortKeyHelpers::DecodeSortKey(
            text, arguments[0], i,
            {duckdb::OrderType::ASCENDING, duckdb::OrderByNullType::NULLS_LAST});
    }
    if (!in.ok()) return;
    add(function, arguments, some, state, arena);
    done += some;
  }
  const auto filters = in.number<uint64_t>();
  if (!in.ok()) return;
  TopK& top = *as<TopKState>(state).top;
  if (top.values.size() != count || top.filter.size() != filters)
    return in.fail("an approx_top_k does not come to what was saved");
  // Each has come once, so that they stand in the order in which they were saved.
  for (size_t i = 0; i < counts.size(); ++i) top.values[i].get().count = counts[i];
  in.raw(top.filter.data(), filters * sizeof(uint64_t));
}

void SketchState::load_reservoir(const AggregateFunction& function, char* state, StateReader& in,
                                 duckdb::ArenaAllocator& arena) const {
  const size_t width = duckdb::GetTypeIdSize(argument_.InternalType());
  for (auto left = in.number<uint64_t>(); left > 0 && in.ok();) {
    const uint64_t some = std::min<uint64_t>(left, STANDARD_VECTOR_SIZE);
    std::vector<duckdb::Vector> arguments;
    arguments.emplace_back(argument_);
    auto* values = duckdb::FlatVector::GetData(arguments[0]);
    for (uint64_t i = 0; i < some; ++i) in.raw(values + i * width, width);
    if (in.ok()) add(function, arguments, some, state, arena);
    left -= some;
  }
}

void SketchState::save_heap(const char* state, StateWriter& out) const {
  const auto& heap = as<HeapState>(state);
  out.number(heap.count);
  if (heap.count == 0) return;
  out.number(heap.capacity);
  const Cell by(by_), argument(argument_);
  const Entry entry(by, argument);
  for (uint64_t i = 0; i < heap.count; ++i) {
    const char* const at = heap.entries + i * entry.bytes;
    by.save(at, out);
    argument.save(at + entry.second_at, out);
  }
}

/// Given in the order in which they stand, each stays where it is put: it is no worse than those
/// above it.
void SketchState::load_heap(const AggregateFunction& function, char* state, StateReader& in,
                            duckdb::ArenaAllocator& arena) const {
  const auto count = in.number<uint64_t>();
  if (count == 0 || !in.ok()) return;
  const auto capacity = in.number<uint64_t>();
  const Cell by(by_), argument(argument_);
  const auto* info = function.bound().bind_info.get();
  const bool nulls_last = !info || info->Cast<duckdb::ArgMinMaxFunctionData>().nulls_last;
  const auto nulls =
      nulls_last ? duckdb::OrderByNullType::NULLS_LAST : duckdb::OrderByNullType::NULLS_FIRST;
  for (uint64_t done = 0; done < count && in.ok();) {
    const uint64_t some = std::min<uint64_t>(count - done, STANDARD_VECTOR_SIZE);
    std::vector<duckdb::Vector> arguments;
    arguments.emplace_back(argument_);
    arguments.emplace_back(by_);
    arguments.emplace_back(duckdb::Value::BIGINT(static_cast<int64_t>(capacity)));
    for (uint64_t i = 0; i < some && in.ok(); ++i) {
      by.load(in, nulls, arguments[1], i);
      argument.load(in, nulls, arguments[0], i);
    }
    if (!in.ok()) return;
    add(function, arguments, some, state, arena);
    done += some;
  }
  if (in.ok() && as<HeapState>(state).count != count)
    in.fail("an arg_min or arg_max of several does not come to what was saved");
}

}  // namespace millrace::flow
