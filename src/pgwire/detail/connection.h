#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "pgwire/detail/machine.h"
#include "sql/engine.h"

namespace millrace::pgwire::detail {

/// Whom a CancelRequest goes to.
class Canceller {
 public:
  virtual ~Canceller() = default;
  virtual void cancel(int32_t process, int32_t secret) = 0;
};

/// A step machine and the session that it asks. Everything but interrupt() from one thread at a
/// time; advance() blocks, so it belongs on the pool.
class Connection {
 public:
  struct Setup {
    sql::Engine& engine;
    Canceller& canceller;
    int32_t process;
    int32_t secret;
    /// Ends the loop's wait for rows; any thread.
    std::function<void()> wake = [] {};
    VerifierOf verifier_of = {};
  };
  explicit Connection(Setup setup);

  /// What the loop does next, after it has written take_output().
  /// kAwait: waits for wake(), or until await_until(), looks whether the client has sent something
  /// or is gone, and goes on with advance().
  enum class Todo { kRead, kWrite, kClose, kConnect, kAwait };
  /// As advance(), before there is a session: never blocks, so that a CancelRequest gets through
  /// while every pool thread is busy. kConnect: go on with advance({}).
  Todo greet(std::string_view bytes);
  bool has_session() const { return session_ != nullptr; }
  /// Takes the client's bytes and works until it needs more, or has enough to write.
  Todo advance(std::string_view bytes);
  /// The node stops: tells the client.
  Todo shut_down();
  std::optional<std::chrono::steady_clock::time_point> await_until() const {
    return await_ ? await_->until : std::nullopt;
  }
  std::string take_output() { return machine_.take_output(); }
  Machine::Counts take_counts() { return machine_.take_counts(); }
  const std::string& close_reason() const { return close_reason_; }

  int32_t process() const { return setup_.process; }
  int32_t secret() const { return setup_.secret; }
  /// Ends the statement that runs, if one does. Any thread, until the connection is destroyed.
  void interrupt();

 private:
  void perform(Connect& step);
  void perform(Split& step);
  void perform(Prepare& step);
  void perform(Execute& step);
  void perform(Fetch& step);
  void perform(Await&) {}
  void perform(CopyIn& step);
  Result<> go_on();
  void perform(Cancel& step);
  void perform(Read&) {}
  void perform(Write&) {}
  void perform(Close&) {}

  Setup setup_;
  std::string close_reason_;
  std::optional<Connect> connect_;  // that greet() has met
  std::optional<Await> await_;      // that advance() has met
  std::unique_ptr<sql::Session> session_;
  std::atomic<sql::Session*> running_ = nullptr;  // while a statement can be interrupted
  // A result without an end is read, which asks the session for nothing; and was interrupted.
  std::atomic<bool> endless_ = false;
  std::atomic<bool> interrupted_ = false;
  Machine machine_;  // after the session: its cursors and statements go first
};

}  // namespace millrace::pgwire::detail
