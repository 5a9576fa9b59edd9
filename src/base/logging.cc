#include "base/logging.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <atomic>
#include <memory>

namespace millrace::logging {

namespace {

constexpr spdlog::level::level_enum kSpdlogLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                       spdlog::level::warn, spdlog::level::err};
constexpr std::string_view kPadded[] = {"debug", "info ", "warn ", "error"};
constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};

/// The process has one standard error, so it has one log.
struct Log {
  spdlog::logger logger{"millrace", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  std::atomic<Level> level{Level::kInfo};
  std::atomic<Format> format{Format::kText};

  Log() { set(Level::kInfo, Format::kText); }

  void set(Level l, Format f) {
    level = l;
    format = f;
    logger.set_level(spdlog::level::trace);  // `level` alone decides
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
        f == Format::kText ? "%Y-%m-%dT%H:%M:%S.%eZ %v" : "{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",%v}",
        spdlog::pattern_time_type::utc));
  }
};

Log& log() {
  static Log log;
  return log;
}

/// The length of the valid UTF-8 sequence that begins at `at`, or 0. Overlong forms and surrogates
/// pass: readers of logs forgive them, and a terminal is not harmed.
size_t utf8_length(std::string_view text, size_t at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  const size_t length = lead >= 0xF8   ? 0
                        : lead >= 0xF0 ? 4
                        : lead >= 0xE0 ? 3
                        : lead >= 0xC2 ? 2
                                       : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<uint8_t>(text[at + i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

/// Between quotes: what is not printable becomes an escape that JSON knows.
void append_quoted(fmt::memory_buffer& out, std::string_view text) {
  out.push_back('"');
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<uint8_t>(text[i]);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(text[i]);
    } else if (c == '\n') {
      out.append(std::string_view("\\n"));
    } else if (c < 0x20 || c == 0x7F) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    } else if (c < 0x80) {
      out.push_back(text[i]);
    } else if (size_t length = utf8_length(text, i)) {
      out.append(text.substr(i, length));
      i += length - 1;
    } else {
      out.append(std::string_view("\\ufffd"));
    }
  }
  out.push_back('"');
}

bool is_plain(std::string_view value) {
  if (value.empty()) return false;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto c = static_cast<uint8_t>(value[i]);
    if (c <= 0x20 || c == '"' || c == '\\' || c == 0x7F) return false;
    if (c >= 0x80) {
      const size_t length = utf8_length(value, i);
      if (length == 0) return false;
      i += length - 1;
    }
  }
  return true;
}

void append_text(fmt::memory_buffer& out, Level level, std::string_view what,
                 std::initializer_list<Field> fields) {
  out.append(kPadded[static_cast<size_t>(level)]);
  out.push_back(' ');
  out.append(what);
  for (const auto& field : fields) {
    out.push_back(' ');
    out.append(field.key);
    out.push_back('=');
    if (is_plain(field.value)) {
      out.append(field.value);
    } else {
      append_quoted(out, field.value);
    }
  }
}

void append_json(fmt::memory_buffer& out, Level level, std::string_view what,
                 std::initializer_list<Field> fields) {
  fmt::format_to(std::back_inserter(out),
                 "\"level\":\"{}\",\"what\":", kNames[static_cast<size_t>(level)]);
  append_quoted(out, what);
  for (const auto& field : fields) {
    out.push_back(',');
    append_quoted(out, field.key);
    out.push_back(':');
    // JSON has no word for inf and nan.
    if (field.literal && field.value.find_first_of("in") == std::string::npos) {
      out.append(field.value);
    } else {
      append_quoted(out, field.value);
    }
  }
}

}  // namespace

void configure(Level level, Format format) { log().set(level, format); }

bool enabled(Level level) { return level >= log().level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view what, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  fmt::memory_buffer line;
  if (log().format.load(std::memory_order_relaxed) == Format::kText) {
    append_text(line, level, what, fields);
  } else {
    append_json(line, level, what, fields);
  }
  log().logger.log(kSpdlogLevels[static_cast<size_t>(level)],
                   spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace millrace::logging
