#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/io/env.h"
#include "base/io/shard.h"

namespace millrace::io {

/// A part of what is written to a socket: bytes, or a range of a file, which then goes from the
/// system's file cache to the socket without passing through the process.
struct Piece {
  std::string_view bytes = {};
  FileRange file = {};  // when set, instead of `bytes`
};

/// One TCP connection; lives on one shard. One read and one write may overlap.
class Socket {
 public:
  struct Impl;
  explicit Socket(std::unique_ptr<Impl> impl);
  ~Socket();
  Socket(Socket&&) noexcept;

  /// Reads at least one byte into `into`; 0 is the end of the stream. Errors: kConnectionClosed,
  /// kIo.
  Task<Result<size_t>> read_some(std::span<char> into);
  /// Continues when there is something to read, or the connection has ended: what waits needs no
  /// buffer.
  Task<void> readable();
  /// Reads what is there, without waiting; nullopt when nothing is. Otherwise as read_some().
  Result<std::optional<size_t>> read_now(std::span<char> into);
  /// Writes all of `pieces`, in order. The bytes must live until it completes. A file that became
  /// shorter is kIo, and the stream is then useless.
  Task<Result<>> write(std::span<const Piece> pieces);
  Task<Result<>> write(std::span<const std::string_view> parts);
  Task<Result<>> write(std::string_view bytes);

  /// Ends both directions: what reads or writes now completes with kConnectionClosed. Idempotent.
  void shutdown();
  /// "127.0.0.1:51234"
  const std::string& peer() const;
  Shard& shard();

 private:
  std::unique_ptr<Impl> impl_;
};

/// Accepts TCP connections on one address and hands each to a shard in turn.
class Listener {
 public:
  /// `address` is "host:port"; port 0 picks a free one. Errors: kInvalidArgument, kIo (address in
  /// use: says so).
  static Result<std::unique_ptr<Listener>> listen(Runtime& runtime, std::string_view address);
  ~Listener();

  /// The address in use, with the real port.
  const std::string& address() const;

  /// Accepts until close(); each connection is handled by `serve(socket)` on the shard that it
  /// lives on, in the background. Call once.
  void start(std::function<Task<void>(Socket)> serve);

  /// Stops accepting, shuts down open connections after `grace`, and continues when every serve()
  /// has ended.
  Task<void> close(std::chrono::milliseconds grace);

 private:
  struct Impl;
  explicit Listener(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::io
