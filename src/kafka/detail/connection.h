#pragma once

#include <deque>
#include <memory>

#include "base/io/socket.h"
#include "kafka/detail/frame_decoder.h"
#include "kafka/detail/services.h"
#include "kafka/detail/wakeup.h"

namespace millrace::kafka {

/// One client's connection, on its shard. Three coroutines: run() reads frames, execute() has them
/// handled, respond() sends the answers in the order of the requests. An idle one has no buffers.
///
/// What it holds (half a frame, requests, answers) is counted in the node's memory for clients.
/// While that is used up, a connection that holds more than a little reads no more, and begins no
/// Fetch.
///
/// Requests are handled one after the other, as a Kafka broker does, but for Produce: those that
/// follow each other run at once, begun in order, so that their appends share an fsync.
class Connection {
 public:
  Connection(Services& services, io::Socket socket);
  ~Connection();

  /// Serves until the client closes, sends something that is not of the protocol, or stop().
  io::Task<void> run();
  /// Reads no more; what was read is answered, then the connection closes.
  void stop();
  const ConnectionInfo& described() const { return info_; }
  /// Closes it if it has been idle too long, or holds half a request that does not come while
  /// memory is short. Call now and then.
  void close_if_idle(std::chrono::steady_clock::time_point now);

 private:
  /// A request from its arrival until its answer is sent.
  struct Request {
    explicit Request(io::MemoryBudget& budget) : held(budget) {}
    std::string frame;
    std::optional<Context> context;
    bool done = false;
    std::optional<Encoded> response;
    size_t bytes = 0;  // counted in in_flight_bytes_
    io::MemoryBudget::Held held;
  };

  io::Task<void> read();
  io::Task<void> execute();
  io::Task<void> execute_one(Request& request);
  io::Task<void> execute_token(Request& request);
  void begin(Request& request, RequestHeader header);
  io::Task<void> respond();
  bool has_room() const;
  io::Task<void> take_frames(FrameDecoder& decoder);
  io::Task<void> wait_for_memory();
  io::Task<void> wait_while_muted();
  void finish(Request& request, Result<std::optional<Encoded>> answer);
  /// Nothing is read or begun any more; what is answered is sent.
  void close_soon();
  /// Nothing more is read or sent; `why` is logged.
  void fail(const Error& why);

  Services& services_;
  io::Socket socket_;
  ConnectionInfo info_;
  Login login_;
  io::Gate gate_;
  io::Signal hurry_;
  std::deque<std::unique_ptr<Request>> requests_;  // answered ones leave in front
  size_t begun_ = 0;                               // how many of requests_ are begun
  size_t running_ = 0;                             // begun and not done
  io::MemoryBudget::Held part_;                    // half a frame
  bool exempt_ = false;                            // from the limit of memory, until its next frame
  bool held_up_ = false;                           // by that limit: nothing is read
  std::chrono::steady_clock::time_point last_active_;
  std::chrono::steady_clock::time_point muted_until_;  // its quota is used up (KIP-219)
  size_t in_flight_bytes_ = 0;
  size_t unsent_bytes_ = 0;
  bool ending_ = false;  // no more is read
  bool broken_ = false;  // no more is sent
  Wakeup room_;          // for read()
  Wakeup work_;          // for execute()
  Wakeup answers_;       // for respond()
  Wakeup ended_;         // for run()
  int loops_ = 2;        // execute() and respond(), until they end
};

}  // namespace millrace::kafka
