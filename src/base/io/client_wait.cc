#include "base/io/client_wait.h"

namespace millrace::io {

Task<void> ClientWait::look_out() {
  co_await socket_.readable();
  looking_ = false;
  bell_->ring();
}

Task<Result<size_t>> ClientWait::wait(std::chrono::nanoseconds most, std::span<char> into) {
  if (!looking_) {
    looking_ = true;
    socket_.shard().spawn(gate_, look_out());
  }
  co_await bell_->wait(most);
  auto sent = socket_.read_now(into);
  if (!sent) co_return std::move(sent).error();
  if (*sent && **sent == 0)
    co_return Error{ErrorCode::kConnectionClosed, "the client has closed the connection"};
  co_return sent->value_or(0);
}

Task<void> ClientWait::close() {
  if (looking_) socket_.shutdown();
  co_await gate_.close();
}

}  // namespace millrace::io
