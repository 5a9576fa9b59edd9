#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::client::detail {

/// A module as a node gives it.
struct Fetched {
  bool unchanged = false;  // it is still the one of `known`
  std::string bytes;
};

/// How long a node may take to answer.
inline constexpr std::chrono::milliseconds kAnswerTime{5'000};

/// Asks the node at `address` for the module of `function`; that of `hash` when one is given.
/// `known`: the hash of the module that is there already, or empty. Waits, until `stop` or the
/// answer's time. Errors: kConnectionClosed (nobody answers, or the node stops),
/// kUndefinedFunction, kInvalidArgument (no address), kProtocol.
Result<Fetched> fetch_module(std::string_view address, std::string_view function,
                             std::string_view hash, std::string_view known,
                             const std::stop_token& stop = {},
                             std::chrono::milliseconds answer_time = kAnswerTime);

}  // namespace millrace::client::detail
