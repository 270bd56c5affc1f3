// 16-bit numbers as their bits, rounded to nearest even: for the host and for the twin. On a GPU kernels use its
// instructions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace bertpass::cuda {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline std::uint16_t half_bits(float value) {
  std::uint32_t x = bits_of(value);
  const std::uint32_t sign = (x >> 16) & 0x8000;
  x &= 0x7fffffff;
  if (x > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00);   // not a number
  if (x >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);  // 65520 and more: infinity
  if (x < 0x38800000)  // less than the least normal number: a multiple of 2^-24
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::lrintf(float_of(x) * 16777216.0f)));
  x += 0xfff + ((x >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((x - 0x38000000) >> 13));
}

inline float half_value(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = (half >> 10) & 31, fraction = half & 1023;
  if (exponent == 0) return float_of(sign | bits_of(static_cast<float>(fraction) / 16777216.0f));
  if (exponent == 31) return float_of(sign | 0x7f800000 | fraction << 13);
  return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

inline std::uint16_t bfloat16_bits(float value) {
  const std::uint32_t x = bits_of(value);
  if ((x & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>(x >> 16 | 0x40);
  return static_cast<std::uint16_t>((x + 0x7fff + ((x >> 16) & 1)) >> 16);
}

inline float bfloat16_value(std::uint16_t bits) { return float_of(static_cast<std::uint32_t>(bits) << 16); }

}  // namespace bertpass::cuda
