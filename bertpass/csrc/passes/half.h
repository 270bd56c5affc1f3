// IEEE 754 half precision as MXNet's float16 holds it.
#pragma once

#include <cstdint>
#include <cstring>

namespace bertpass {

// Exact, subnormal numbers, infinity and NaN included.
inline float from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16, rest = bits & 0x7fff;
  std::uint32_t word = (rest << 13) + ((127 - 15) << 23);
  if (rest >= 0x7c00) word += (255 - 31 - (127 - 15)) << 23;
  float value;
  if (rest < 0x0400) {
    value = static_cast<float>(rest) * 0x1p-24f;
    std::memcpy(&word, &value, sizeof word);
  }
  word |= sign;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace bertpass
