#pragma once

#include <atomic>
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
  };
  explicit Connection(Setup setup);

  /// What the loop does next, after it has written take_output().
  enum class Todo { kRead, kWrite, kClose, kConnect };
  /// As advance(), before there is a session: never blocks, so that a CancelRequest gets through
  /// while every pool thread is busy. kConnect: go on with advance({}).
  Todo greet(std::string_view bytes);
  bool has_session() const { return session_ != nullptr; }
  /// Takes the client's bytes and works until it needs more, or has enough to write.
  Todo advance(std::string_view bytes);
  /// The node stops: tells the client.
  Todo shut_down();
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
  void perform(CopyIn& step);
  void perform(Cancel& step);
  void perform(Read&) {}
  void perform(Write&) {}
  void perform(Close&) {}

  Setup setup_;
  std::string close_reason_;
  std::optional<Connect> connect_;  // that greet() has met
  std::unique_ptr<sql::Session> session_;
  std::atomic<sql::Session*> running_ = nullptr;  // while a statement can be interrupted
  Machine machine_;  // after the session: its cursors and statements go first
};

}  // namespace millrace::pgwire::detail
