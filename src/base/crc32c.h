#pragma once

#include <cstdint>
#include <string_view>

namespace millrace {

/// CRC-32C (Castagnoli), by the SSE4.2 instruction, three lanes side by side where there is enough:
/// about 20 GB/s. `before` is the CRC of what
/// stands in front of `bytes`. Source: RFC 3720, appendix B.4.
uint32_t crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace millrace
