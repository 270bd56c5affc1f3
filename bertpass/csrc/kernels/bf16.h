// bfloat16 in scalar code. Internal linkage on purpose: see kernels.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

namespace bertpass::native {

[[maybe_unused]] static inline float widen(bf16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// Round to nearest even; a NaN stays a (quiet) NaN.
[[maybe_unused]] static inline bf16 narrow(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16>((bits >> 16) | 0x40u);
  return static_cast<bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace bertpass::native
