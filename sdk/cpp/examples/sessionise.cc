// sessionise(gap => '30m'): the sessions of each key. A session ends when its key was silent for
// longer than the gap; it comes out with the record that begins the next one. A record that comes
// late counts in the session that is open.
#include <millrace/module.h>

#include "list.h"

using namespace millrace;

struct Sessionise {
  int64_t gap = 0;  // milliseconds

  Status init(const Parameters& parameters) {
    const auto given = parameters.require("gap");
    if (!given) return given.why();
    const auto text = *given;
    size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    const auto unit = text.substr(digits);
    const int64_t ms = unit == "ms"  ? 1
                       : unit == "s" ? 1000
                       : unit == "m" ? 60'000
                       : unit == "h" ? 3'600'000
                                     : 0;
    if (digits == 0 || digits > 9 || ms == 0)
      return failure("parameter 'gap' is not like 500ms, 30s, 30m or 1h: '", text, "'");
    for (size_t i = 0; i < digits; ++i) gap = gap * 10 + (text[i] - '0');
    gap *= ms;
    return {};
  }

  Status operator()(const Record& record, State& state, Emit& emit) const {
    const int64_t now = record.timestamp();
    Session open{now, now, 0};
    if (state.exists()) {
      const auto known = read(state.value());
      if (!known) return failure("the state is not a session's: '", state.value(), "'");
      open = *known;
      if (now - open.last > gap) {
        Output closed = emit();
        closed.clear_headers();
        closed.set_timestamp(open.last);
        closed.set_value(Text() << "{\"start\":" << open.start << ",\"end\":" << open.last
                                << ",\"events\":" << open.events << "}");
        open = {now, now, 0};
      }
    }
    if (now < open.start) open.start = now;
    if (now > open.last) open.last = now;
    state.set(Text() << open.start << ',' << open.last << ',' << open.events + 1);
    return {};
  }

 private:
  struct Session {
    int64_t start, last, events;
  };

  /// The state of a key: start, last and events.
  static std::optional<Session> read(std::string_view text) {
    const auto parts = split(text, ',');
    if (parts.size() != 3) return std::nullopt;
    int64_t numbers[3];
    for (size_t i = 0; i < 3; ++i) {
      const auto number = json::number(parts[i]);
      if (!number) return std::nullopt;
      numbers[i] = static_cast<int64_t>(*number);
    }
    return Session{numbers[0], numbers[1], numbers[2]};
  }
};

MILLRACE_AGGREGATE(sessionise, Sessionise{});
