#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "base/io/task.h"

namespace millrace::io {

class Gate;

/// One I/O thread: an Asio io_context and an io_uring. An object belongs to one shard and is
/// touched only there; others `co_await shard.call(task)`. Lives from Runtime's constructor to its
/// destructor.
class Shard {
 public:
  explicit Shard(size_t index);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  size_t index() const { return index_; }
  /// The shard that runs this thread, or null on a thread that is not a shard's.
  static Shard* current();
  bool is_current() const { return current() == this; }

  /// Runs `work` on this shard, later. Any thread. Work posted after stop() never runs.
  void post(std::move_only_function<void()> work);

  /// `co_await shard.enter()` continues on this shard (at once if already there).
  struct Enter;
  Enter enter();

  /// `co_await sleep(d)`: continues on this shard after `d`, or earlier when `gate` (if given)
  /// closes.
  Task<void> sleep(std::chrono::nanoseconds duration, Gate* gate = nullptr);

  /// Runs `task` here and continues on the caller's shard (or here, when the caller's thread is no
  /// shard).
  template <typename T>
  Task<T> call(Task<T> task);

  /// Starts `task` on this shard in the background; `gate` is entered until it ends. Refused (the
  /// task is dropped unstarted) once the gate is closed.
  void spawn(Gate& gate, Task<void> task);

  /// For threads that are not shards (lanes, pool, tests): runs `task` on this shard and waits for
  /// its result.
  template <typename T>
  T block_on(Task<T> task);

  struct Impl;  // holds the io_context and the ring; seen by base/io alone
  Impl& impl() { return *impl_; }

 private:
  friend class Runtime;
  size_t index_;
  std::unique_ptr<Impl> impl_;
};

/// The threads of a node: shards for I/O, and a pool for what blocks (queries, planning,
/// compression of old data).
class Runtime {
 public:
  Runtime(size_t shards, size_t pool_threads);
  /// Stops and joins everything; gates of what still runs must have been closed before.
  ~Runtime();

  size_t shard_count() const { return shards_.size(); }
  Shard& shard(size_t index) { return *shards_[index]; }
  /// The shard that owns what hashes to `hash`.
  Shard& shard_of(uint64_t hash) { return *shards_[hash % shards_.size()]; }

  /// Runs `work` on a pool thread; may block. Any thread.
  void run_in_pool(std::move_only_function<void()> work);

  /// `co_await runtime.blocking([&] { return f(); })`: f on a pool thread, then back on the
  /// caller's shard. Must be awaited on a shard. Not a coroutine lambda: `f` is a plain function
  /// object and may capture.
  template <typename F>
  Task<std::invoke_result_t<F>> blocking(F f);

 private:
  struct Pool;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Pool> pool_;
};

// ---- what the templates need

struct Shard::Enter {
  Shard& shard;
  bool await_ready() const noexcept { return shard.is_current(); }
  void await_suspend(std::coroutine_handle<> h) const {
    shard.post([h] { h.resume(); });
  }
  void await_resume() const noexcept {}
};
inline Shard::Enter Shard::enter() { return Enter{*this}; }

template <typename T>
Task<T> Shard::call(Task<T> task) {
  Shard* origin = current();
  co_await enter();
  // The task's frame, with its parameters, is freed here before the caller goes on.
  if constexpr (std::is_void_v<T>) {
    {
      Task<T> running = std::move(task);
      co_await std::move(running);
    }
    if (origin) co_await origin->enter();
  } else {
    std::optional<T> result;
    {
      Task<T> running = std::move(task);
      result.emplace(co_await std::move(running));
    }
    if (origin) co_await origin->enter();
    co_return std::move(*result);
  }
}

namespace detail {

/// A coroutine that owns itself: starts at once, frees its frame at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
};

/// Where a thread that is no shard waits for a task.
template <typename T>
struct Waiting {
  std::mutex mutex;
  std::condition_variable done_changed;
  bool done = false;
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> value;

  void finish() {
    std::lock_guard lock(mutex);
    done = true;
    done_changed.notify_one();
  }
};

template <typename T>
Detached run_for(Shard& shard, Task<T> task, Waiting<T>& waiting) {
  co_await shard.enter();
  if constexpr (std::is_void_v<T>) {
    Task<T> running = std::move(task);
    co_await std::move(running);
    waiting.value.emplace();
  } else {
    Task<T> running = std::move(task);
    waiting.value.emplace(co_await std::move(running));
  }
  waiting.finish();
}

}  // namespace detail

template <typename T>
T Shard::block_on(Task<T> task) {
  MR_CHECK(current() == nullptr);
  detail::Waiting<T> waiting;
  detail::run_for(*this, std::move(task), waiting);
  std::unique_lock lock(waiting.mutex);
  waiting.done_changed.wait(lock, [&] { return waiting.done; });
  if constexpr (!std::is_void_v<T>) return std::move(*waiting.value);
}

template <typename F>
Task<std::invoke_result_t<F>> Runtime::blocking(F f) {
  using T = std::invoke_result_t<F>;
  Shard* origin = Shard::current();
  MR_CHECK(origin != nullptr);
  std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> result;
  struct Suspend {
    Runtime& runtime;
    Shard& origin;
    F& f;
    decltype(result)& out;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      runtime.run_in_pool([this, h] {
        if constexpr (std::is_void_v<T>) {
          f();
          out.emplace();
        } else {
          out.emplace(f());
        }
        origin.post([h] { h.resume(); });
      });
    }
    void await_resume() const noexcept {}
  };
  auto suspend = Suspend{*this, *origin, f, result};
  co_await suspend;
  if constexpr (!std::is_void_v<T>) co_return std::move(*result);
}

}  // namespace millrace::io
