// Ids and lengths as MXNet hands them over: numbers of any of its usual types.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/error.h"
#include "mxnet_abi/abi.h"
#include "passes/encoder_operator.h"
#include "passes/half.h"

namespace bertpass::abi {

// A number that no table and no sequence has stands for all that int32 does not hold.
template <class T>
std::int32_t whole(T value) {
  return value > T(-2147483000) && value < T(2147483000) ? static_cast<std::int32_t>(value) : -1;
}

template <class T>
void copy_whole(const void* data, std::int64_t count, std::vector<std::int32_t>& out) {
  const T* from = static_cast<const T*>(data);
  out.resize(count);
  std::transform(from, from + count, out.begin(), whole<T>);
}

// Fractions are cut off, as by MXNet's Cast. Throws PassError for other types.
inline void read_whole(const void* data, int type, std::int64_t count, std::vector<std::int32_t>& out) {
  switch (type) {
    case kFloat32: return copy_whole<float>(data, count, out);
    case kFloat64: return copy_whole<double>(data, count, out);
    case kInt32: return copy_whole<std::int32_t>(data, count, out);
    case kInt64: return copy_whole<std::int64_t>(data, count, out);
    case kFloat16: {  // lengths of a graph that is cast
      const auto* from = static_cast<const std::uint16_t*>(data);
      out.resize(count);
      std::transform(from, from + count, out.begin(), [](std::uint16_t bits) { return whole(from_half(bits)); });
      return;
    }
    default:
      throw PassError(std::string(kEncoderOperator) +
                      " takes ids and lengths of float32, float64, float16, int32 or int64; cast them before.");
  }
}

}  // namespace bertpass::abi
