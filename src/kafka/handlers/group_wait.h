#pragma once

#include <memory>
#include <stop_token>

#include "kafka/detail/services.h"

namespace millrace::kafka {

/// For a request that waits for other clients: while this lives, its token is stopped as soon as
/// the connection ends. Lives on the connection's shard.
class UntilGone {
 public:
  explicit UntilGone(Context& context) : hurry_(context.hurry), state_(std::make_shared<State>()) {
    context.shard.spawn(context.gate, watch(context.hurry, context.ending, state_));
  }
  ~UntilGone() {
    state_->done = true;
    hurry_.notify_all();  // lets go of the watching task
  }
  UntilGone(const UntilGone&) = delete;
  UntilGone& operator=(const UntilGone&) = delete;

  std::stop_token token() const { return state_->source.get_token(); }

 private:
  struct State {
    std::stop_source source;
    bool done = false;
  };
  /// Signal and flag are the connection's, as is the gate that waits for this task.
  static io::Task<void> watch(io::Signal& hurry, const bool& ending, std::shared_ptr<State> state) {
    constexpr auto kLook = std::chrono::hours(1);
    while (!state->done && !ending) {
      co_await hurry.wait_until(std::chrono::steady_clock::now() + kLook);
    }
    if (!state->done) state->source.request_stop();
  }

  io::Signal& hurry_;
  std::shared_ptr<State> state_;
};

/// The client's address as Kafka tells it of members: "/127.0.0.1".
inline std::string client_host(const Context& context) {
  const auto port = context.peer.rfind(':');
  auto host = context.peer.substr(0, port);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return "/" + std::string(host);
}

}  // namespace millrace::kafka
