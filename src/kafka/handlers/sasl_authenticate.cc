#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

/// Takes one token of the mechanism that SaslHandshake agreed on. A failed login ends the
/// connection. Source: KIP-152.
io::Task<SaslAuthenticateResponse> sasl_authenticate(Context& context,
                                                     SaslAuthenticateRequest request) {
  SaslAuthenticateResponse response;
  if (context.login.state != Login::State::kTokens) {
    response.error_code = wire::kIllegalSaslState;
    response.error_message = "SaslAuthenticate comes behind a SaslHandshake, once a connection";
    context.closes = context.login.state != Login::State::kDone;
    co_return response;
  }
  auto answer = co_await take_token(context, std::move(request.auth_bytes));
  if (answer) {
    response.auth_bytes = std::move(*answer);
  } else {
    response.error_code = wire::kSaslAuthenticationFailed;
    response.error_message = std::move(answer).error().text;
    context.closes = true;
  }
  co_return response;
}

}  // namespace millrace::kafka
