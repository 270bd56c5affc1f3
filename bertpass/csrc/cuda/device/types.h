// The numbers of activations and weights, and how kernels read and write them.
#pragma once

#include "cuda/device/device.h"
#include "cuda/device/rounding.h"

#ifndef BERTPASS_CUDA_TWIN
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace bertpass::cuda {

struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

// Two numbers in 32 bits, the first in the lower half, rounded to nearest even.
template <class T>
BP_DEVICE std::uint32_t pack2(float first, float second);
template <class T>
BP_DEVICE void unpack2(std::uint32_t pair, float& first, float& second);

#ifdef BERTPASS_CUDA_TWIN
template <>
inline std::uint32_t pack2<Half>(float first, float second) {
  return half_bits(first) | static_cast<std::uint32_t>(half_bits(second)) << 16;
}
template <>
inline void unpack2<Half>(std::uint32_t pair, float& first, float& second) {
  first = half_value(static_cast<std::uint16_t>(pair));
  second = half_value(static_cast<std::uint16_t>(pair >> 16));
}
template <>
inline std::uint32_t pack2<Bfloat16>(float first, float second) {
  return bfloat16_bits(first) | static_cast<std::uint32_t>(bfloat16_bits(second)) << 16;
}
template <>
inline void unpack2<Bfloat16>(std::uint32_t pair, float& first, float& second) {
  first = float_of(pair << 16);
  second = float_of(pair & 0xffff0000u);
}
#else
template <>
BP_DEVICE std::uint32_t pack2<Half>(float first, float second) {
  const __half2 pair = __floats2half2_rn(first, second);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}
template <>
BP_DEVICE void unpack2<Half>(std::uint32_t pair, float& first, float& second) {
  const float2 values = __half22float2(*reinterpret_cast<const __half2*>(&pair));
  first = values.x;
  second = values.y;
}
template <>
BP_DEVICE std::uint32_t pack2<Bfloat16>(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}
template <>
BP_DEVICE void unpack2<Bfloat16>(std::uint32_t pair, float& first, float& second) {
  first = __uint_as_float(pair << 16);
  second = __uint_as_float(pair & 0xffff0000u);
}
#endif

// On an address that 16 divides, where the twin is as strict as a GPU.
template <class T>
BP_DEVICE T* on_16_bytes(T* at) {
#ifdef BERTPASS_CUDA_TWIN
  if (reinterpret_cast<std::uintptr_t>(at) % 16) std::abort();
#endif
  return at;
}

// Eight numbers side by side, on an address that 16 bytes divide.
template <class T>
BP_DEVICE void load8(const T* from, float (&x)[8]) {
  const uint4 words = *reinterpret_cast<const uint4*>(on_16_bytes(from));
  unpack2<T>(words.x, x[0], x[1]);
  unpack2<T>(words.y, x[2], x[3]);
  unpack2<T>(words.z, x[4], x[5]);
  unpack2<T>(words.w, x[6], x[7]);
}

template <class T>
BP_DEVICE void store8(T* to, const float (&x)[8]) {
  uint4 words;
  words.x = pack2<T>(x[0], x[1]);
  words.y = pack2<T>(x[2], x[3]);
  words.z = pack2<T>(x[4], x[5]);
  words.w = pack2<T>(x[6], x[7]);
  *reinterpret_cast<uint4*>(on_16_bytes(to)) = words;
}

template <>
BP_DEVICE void load8<float>(const float* from, float (&x)[8]) {
  const float4* const at = reinterpret_cast<const float4*>(on_16_bytes(from));
  const float4 low = at[0], high = at[1];
  x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
  x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}

template <>
BP_DEVICE void store8<float>(float* to, const float (&x)[8]) {
  float4 low, high;
  low.x = x[0], low.y = x[1], low.z = x[2], low.w = x[3];
  high.x = x[4], high.y = x[5], high.z = x[6], high.w = x[7];
  float4* const at = reinterpret_cast<float4*>(on_16_bytes(to));
  at[0] = low;
  at[1] = high;
}

}  // namespace bertpass::cuda
