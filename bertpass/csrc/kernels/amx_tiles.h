// The matrix unit of Intel AMX: eight tiles of 16 rows of 64 bytes. Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 1, chapter 18. Written as assembly: the intrinsics of GCC 12 do not say which memory they
// read.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

// Tiles 0 and 1 are the sums of the first 16 rows, 2 and 3 of the second; 4 and 5 hold a, 6 and 7 b.
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

  template <int tile>
  static void clear() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  // Rows `stride` bytes apart.
  template <int tile>
  static void load(const void* from, Index stride) {
    __asm__ volatile("tileloadd (%1,%2), %%tmm%c0" : : "i"(tile), "r"(from), "r"(stride) : "memory");
  }
  // The same for what is not read again soon: the first-level cache keeps other things.
  template <int tile>
  static void stream(const void* from, Index stride) {
    __asm__ volatile("tileloaddt1 (%1,%2), %%tmm%c0" : : "i"(tile), "r"(from), "r"(stride) : "memory");
  }
  template <int tile>
  static void store(void* to, Index stride) {
    __asm__ volatile("tilestored %%tmm%c0, (%1,%2)" : : "i"(tile), "r"(to), "r"(stride) : "memory");
  }
  // sums += a b
  template <int sums, int a, int b>
  static void multiply(const bf16*) {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(a), "i"(b));
  }
  template <int sums, int a, int b>
  static void multiply(const std::uint8_t*) {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(a), "i"(b));
  }
};

}  // namespace
}  // namespace bertpass::native
