#include "wasm/detail/instance.h"

#include <fmt/format.h>

#include <algorithm>

#include "wasm/detail/ticker.h"

namespace millrace::wasm {

namespace {

constexpr size_t kLinesMax = 100;
constexpr size_t kLineMax = 4096;
constexpr int64_t kTableElementsMax = 20'000;
constexpr int kStartSlices = 4;

uint64_t ticks(uint64_t ns) { return ns / std::chrono::nanoseconds(Ticker::kTick).count() + 1; }

}  // namespace

Instance::Instance(const LogSink& log, std::shared_ptr<Module> module, const Limits& limits,
                   std::string place)
    : log_(log), module_(std::move(module)), limits_(limits), place_(std::move(place)) {
  module_->impl().counting.instances.fetch_add(1);
}

Instance::~Instance() { module_->impl().counting.instances.fetch_sub(1); }

Result<std::unique_ptr<Instance>> Instance::start(wasm_engine_t& engine, const LogSink& log,
                                                  std::shared_ptr<Module> module,
                                                  const Limits& limits, std::string place) {
  std::unique_ptr<Instance> self(new Instance(log, std::move(module), limits, std::move(place)));
  MR_TRY(self->instantiate(engine));
  return self;
}

Result<> Instance::instantiate(wasm_engine_t& engine) {
  store_.reset(wasmtime_store_new(&engine, this, nullptr));
  context_ = wasmtime_store_context(store_.get());
  wasmtime_store_limiter(store_.get(), static_cast<int64_t>(limits_.memory_bytes),
                         kTableElementsMax, 1, -1, 1);
  wasmtime_store_epoch_deadline_callback(store_.get(), on_deadline, this, nullptr);
  begin({}, Slice::kStart);
  wasm_trap_t* trap = nullptr;
  WasmError error(
      wasmtime_instance_pre_instantiate(module_->impl().pre.get(), context_, &instance_, &trap));
  if (trap) return why(nullptr, WasmTrap(trap));
  if (error) return why(std::move(error), nullptr);
  wasmtime_extern_t memory;
  MR_CHECK(wasmtime_instance_export_get(context_, &instance_, "memory", 6, &memory));
  memory_ = memory.of.memory;
  alloc_ = function("millrace_alloc");
  if (module_->impl().has_initialize) {
    MR_TRY(call(function("_initialize"), 0, {}, Slice::kStart));
  }
  return {};
}

wasmtime_func_t Instance::function(const std::string& name) {
  wasmtime_extern_t found;
  MR_CHECK(wasmtime_instance_export_get(context_, &instance_, name.data(), name.size(), &found));
  MR_CHECK(found.kind == WASMTIME_EXTERN_FUNC);
  return found.of.func;
}

void Instance::begin(std::string_view transform, Slice slice) {
  transform_ = transform;
  out_of_time_ = false;
  ended_.clear();
  failure_.clear();
  lines_ = 0;
  cpu_from_ns_ = thread_cpu_ns();
  cpu_most_ns_ = static_cast<uint64_t>(std::chrono::nanoseconds(limits_.time_slice).count()) *
                 (slice == Slice::kStart ? kStartSlices : 1);
  wasmtime_context_set_epoch_deadline(context_, ticks(cpu_most_ns_));
}

// Epochs tell that time has passed; whether the guest had a processor meanwhile is asked here, so
// that a busy machine ends nobody's call.
wasmtime_error_t* Instance::on_deadline(wasmtime_context_t*, void* data, uint64_t* delta,
                                        wasmtime_update_deadline_kind_t* kind) {
  auto& self = *static_cast<Instance*>(data);
  const uint64_t used = thread_cpu_ns() - self.cpu_from_ns_;
  if (used >= self.cpu_most_ns_) {
    self.out_of_time_ = true;
    return wasmtime_error_new("time slice used up");
  }
  *delta = ticks(self.cpu_most_ns_ - used);
  *kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
  return nullptr;
}

Result<uint32_t> Instance::call(const wasmtime_func_t& function, uint32_t argument,
                                std::string_view transform, Slice slice) {
  begin(transform, slice);
  wasmtime_val_raw_t value{};
  value.i32 = static_cast<int32_t>(argument);
  wasm_trap_t* trap = nullptr;
  WasmError error(wasmtime_func_call_unchecked(context_, &function, &value, 1, &trap));
  if (error || trap) [[unlikely]]
    return why(std::move(error), WasmTrap(trap));
  return static_cast<uint32_t>(value.i32);
}

Error Instance::why(WasmError error, WasmTrap trap) {
  std::string what;
  if (out_of_time_) {
    what = fmt::format(
        "it used more than its time slice of {} ms (an endless loop? raise time_slice, or send "
        "smaller batches)",
        cpu_most_ns_ / 1'000'000);
  } else if (!ended_.empty()) {
    what = ended_;
  } else {
    what = trap ? text_of(*trap) : text_of(*error);
    if (!failure_.empty()) what += ": " + failure_;
  }
  const size_t used = memory_.store_id ? wasmtime_memory_data_size(context_, &memory_) : 0;
  if (used > limits_.memory_bytes / 2) {
    what += fmt::format("; it holds {} of the {} MiB of memory that are its limit", used >> 20,
                        limits_.memory_bytes >> 20);
  }
  return {ErrorCode::kGuestFailed, std::move(what)};
}

Result<uint32_t> Instance::put(const EncoderInput& input, const BatchLayout& layout,
                               std::string_view transform) {
  const auto no_room = [&](std::string_view what) -> Error {
    return {
        ErrorCode::kGuestFailed,
        fmt::format("{} for a batch of {} records and {} bytes; its memory limit is {} MiB: raise "
                    "it, or send smaller batches",
                    what, input.batch.records.size(), layout.total, limits_.memory_bytes >> 20)};
  };
  if (layout.total > limits_.memory_bytes) return no_room("it cannot have room");
  MR_TRY(const uint32_t address, call(alloc_, static_cast<uint32_t>(layout.total), transform));
  if (address == 0) return no_room("its millrace_alloc gave no room");
  const size_t size = wasmtime_memory_data_size(context_, &memory_);
  if (address % 8 != 0 || address + layout.total > size) {
    return Error{
        ErrorCode::kGuestFailed,
        fmt::format("its millrace_alloc gave {} bytes at address {}, which is {}", layout.total,
                    address,
                    address % 8 != 0 ? "not 8-aligned"
                                     : fmt::format("outside its memory of {} bytes", size))};
  }
  encode(input, layout, wasmtime_memory_data(context_, &memory_), address);
  return address;
}

std::span<const uint8_t> Instance::memory() {
  return {wasmtime_memory_data(context_, &memory_), wasmtime_memory_data_size(context_, &memory_)};
}

void Instance::log(LogLevel level, std::string_view text) {
  if (!log_ || lines_ > kLinesMax) return;
  const bool last = lines_++ == kLinesMax;
  log_({.module = *module_,
        .place = place_,
        .transform = transform_,
        .level = last ? LogLevel::kWarning : level,
        .text = last ? "more lines of this call are dropped" : text.substr(0, kLineMax)});
}

wasm_trap_t* Instance::end(std::string reason) {
  ended_ = std::move(reason);
  return wasmtime_trap_new("ended", 5);
}

// SplitMix64 (Steele, Lea, Flood 2014) from a fixed seed: a guest must give the same result for the
// same batch, wherever it runs.
uint64_t Instance::next_random() {
  uint64_t z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace millrace::wasm
