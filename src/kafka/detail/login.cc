#include "kafka/detail/login.h"

#include "base/logging.h"
#include "guard/users.h"
#include "kafka/detail/services.h"

namespace millrace::kafka {

namespace {

/// Its iterations take a pool thread for a millisecond or two: one login a shard at a time, so that
/// statements have the others.
io::Task<Result<std::string>> plain(Context& context, std::string token) {
  MR_CO_TRY(const auto message, guard::read_plain(token));
  auto& services = context.services;
  const auto turn = co_await services.plain_logins[context.shard.index()]->take();
  const auto snapshot = services.coordinators.catalog.snapshot();
  const auto* user = snapshot->find_user(message.user);
  auto check = [&] { return guard::password_fits(user, message.password); };
  const bool fits = co_await services.runtime.blocking(check);
  if (!fits) co_return guard::wrong_login();
  context.client.user = message.user;
  context.login.state = Login::State::kDone;
  co_return std::string();
}

Result<std::string> scram(Context& context, std::string_view token) {
  auto& login = context.login;
  if (!login.scram) {
    const auto digest = login.mechanism == guard::Mechanism::kScramSha256 ? guard::Digest::kSha256
                                                                          : guard::Digest::kSha512;
    const auto& catalog = context.services.coordinators.catalog;
    const auto verifier = [&catalog, digest](std::string_view name) {
      const auto snapshot = catalog.snapshot();
      const auto* user = snapshot->find_user(name);
      return user ? guard::verifier_of(*user, digest) : std::nullopt;
    };
    login.scram = std::make_unique<guard::ScramLogin>(digest, verifier);
  }
  MR_TRY(auto answer, login.scram->step(token));
  if (!login.scram->done()) return answer;
  context.client.user = login.scram->user();
  login.state = Login::State::kDone;
  login.scram.reset();
  return answer;
}

}  // namespace

io::Task<Result<std::string>> take_token(Context& context, std::string token) {
  const auto mechanism = context.login.mechanism;
  Result<std::string> answer = mechanism == guard::Mechanism::kPlain
                                   ? co_await plain(context, std::move(token))
                                   : scram(context, token);
  if (!answer) {
    logging::warn("a login failed", {{"peer", context.peer},
                                     {"mechanism", guard::name_of(mechanism)},
                                     {"reason", answer.error().text}});
  }
  co_return answer;
}

}  // namespace millrace::kafka
