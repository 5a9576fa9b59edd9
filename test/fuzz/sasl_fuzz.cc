// The messages of logins: SCRAM's in a row, PLAIN's, and verifiers as they are kept.

#include <cstdint>
#include <string>
#include <vector>

#include "guard/sasl.h"
#include "guard/scram_test_util.h"
#include "test/fuzz/seeds.h"

namespace {
using namespace millrace;

constexpr const char* kNonce = "server";

const guard::Verifier& verifier() {
  static const auto made = guard::make_verifier(guard::Digest::kSha256, "secret", "salt", 1);
  return made;
}

guard::ScramLogin login() {
  const auto lookup = [](std::string_view user) {
    return user == "ann" ? std::optional(verifier()) : std::nullopt;
  };
  return guard::ScramLogin(guard::Digest::kSha256, lookup, kNonce);
}
}  // namespace

std::vector<std::string> fuzz_seeds() {
  using namespace std::string_literals;
  guard::ScramClient client(guard::Digest::kSha256, "ann", "secret");
  auto server = login();
  const auto first = client.first();
  return {first + "\n" + client.last(*server.step(first)),
          "n,a=ann,n=ann,r=x,e=y\nc=biws,r=x,p=AA==", "\0ann\0secret"s, guard::to_text(verifier())};
}

// The input: messages, a line each. The nonce is always the same, so that a seed gets through.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  auto server = login();
  size_t at = 0;
  while (at <= input.size()) {
    const auto end = std::min(input.find('\n', at), input.size());
    const auto answer = server.step(std::string_view(input).substr(at, end - at));
    if (server.done() && (!answer || server.user() != "ann")) __builtin_trap();
    at = end + 1;
  }
  if (const auto plain = guard::read_plain(input)) {
    if (plain->user.size() + plain->password.size() + 2 > size) __builtin_trap();
  }
  if (const auto kept = guard::verifier_from(input)) {
    if (guard::verifier_from(guard::to_text(*kept)) != kept) __builtin_trap();
  }
  return 0;
}
