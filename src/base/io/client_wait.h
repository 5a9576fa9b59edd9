#pragma once

#include <memory>
#include <span>

#include "base/io/bell.h"
#include "base/io/gate.h"
#include "base/io/socket.h"

namespace millrace::io {

/// Waits for a bell or for the client of a socket, whichever comes first: what sends a client news
/// sees at once that it is gone. Lives on the socket's shard; ends with close().
class ClientWait {
 public:
  explicit ClientWait(Socket& socket)
      : socket_(socket), bell_(std::make_shared<Bell>(socket.shard())) {}

  const std::shared_ptr<Bell>& bell() const { return bell_; }
  /// Until the bell rings or the client sends something, for `most` at the most. Gives what was
  /// read `into`. Errors: the client is gone.
  Task<Result<size_t>> wait(std::chrono::nanoseconds most, std::span<char> into);
  /// May shut the socket down. To be awaited before the end.
  Task<void> close();

 private:
  Task<void> look_out();

  Socket& socket_;
  std::shared_ptr<Bell> bell_;
  Gate gate_;
  bool looking_ = false;
};

}  // namespace millrace::io
