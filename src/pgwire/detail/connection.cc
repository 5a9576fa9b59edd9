#include "pgwire/detail/connection.h"

namespace millrace::pgwire::detail {

Connection::Connection(Setup setup)
    : setup_(std::move(setup)),
      machine_(
          {setup_.process, setup_.secret, "15.0 (Millrace " MR_VERSION ")", setup_.verifier_of}) {}

Connection::Todo Connection::greet(std::string_view bytes) {
  machine_.feed(bytes);
  while (true) {
    Step step = machine_.next();
    if (std::holds_alternative<Read>(step)) return Todo::kRead;
    if (std::holds_alternative<Write>(step)) return Todo::kWrite;
    if (auto* connect = std::get_if<Connect>(&step)) {
      connect_ = std::move(*connect);
      return Todo::kConnect;
    }
    if (auto* close = std::get_if<Close>(&step)) {
      close_reason_ = close->reason;
      return Todo::kClose;
    }
    MR_CHECK(std::holds_alternative<Cancel>(step));
    perform(std::get<Cancel>(step));
  }
}

Connection::Todo Connection::advance(std::string_view bytes) {
  if (connect_) {
    Connect connect = *std::exchange(connect_, std::nullopt);
    perform(connect);
  }
  machine_.feed(bytes);
  if (std::exchange(await_, std::nullopt)) machine_.waited(go_on());
  while (true) {
    Step step = machine_.next();
    if (std::holds_alternative<Write>(step)) return Todo::kWrite;
    if (auto* await = std::get_if<Await>(&step)) {
      await->cursor->on_rows(setup_.wake);
      await_ = *await;
      return Todo::kAwait;
    }
    if (!std::holds_alternative<Fetch>(step)) endless_ = interrupted_ = false;
    if (std::holds_alternative<Read>(step)) return Todo::kRead;
    if (auto* close = std::get_if<Close>(&step)) {
      close_reason_ = close->reason;
      return Todo::kClose;
    }
    std::visit([this](auto& what) { perform(what); }, step);
  }
}

Connection::Todo Connection::shut_down() {
  machine_.end(Error{ErrorCode::kShuttingDown, "terminating connection: the node is stopping"});
  return Todo::kClose;
}

void Connection::interrupt() {
  if (endless_) {
    interrupted_ = true;
    return setup_.wake();
  }
  if (sql::Session* session = running_) session->interrupt();
}

void Connection::perform(Connect& step) {
  auto session = setup_.engine.connect(std::move(step.user), std::move(step.database));
  if (!session) return machine_.connected(std::move(session).error());
  session_ = std::move(*session);
  machine_.set_transaction_state(session_->transaction_state());
  machine_.connected({});
}

void Connection::perform(Split& step) { machine_.split(session_->split(step.script)); }

void Connection::perform(Prepare& step) {
  running_ = session_.get();
  auto result = session_->prepare(std::move(step.sql), std::move(step.types));
  running_ = nullptr;
  machine_.set_transaction_state(session_->transaction_state());
  machine_.prepared(std::move(result));
}

void Connection::perform(Execute& step) {
  running_ = session_.get();
  auto result = session_->execute(*step.statement, std::move(step.parameters));
  running_ = nullptr;
  machine_.set_transaction_state(session_->transaction_state());
  machine_.executed(std::move(result));
}

Result<> Connection::go_on() {
  if (!interrupted_.exchange(false)) return {};
  return Error{ErrorCode::kCancelled, "canceling statement due to user request"};
}

void Connection::perform(Fetch& step) {
  if (step.cursor->endless()) {
    if (!endless_.exchange(true)) interrupted_ = false;
    if (auto on = go_on(); !on) return machine_.fetched(std::move(on).error());
    return machine_.fetched(step.cursor->fetch());
  }
  running_ = session_.get();
  auto result = step.cursor->fetch();
  running_ = nullptr;
  machine_.set_transaction_state(session_->transaction_state());
  machine_.fetched(std::move(result));
}

void Connection::perform(CopyIn& step) {
  running_ = session_.get();
  auto result = session_->copy_in(step.copy.table, step.copy.columns,
                                  step.copy.options.format == CopyFormat::kCsv ? "csv" : "text",
                                  step.copy.options.header, std::move(step.data));
  running_ = nullptr;
  machine_.set_transaction_state(session_->transaction_state());
  machine_.copied(std::move(result));
}

void Connection::perform(Cancel& step) { setup_.canceller.cancel(step.process, step.secret); }

}  // namespace millrace::pgwire::detail
