// Layer normalisation of a sum with dropout, as after attention and the feed-forward layer, and its gradient.
#pragma once

#include "ops/team.h"
#include "training/dropout.h"

namespace bertpass::native {

struct SumNorm {
  Index rows, columns;
  float epsilon;
  const float *x, *residual;  // (rows, columns)
  const float *gamma, *beta;  // (columns)
};

// out = layer_norm(dropout(x) + residual), (rows, columns).
void sum_norm_forward(const Kernels& kernels, const Team& team, const SumNorm& norm, const Drops& drops, float* out);

// The gradients of x, residual, gamma and beta from that of out. Sums over rows run in an order that does not depend
// on the threads.
void sum_norm_backward(const Kernels& kernels, const Team& team, const SumNorm& norm, const Drops& drops,
                       const float* gradient, float* x_gradient, float* residual_gradient, float* gamma_gradient,
                       float* beta_gradient);

}  // namespace bertpass::native
