#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pgwire/detail/connection.h"
#include "pgwire/detail/fake_engine.h"
#include "pgwire/detail/wire.h"

namespace millrace::pgwire::detail {

/// For tests: what a client sends, as bytes.
namespace say {
inline std::string startup(int32_t version = 3 << 16, std::string_view extra = {}) {
  std::string body;
  put<int32_t>(body, version);
  for (std::string_view text : {"user", "me", "database", "millrace"}) put_text(body, text);
  body += extra;
  body += '\0';
  std::string bytes;
  put<int32_t>(bytes, static_cast<int32_t>(body.size() + 4));
  return bytes + body;
}
inline std::string message(char type, std::string_view body = {}) {
  std::string bytes;
  {
    Message message(bytes, type);
    bytes += body;
  }
  return bytes;
}
inline std::string text(std::string_view t) { return std::string(t) + '\0'; }
inline std::string query(std::string_view sql) { return message('Q', text(sql)); }
inline std::string parse(std::string_view name, std::string_view sql,
                         const std::vector<int32_t>& oids = {}) {
  std::string body = text(name) + text(sql);
  put<int16_t>(body, static_cast<int16_t>(oids.size()));
  for (int32_t type : oids) put<int32_t>(body, type);
  return message('P', body);
}
/// Parameters as text; results as text, or all binary.
inline std::string bind(std::string_view portal, std::string_view statement,
                        const std::vector<std::string>& parameters = {}, bool binary = false) {
  std::string body = text(portal) + text(statement);
  put<int16_t>(body, 0);
  put<int16_t>(body, static_cast<int16_t>(parameters.size()));
  for (const std::string& parameter : parameters) {
    put<int32_t>(body, static_cast<int32_t>(parameter.size()));
    body += parameter;
  }
  put<int16_t>(body, 1);
  put<int16_t>(body, binary ? 1 : 0);
  return message('B', body);
}
inline std::string describe(char kind, std::string_view name) {
  return message('D', kind + text(name));
}
inline std::string execute(std::string_view portal, int32_t limit = 0) {
  std::string body = text(portal);
  put<int32_t>(body, limit);
  return message('E', body);
}
inline std::string close(char kind, std::string_view name) {
  return message('C', kind + text(name));
}
inline std::string sync() { return message('S'); }
inline std::string flush() { return message('H'); }
}  // namespace say

/// For tests: a server's bytes as words, one a message: "T(a:23) D(1|NULL) C(SELECT 1) Z(I)".
inline std::string told(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    char type = bytes[0];
    if (type == 'N' && (bytes.size() == 1 || bytes[1] != '\0')) {  // the answer to SSLRequest
      out += "N ";
      bytes.remove_prefix(1);
      continue;
    }
    auto length = static_cast<size_t>(Reader(bytes.substr(1)).integer<int32_t>());
    Reader body(bytes.substr(5, length - 4));
    bytes.remove_prefix(length + 1);
    out += type;
    switch (type) {
      case 'T': {
        auto count = body.integer<int16_t>();
        for (int i = 0; i < count; i++) {
          out += fmt::format("{}{}:", i == 0 ? "(" : ",", body.text());
          body.bytes(6);
          out += fmt::format("{}", body.integer<int32_t>());
          body.bytes(8);
        }
        out += ')';
        break;
      }
      case 'D': {
        auto count = body.integer<int16_t>();
        for (int i = 0; i < count; i++) {
          auto size = body.integer<int32_t>();
          out += i == 0 ? "(" : "|";
          out += size < 0 ? "NULL" : std::string(body.bytes(static_cast<size_t>(size)));
        }
        out += ')';
        break;
      }
      case 'C':
        out += fmt::format("({})", body.text());
        break;
      case 'd':
        out += fmt::format("({})", body.rest());
        break;
      case 'Z':
        out += fmt::format("({})", body.rest());
        break;
      case 't': {
        auto count = body.integer<int16_t>();
        for (int i = 0; i < count; i++) {
          out += fmt::format("{}{}", i == 0 ? "(" : ",", body.integer<int32_t>());
        }
        if (count > 0) out += ')';
        break;
      }
      case 'E':
      case 'N': {
        std::string code, position;
        while (uint8_t field = body.byte()) {
          std::string_view value = body.text();
          if (field == 'C') code = value;
          if (field == 'P') position = fmt::format("@{}", value);
        }
        out += fmt::format("({}{})", code, position);
        break;
      }
      case 'S':
        out += fmt::format("({}=", body.text());
        out += fmt::format("{})", body.text());
        break;
      default:
        break;
    }
    out += ' ';
  }
  if (!out.empty()) out.pop_back();
  return out;
}

/// For tests: one connection to a server without sockets.
class TestClient : public Canceller {
 public:
  explicit TestClient(bool started = true) : TestClient(started, nullptr) {}
  /// With a database of its own, or one that clients share.
  TestClient(bool started, FakeEngine* shared)
      : own(shared ? nullptr : std::make_unique<FakeEngine>()), engine(shared ? *shared : *own) {
    if (started) send(say::startup());
  }

  /// Gives what the server answers, until it waits or closes.
  std::string send_raw(std::string_view bytes) {
    std::string answer;
    while (!closed) {
      auto todo = connection.advance(bytes);
      bytes = {};
      std::string output = connection.take_output();
      largest_write = std::max(largest_write, output.size());
      answer += output;
      closed = todo == Connection::Todo::kClose;
      awaiting = todo == Connection::Todo::kAwait;
      if (todo != Connection::Todo::kWrite) break;
    }
    return answer;
  }
  std::string send(std::string_view bytes) { return told(send_raw(bytes)); }
  std::string query(std::string_view sql) { return send(say::query(sql)); }

  void cancel(int32_t process, int32_t secret) override { cancelled = {process, secret}; }

  std::pair<int32_t, int32_t> cancelled;
  bool closed = false;
  int wakes = 0;
  bool awaiting = false;  // the last answer ended with a wait for rows
  size_t largest_write = 0;
  std::unique_ptr<FakeEngine> own;
  FakeEngine& engine;
  Connection connection{Connection::Setup{engine, *this, 7, 1234, [this] { ++wakes; }}};
};

}  // namespace millrace::pgwire::detail
