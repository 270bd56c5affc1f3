// The two forms of attention: on tensor cores, and in float32.
#pragma once

#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

constexpr int kTensorQueries = 64, kPlainQueries = 16;

// As `attend`, in float32 throughout; size a multiple of 32 up to 128.
void attend_plain(const Batch* batch, const Tile* tiles, int most_tiles, const float* qkv, int heads, int size, float* out,
                  cudaStream_t stream);

}  // namespace bertpass::cuda
