#pragma once

#include <string>

#include "guard/detail/crypto.h"

namespace millrace::guard {

/// A client, as RFC 5802 has it; for tests of whoever carries its messages.
class ScramClient {
 public:
  ScramClient(Digest digest, std::string name, std::string password, std::string nonce = "abc")
      : digest_(digest), password_(std::move(password)) {
    bare_ = "n=" + name + ",r=" + nonce;
  }
  std::string first() const { return "n,," + bare_; }
  std::string last(const std::string& server_first) {
    const auto part = [&](char name) {
      const auto at = server_first.find(std::string({name, '='}));
      return server_first.substr(at + 2, server_first.find(',', at) - at - 2);
    };
    const auto salted =
        detail::iterated(digest_, password_, *detail::from_base64(part('s')), std::stoi(part('i')));
    const auto without_proof = "c=biws,r=" + part('r');
    all_ = bare_ + "," + server_first + "," + without_proof;
    server_key_ = detail::hmac(digest_, salted, "Server Key");
    auto proof = detail::hmac(digest_, salted, "Client Key");
    const auto signature = detail::hmac(digest_, detail::hash(digest_, proof), all_);
    for (size_t i = 0; i < proof.size(); ++i) proof[i] ^= signature[i];
    return without_proof + ",p=" + detail::base64(proof);
  }
  std::string expected() const {
    return "v=" + detail::base64(detail::hmac(digest_, server_key_, all_));
  }

 private:
  Digest digest_;
  std::string password_, bare_, all_, server_key_;
};

}  // namespace millrace::guard
