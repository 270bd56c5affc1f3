// The matrix unit of Intel AMX: eight tiles of 16 rows of 64 bytes. Intel 64 and IA-32 Architectures Software Developer's
// Manual, volume 1, chapter 18. Written as assembly: the intrinsics of GCC 12 do not say which memory they read.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

struct Tiles {
  // Of all tiles: `rows` rows for those that hold a or sums, 16 for those that hold b. Clears them.
  static void configure(Index rows) {
    struct alignas(64) {
      std::uint8_t palette = 1, start = 0, reserved[14] = {};
      std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {};
    } shape;
    for (int tile = 0; tile < 8; ++tile) shape.rows[tile] = static_cast<std::uint8_t>(tile < 6 ? rows : 16);
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
  }
  static void release() { __asm__ volatile("tilerelease" : : : "memory"); }

  // Tiles 0 and 1 are the sums of the first 16 rows, 2 and 3 of the second; 4 and 5 hold a, 6 and 7 b.
  static void clear() {
    __asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" : :);
  }
  static void load_b(const void* b, Index stride) {
    const char* p = static_cast<const char*>(b);
    __asm__ volatile("tileloadd (%0,%2), %%tmm6\n\ttileloadd (%1,%2), %%tmm7"
                     : : "r"(p), "r"(p + 64), "r"(stride) : "memory");
  }
  template <int half>
  static void load_a(const void* a, Index stride) {
    if constexpr (half == 0)
      __asm__ volatile("tileloaddt1 (%0,%1), %%tmm4" : : "r"(a), "r"(stride) : "memory");
    else
      __asm__ volatile("tileloaddt1 (%0,%1), %%tmm5" : : "r"(a), "r"(stride) : "memory");
  }
  // Sums of one half of the rows += a b.
  template <int half>
  static void multiply(const bf16*) {
    if constexpr (half == 0)
      __asm__ volatile("tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\ttdpbf16ps %%tmm7, %%tmm4, %%tmm1" : :);
    else
      __asm__ volatile("tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\ttdpbf16ps %%tmm7, %%tmm5, %%tmm3" : :);
  }
  template <int half>
  static void multiply(const std::uint8_t*) {
    if constexpr (half == 0)
      __asm__ volatile("tdpbusd %%tmm6, %%tmm4, %%tmm0\n\ttdpbusd %%tmm7, %%tmm4, %%tmm1" : :);
    else
      __asm__ volatile("tdpbusd %%tmm6, %%tmm5, %%tmm2\n\ttdpbusd %%tmm7, %%tmm5, %%tmm3" : :);
  }
  // The sums of one half: columns 0 to 15 to `left`, 16 to 31 to `right`.
  template <int half>
  static void store(void* left, void* right, Index stride) {
    if constexpr (half == 0)
      __asm__ volatile("tilestored %%tmm0, (%0,%2)\n\ttilestored %%tmm1, (%1,%2)"
                       : : "r"(left), "r"(right), "r"(stride) : "memory");
    else
      __asm__ volatile("tilestored %%tmm2, (%0,%2)\n\ttilestored %%tmm3, (%1,%2)"
                       : : "r"(left), "r"(right), "r"(stride) : "memory");
  }
};

}  // namespace
}  // namespace bertpass::native
