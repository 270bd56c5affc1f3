// The words that kernels are written in. nvcc makes CUDA of them; with BERTPASS_CUDA_TWIN any C++ compiler makes the
// kernel's twin, which runs the same source on the CPU, thread by thread (twin/block.h).
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef BERTPASS_CUDA_TWIN
#include <cmath>

#include "cuda/twin/block.h"

#define BP_DEVICE inline
#define BP_KERNEL(threads) void
#else
#include <cuda_runtime.h>

#define BP_DEVICE __device__ __forceinline__
#define BP_KERNEL(threads) __global__ void __launch_bounds__(threads)
#endif

namespace bertpass::cuda {

constexpr int kWarp = 32;

#ifdef BERTPASS_CUDA_TWIN
using twin::block_x;
using twin::block_y;
using twin::copies_commit;
using twin::copies_wait;
using twin::copy16_later;
using twin::sync_block;
using twin::sync_warp;
using twin::thread;
using twin::threads;

struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

template <class T>
inline T* shared() {
  return static_cast<T*>(twin::shared_memory());
}
inline float shuffle_xor(float value, int mask) { return twin::exchanged<float>(value, (thread() % kWarp) ^ mask); }
inline float inverse_root(float x) { return 1.0f / std::sqrt(x); }
#else
BP_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
BP_DEVICE int threads() { return static_cast<int>(blockDim.x); }
BP_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
BP_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
BP_DEVICE void sync_block() { __syncthreads(); }
BP_DEVICE void sync_warp() { __syncwarp(); }

template <class T>
BP_DEVICE T* shared() {
  extern __shared__ uint4 bertpass_shared_memory[];
  return reinterpret_cast<T*>(bertpass_shared_memory);
}
BP_DEVICE float shuffle_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
BP_DEVICE float inverse_root(float x) { return rsqrtf(x); }

// Sixteen bytes from global into shared memory, zeros where not `valid` (then `from` is not read). They are there after
// copies_wait in this thread and a barrier for the others.
BP_DEVICE void copy16_later(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(valid ? 16 : 0) : "memory");
#else
  *static_cast<uint4*>(to) = valid ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}
// Ends a group of copies.
BP_DEVICE void copies_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until no more than the last `kOpen` groups of this thread are under way.
template <int kOpen>
BP_DEVICE void copies_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
#endif
}
#endif

BP_DEVICE int lane() { return thread() % kWarp; }
BP_DEVICE int warp() { return thread() / kWarp; }

BP_DEVICE float warp_sum(float value) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

BP_DEVICE float warp_max(float value) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}

}  // namespace bertpass::cuda
