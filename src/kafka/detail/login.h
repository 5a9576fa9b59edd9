#pragma once

#include <memory>
#include <string>

#include "base/io/task.h"
#include "guard/sasl.h"

namespace millrace::kafka {

struct Context;

/// How far a connection is with saying who it is (SASL). On its shard; a token at a time.
struct Login {
  enum class State {
    kNone,       // it is anonymous
    kTokens,     // a mechanism is agreed on: nothing but SaslAuthenticate may come
    kRawTokens,  // the same by SaslHandshake 0: bytes come, with no request around them
    kDone,
  };
  State state = State::kNone;
  guard::Mechanism mechanism = guard::Mechanism::kPlain;
  std::unique_ptr<guard::ScramLogin> scram;  // while it is under way: connections are many

  bool under_way() const { return state == State::kTokens || state == State::kRawTokens; }
};

/// Answers the client's next token; once the login is done, the connection is that user's. Errors:
/// kProtocol, kNotAllowed; the connection is to be closed then.
io::Task<Result<std::string>> take_token(Context& context, std::string token);

}  // namespace millrace::kafka
