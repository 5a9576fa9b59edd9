#include "kafka/detail/connection.h"

#include "base/logging.h"
#include "kafka/detail/dispatch.h"
#include "kafka/messages.h"

namespace millrace::kafka {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kProduceKey = static_cast<int16_t>(ApiKey::kProduce);
constexpr auto kFetchKey = static_cast<int16_t>(ApiKey::kFetch);
/// What a connection may hold though the node's memory for clients is used up: heartbeats go on.
constexpr size_t kFreeBytes = 2 * FrameDecoder::kBufferBytes;
/// Reads of one connection before the shard looks at the others.
constexpr int kReadsATurn = 16;

/// What a request takes beside its answer: the log has a copy of what is produced.
size_t memory_of(const std::string& frame) {
  Reader peek(frame);
  return peek.int16() == kProduceKey ? 2 * frame.size() : frame.size();
}

}  // namespace

Connection::Connection(Services& services, io::Socket socket)
    : services_(services),
      socket_(std::move(socket)),
      hurry_(socket_.shard()),
      part_(*services.memory),
      last_active_(Clock::now()) {
  services_.connections->add(1);
  info_.peer = socket_.peer();
  info_.shard = socket_.shard().index();
  info_.connected_ms = services_.env.now_ms();
}

Connection::~Connection() {
  if (exempt_) services_.memory->give_back_exemption();
  services_.connections->add(-1);
}

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

void Connection::close_soon() {
  while (requests_.size() > begun_) {
    in_flight_bytes_ -= requests_.back()->bytes;
    requests_.pop_back();
  }
  ending_ = true;
  hurry_.notify_all();
  room_.notify();
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

void Connection::close_if_idle(Clock::time_point now) {
  if (ending_ || running_ > 0 || held_up_) return;
  const auto quiet = now - last_active_;
  if (quiet > services_.server_limits.idle) {
    logging::debug("closing an idle Kafka connection", {{"peer", socket_.peer()}});
    stop();
    socket_.shutdown();
  } else if (!services_.memory->has_room() && part_.bytes() > kFreeBytes &&
             quiet > services_.server_limits.stalled) {
    fail(Error{ErrorCode::kOutOfMemory,
               fmt::format("memory is short, and {} bytes of a request came and then no more",
                           part_.bytes())});
  }
}

/// While memory is short, those that hold much wait.
io::Task<void> Connection::wait_for_memory() {
  auto& gate = *services_.memory_gates[socket_.shard().index()];
  while (!gate.budget().has_room() && !exempt_ && !ending_ &&
         part_.bytes() + in_flight_bytes_ > kFreeBytes) {
    held_up_ = true;  // it is not the client that waits
    exempt_ = co_await gate.wait(ending_);
    held_up_ = false;
    last_active_ = Clock::now();
  }
}

io::Task<void> Connection::wait_while_muted() {
  while (Clock::now() < muted_until_ && !ending_) co_await hurry_.wait_until(muted_until_);
}

io::Task<void> Connection::read() {
  FrameDecoder decoder(services_.limits.frame_bytes_max);
  int reads = 0;
  while (!ending_) {
    const auto count = socket_.read_now(decoder.space());
    if (!count) co_return;
    if (!*count) {
      decoder.shrink();
      part_.set(decoder.memory_bytes());
      reads = 0;
      co_await socket_.readable();
      continue;
    }
    if (**count == 0) co_return;
    decoder.filled(**count);
    services_.bytes_in->add(static_cast<double>(**count));
    info_.received_bytes += **count;
    last_active_ = Clock::now();
    co_await take_frames(decoder);
    part_.set(decoder.memory_bytes());
    if (!services_.memory->has_room()) co_await wait_for_memory();
    if (Clock::now() < muted_until_) co_await wait_while_muted();
    if (++reads < kReadsATurn) continue;
    reads = 0;
    co_await socket_.readable();
  }
}

/// Queues what has come whole.
io::Task<void> Connection::take_frames(FrameDecoder& decoder) {
  while (!ending_) {
    auto frame = decoder.next();
    if (!frame) {
      fail(frame.error());
      co_return;
    }
    if (!*frame) co_return;
    while (!has_room() && !ending_) co_await room_.wait();
    if (ending_) co_return;
    if (std::exchange(exempt_, false)) services_.memory->give_back_exemption();
    auto request = std::make_unique<Request>(*services_.memory);
    request->held.set(memory_of(**frame));
    request->bytes = (*frame)->size();
    request->frame = std::move(**frame);
    in_flight_bytes_ += request->bytes;
    requests_.push_back(std::move(request));
    work_.notify();
  }
}

io::Task<void> Connection::execute() {
  while (!broken_) {
    if (begun_ == requests_.size()) {
      if (ending_) break;
      co_await work_.wait();
      continue;
    }
    if (Clock::now() < muted_until_) {
      co_await wait_while_muted();
      continue;
    }
    Request& request = *requests_[begun_];
    Reader peek(request.frame);
    const int16_t key = peek.int16();
    const bool token = login_.state == Login::State::kRawTokens;
    const bool alone = token || key != kProduceKey;
    const bool full = unsent_bytes_ > services_.limits.unsent_bytes_max;
    if (alone && (running_ > 0 || full)) {
      co_await work_.wait();
      continue;
    }
    if (key == kFetchKey && !token && unsent_bytes_ > 0 && !services_.memory->has_room()) {
      co_await work_.wait();  // until its client has taken what there is for it
      continue;
    }
    ++begun_;
    ++running_;
    if (token) {
      co_await execute_token(request);
    } else if (alone) {
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
  ++info_.requests;
  if (header.client_id && *header.client_id != info_.client_id) info_.client_id = *header.client_id;
  begin(request, std::move(header));
  auto answer = co_await dispatch(*request.context, in);
  finish(request, std::move(answer));
}

void Connection::begin(Request& request, RequestHeader header) {
  request.context.emplace(Context{.services = services_,
                                  .shard = socket_.shard(),
                                  .gate = gate_,
                                  .hurry = hurry_,
                                  .ending = ending_,
                                  .header = std::move(header),
                                  .frame = request.frame,
                                  .request_bytes = request.bytes,
                                  .peer = socket_.peer(),
                                  .client = info_,
                                  .login = login_});
}

/// A token of a login by SaslHandshake 0: the frame is the token, and so is the answer. There is no
/// way to tell what was wrong but to close.
io::Task<void> Connection::execute_token(Request& request) {
  begin(request, RequestHeader());
  auto token = co_await take_token(*request.context, std::move(request.frame));
  if (!token) {
    request.context->closes = true;
    finish(request, std::optional<Encoded>());
    co_return;
  }
  Writer out;
  out.bytes(*token, false);
  auto answer = out.finish(false);
  if (answer) {
    finish(request, std::optional(std::move(*answer)));
  } else {
    finish(request, std::move(answer).error());
  }
}

void Connection::finish(Request& request, Result<std::optional<Encoded>> answer) {
  --running_;
  request.done = true;
  request.frame = std::string();
  request.held.set(0);
  if (request.context && request.context->throttle.count() > 0) {
    muted_until_ = std::max(muted_until_, Clock::now() + request.context->throttle);
  }
  if (!answer) {
    fail(answer.error());
  } else {
    request.response = std::move(*answer);
    if (request.response) {
      unsent_bytes_ += request.response->total_bytes();
      request.held.set(request.response->memory_bytes());
    }
  }
  if (request.context && request.context->closes) close_soon();
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
      const auto pieces = response->pieces();
      last_active_ = Clock::now();
      auto written = co_await socket_.write(pieces);
      last_active_ = Clock::now();
      unsent_bytes_ -= response->total_bytes();
      services_.bytes_out->add(static_cast<double>(response->total_bytes()));
      info_.sent_bytes += response->total_bytes();
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
