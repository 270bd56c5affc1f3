// Self-attention with dropout over packed rows, and its gradient.
#pragma once

#include "ops/team.h"
#include "training/dropout.h"

namespace bertpass::native {

// Sequence s is the rows offsets[s] to offsets[s + 1]. A row of qkv holds q of all heads, then k, then v.
struct AttentionShape {
  Index rows, sequences, heads, head_size;
  const std::int32_t* offsets;  // (sequences + 1), from 0 and rising, at most `rows`

  Index units() const { return heads * head_size; }
};

// out = dropout(softmax(q k^T / sqrt(head_size))) v, (rows, units). logarithms: (rows, heads), of the sum of the
// exponentials of each query's scores; what the gradient needs besides. Rows past the last sequence become zero.
void attention_forward(const Kernels& kernels, const Team& team, const AttentionShape& shape, const Drops& drops,
                       const float* qkv, float* out, float* logarithms);

// gradient: (rows, units), of out; qkv_gradient: as qkv. The weights are computed again, with the same dropout.
void attention_backward(const Kernels& kernels, const Team& team, const AttentionShape& shape, const Drops& drops,
                        const float* qkv, const float* out, const float* logarithms, const float* gradient,
                        float* qkv_gradient);

}  // namespace bertpass::native
