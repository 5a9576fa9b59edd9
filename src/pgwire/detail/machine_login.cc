#include "pgwire/detail/machine.h"

namespace millrace::pgwire::detail {
namespace {

constexpr std::string_view kMechanism = "SCRAM-SHA-256";
// What an Authentication message asks for, or tells.
constexpr int32_t kSasl = 10, kSaslContinue = 11, kSaslFinal = 12;

}  // namespace

/// The user is the startup message's: what the messages of SCRAM say of it does not count, as in
/// PostgreSQL, whose clients leave it empty.
void Machine::ask_for_password(guard::Verifier verifier) {
  auto theirs = [verifier = std::move(verifier)](std::string_view) { return verifier; };
  login_ = std::make_unique<guard::ScramLogin>(guard::Digest::kSha256, std::move(theirs));
  Message ask(output_, 'R');
  put<int32_t>(output_, kSasl);
  put_text(output_, kMechanism);
  output_ += '\0';
  phase_ = Phase::kLogin;
}

void Machine::login() {
  auto frame = frames_.next(false);
  if (!frame) return fatal("08P01", frame.error().text);
  if (!*frame) {
    asked_ = Read{};
    return;
  }
  if ((*frame)->type == 'X') {
    phase_ = Phase::kEnded;
    return;
  }
  if ((*frame)->type != 'p') return fatal("08P01", "a password message was asked for");
  password_message(Reader((*frame)->body));
}

/// The first one has the mechanism and a length before what SCRAM says.
void Machine::password_message(Reader reader) {
  if (!std::exchange(mechanism_said_, true)) {
    const auto mechanism = reader.text();
    const auto length = reader.integer<int32_t>();
    if (!reader.ok() || length < 0 || static_cast<size_t>(length) != reader.left()) {
      return fatal("08P01", "malformed SASLInitialResponse message");
    }
    if (mechanism != kMechanism) {
      return fatal("08P01", "a mechanism was chosen that was not offered");
    }
  }
  auto answer = login_->step(reader.rest());
  if (!answer && answer.error().code == ErrorCode::kNotAllowed) {
    return fatal("28P01", fmt::format("password authentication failed for user \"{}\"", who_.user));
  }
  if (!answer) return fatal("08P01", answer.error().text);
  {
    Message told(output_, 'R');
    put<int32_t>(output_, login_->done() ? kSaslFinal : kSaslContinue);
    output_ += *answer;
  }
  if (!login_->done()) return;
  login_.reset();
  asked_ = who_;
  phase_ = Phase::kAsked;
}

}  // namespace millrace::pgwire::detail
