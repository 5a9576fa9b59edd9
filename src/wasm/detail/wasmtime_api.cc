#include "wasm/detail/wasmtime_api.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::wasm {

namespace {

std::string on_one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool blank = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!blank) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

std::string_view meaning(wasmtime_trap_code_t code) {
  switch (code) {
    case WASMTIME_TRAP_CODE_STACK_OVERFLOW:
      return "its stack overflowed (a recursion without end?)";
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS:
      return "it read or wrote outside its memory";
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS:
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL:
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE:
      return "it called a function through a wrong pointer";
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW:
      return "an integer overflowed";
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO:
      return "it divided by zero";
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER:
      return "a float does not fit the integer that it is made to";
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED:
      return "it gave up (unreachable code was reached: a panic, an abort, or memory that ran out)";
    default:
      return {};
  }
}

}  // namespace

std::string text_of(const wasmtime_error_t& error) {
  wasm_name_t message;
  wasmtime_error_message(&error, &message);
  std::string text = on_one_line(view_of(&message));
  wasm_byte_vec_delete(&message);
  return text;
}

std::string text_of(const wasm_trap_t& trap) {
  std::string what;
  wasmtime_trap_code_t code;
  if (wasmtime_trap_code(&trap, &code)) what = meaning(code);
  if (what.empty()) {
    wasm_message_t message;
    wasm_trap_message(&trap, &message);
    what = on_one_line(std::string_view(message.data, message.size));
    std::erase(what, '\0');
    wasm_byte_vec_delete(&message);
  }
  wasm_frame_t* frame = wasm_trap_origin(&trap);
  if (frame) {
    const auto name = view_of(wasmtime_frame_func_name(frame));
    const std::string function = name.empty()
                                     ? fmt::format("function {}", wasm_frame_func_index(frame))
                                     : std::string(name.substr(0, 200));
    what += fmt::format(", in {}", function);
    wasm_frame_delete(frame);
  }
  return what;
}

}  // namespace millrace::wasm
