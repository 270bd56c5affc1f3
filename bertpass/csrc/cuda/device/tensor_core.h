// One step of a tensor core and the loads that feed it, for a whole warp; layouts as in the PTX ISA, "Matrix multiply-
// accumulate instructions" (mma.m16n8k16, ldmatrix).
//
// A (16 rows, 16 deep) is four words a lane, B (16 deep, 8 columns) two, each of two 16-bit numbers, the sums four floats:
//   word i of A: row lane / 4 + 8 (i % 2), depth 2 (lane % 4) + 8 (i / 2) and the next
//   word i of B: column lane / 4, depth 2 (lane % 4) + 8 i and the next
//   float i:     row lane / 4 + 8 (i / 2), column 2 (lane % 4) + i % 2
#pragma once

#include "cuda/device/types.h"

namespace bertpass::cuda {

#ifdef BERTPASS_CUDA_TWIN

namespace twin {

template <bool kTransposed>
inline void load_matrices(const void* row, std::uint32_t (&words)[4]) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16) std::abort();
  const unsigned char* rows = exchange(row, 16);  // of matrix i: lanes 8 i to 8 i + 7
  const int lane = thread() % kWarp;
  for (int i = 0; i < 4; ++i) {
    std::uint16_t pair[2];
    for (int j = 0; j < 2; ++j) {
      const int r = kTransposed ? 2 * (lane % 4) + j : lane / 4, c = kTransposed ? lane / 4 : 2 * (lane % 4) + j;
      std::memcpy(&pair[j], rows + (8 * i + r) * kSlot + 2 * c, 2);
    }
    words[i] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
  }
}

}  // namespace twin

inline void load_matrices(const void* row, std::uint32_t (&words)[4]) { twin::load_matrices<false>(row, words); }
inline void load_transposed(const void* row, std::uint32_t (&words)[4]) { twin::load_matrices<true>(row, words); }

template <class T>
inline void multiply(float (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  float own[12];
  for (int i = 0; i < 4; ++i) unpack2<T>(a[i], own[2 * i], own[2 * i + 1]);
  unpack2<T>(b0, own[8], own[9]);
  unpack2<T>(b1, own[10], own[11]);
  const unsigned char* all = twin::exchange(own, sizeof own);
  const auto number = [&](int from, int at) { return reinterpret_cast<const float*>(all + from * twin::kSlot)[at]; };
  const int lane = thread() % kWarp;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    for (int k = 0; k < 16; ++k)
      sums[i] += number(row % 8 * 4 + k % 8 / 2, 2 * (row / 8 + 2 * (k / 8)) + k % 2) *
                 number(column * 4 + k % 8 / 2, 2 * (4 + k / 8) + k % 2);
  }
}

#else

// Four matrices of 8 x 8 numbers from shared memory: matrix i has its rows at the addresses that lanes 8 i to 8 i + 7
// give. A lane receives of each matrix row lane / 4, columns 2 (lane % 4) and the next.
BP_DEVICE void load_matrices(const void* row, std::uint32_t (&words)[4]) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(at)
               : "memory");
}

// The same, each matrix transposed: column lane / 4, rows 2 (lane % 4) and the next.
BP_DEVICE void load_transposed(const void* row, std::uint32_t (&words)[4]) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(at)
               : "memory");
}

// sums += a b.
template <class T>
BP_DEVICE void multiply(float (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);

template <>
BP_DEVICE void multiply<Half>(float (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(b0));
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

template <>
BP_DEVICE void multiply<Bfloat16>(float (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();  // the host refuses bfloat16 where the device has no units for it
#endif
}

#endif

}  // namespace bertpass::cuda
