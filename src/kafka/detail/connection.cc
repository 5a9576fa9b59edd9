#include "kafka/detail/connection.h"

#include "base/logging.h"
#include "kafka/detail/dispatch.h"
#include "kafka/messages.h"

namespace millrace::kafka {

Connection::Connection(Services& services, io::Socket socket)
    : services_(services), socket_(std::move(socket)), hurry_(socket_.shard()) {
  services_.connections->add(1);
}

Connection::~Connection() { services_.connections->add(-1); }

io::Task<void> Connection::run() {
  auto& shard = socket_.shard();
  shard.spawn(gate_, execute());
  shard.spawn(gate_, respond());
  co_await read();
  ending_ = true;
  hurry_.notify_all();
  work_.notify();
  // What runs beside execute() enters the gate until both loops have ended.
  while (loops_ > 0) co_await ended_.wait();
  co_await gate_.close();
}

void Connection::stop() {
  ending_ = true;
  hurry_.notify_all();
  if (requests_.empty()) socket_.shutdown();
}

void Connection::fail(const Error& why) {
  if (!broken_) {
    logging::warn("closing a Kafka connection",
                  {{"peer", socket_.peer()}, {"reason", why.text}, {"code", info(why.code).name}});
  }
  broken_ = true;
  ending_ = true;
  socket_.shutdown();
  hurry_.notify_all();
}

bool Connection::has_room() const {
  return requests_.empty() || (in_flight_bytes_ < services_.limits.in_flight_bytes_max &&
                               requests_.size() < services_.limits.in_flight_requests_max);
}

io::Task<void> Connection::read() {
  FrameDecoder decoder(services_.limits.frame_bytes_max);
  while (!ending_) {
    auto count = co_await socket_.read_some(decoder.space());
    if (!count || *count == 0) co_return;
    services_.bytes_in->add(static_cast<double>(*count));
    decoder.filled(*count);
    while (!ending_) {
      auto frame = decoder.next();
      if (!frame) {
        fail(frame.error());
        co_return;
      }
      if (!*frame) break;
      while (!has_room() && !ending_) co_await room_.wait();
      if (ending_) co_return;
      auto request = std::make_unique<Request>();
      request->bytes = (*frame)->size();
      request->frame = std::move(**frame);
      in_flight_bytes_ += request->bytes;
      requests_.push_back(std::move(request));
      work_.notify();
    }
  }
}

io::Task<void> Connection::execute() {
  constexpr auto kProduceKey = static_cast<int16_t>(ApiKey::kProduce);
  while (!broken_) {
    if (begun_ == requests_.size()) {
      if (ending_) break;
      co_await work_.wait();
      continue;
    }
    Request& request = *requests_[begun_];
    Reader peek(request.frame);
    const bool alone = peek.int16() != kProduceKey;
    const bool full = unsent_bytes_ > services_.limits.unsent_bytes_max;
    if (alone && (running_ > 0 || full)) {
      co_await work_.wait();
      continue;
    }
    ++begun_;
    ++running_;
    if (alone) {
      co_await execute_one(request);
    } else {
      socket_.shard().spawn(gate_, execute_one(request));
    }
  }
  --loops_;
  answers_.notify();
  ended_.notify();
}

io::Task<void> Connection::execute_one(Request& request) {
  Reader in(request.frame);
  auto header = RequestHeader::read(in);
  if (!in.ok()) {
    finish(request, in.error());
    co_return;
  }
  request.context.emplace(
      Context{services_, socket_.shard(), gate_, hurry_, ending_, std::move(header), socket_.peer()});
  auto answer = co_await dispatch(*request.context, in);
  finish(request, std::move(answer));
}

void Connection::finish(Request& request, Result<std::optional<Encoded>> answer) {
  --running_;
  request.done = true;
  request.frame = std::string();
  if (!answer) {
    fail(answer.error());
  } else {
    request.response = std::move(*answer);
    if (request.response) unsent_bytes_ += request.response->total_bytes();
  }
  answers_.notify();
  work_.notify();
}

io::Task<void> Connection::respond() {
  while (true) {
    if (requests_.empty() || (!requests_.front()->done && !broken_)) {
      if (ending_ && requests_.empty()) break;
      co_await answers_.wait();
      continue;
    }
    if (broken_) {
      // What still runs is waited for; nothing is sent.
      while (running_ > 0) co_await answers_.wait();
      break;
    }
    auto response = std::move(requests_.front()->response);
    if (response) {
      const auto parts = response->parts();
      auto written = co_await socket_.write(parts);
      unsent_bytes_ -= response->total_bytes();
      services_.bytes_out->add(static_cast<double>(response->total_bytes()));
      if (!written) broken_ = ending_ = true;
    }
    in_flight_bytes_ -= requests_.front()->bytes;
    requests_.pop_front();
    --begun_;
    room_.notify();
    work_.notify();
  }
  ending_ = true;
  socket_.shutdown();
  --loops_;
  room_.notify();
  work_.notify();
  ended_.notify();
}

}  // namespace millrace::kafka
