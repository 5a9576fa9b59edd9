#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

/// Agrees on a mechanism. Version 0 says that tokens come as they are, 1 that each comes in a
/// SaslAuthenticate. Source: KIP-43, KIP-152.
io::Task<SaslHandshakeResponse> sasl_handshake(Context& context, SaslHandshakeRequest request) {
  SaslHandshakeResponse response;
  for (const auto mechanism : guard::kMechanisms) {
    response.mechanisms.emplace_back(guard::name_of(mechanism));
  }
  Login& login = context.login;
  const auto mechanism = guard::mechanism_named(request.mechanism);
  if (login.state != Login::State::kNone) {
    response.error_code = wire::kIllegalSaslState;  // a session has no end: nobody logs in anew
  } else if (!mechanism) {
    response.error_code = wire::kUnsupportedSaslMechanism;
    context.closes = true;
  } else {
    login.mechanism = *mechanism;
    login.state = context.version() == 0 ? Login::State::kRawTokens : Login::State::kTokens;
  }
  co_return response;
}

}  // namespace millrace::kafka
