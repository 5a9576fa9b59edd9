#include "base/json.h"

#include <emmintrin.h>

#include <bit>
#include <cstdint>

namespace millrace {

namespace {

bool is_plain(uint8_t c) { return c >= 0x20 && c != '"' && c != '\\'; }

/// The first byte from `at` on that stands in no JSON string as it is.
size_t find_odd(std::string_view text, size_t at) {
  for (; at + 16 <= text.size(); at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    const __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                       _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    const auto odd = static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(control, marks)));
    if (odd != 0) return at + static_cast<size_t>(std::countr_zero(odd));
  }
  while (at < text.size() && is_plain(static_cast<uint8_t>(text[at]))) ++at;
  return at;
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out.push_back('"');
  size_t from = 0;
  for (size_t i = find_odd(text, 0); i < text.size(); i = find_odd(text, i + 1)) {
    const auto c = static_cast<uint8_t>(text[i]);
    out.append(text, from, i - from);
    from = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        constexpr std::string_view kHex = "0123456789abcdef";
        out += "\\u00";
        out.push_back(kHex[c >> 4]);
        out.push_back(kHex[c & 15]);
    }
  }
  out.append(text, from);
  out.push_back('"');
}

}  // namespace millrace
