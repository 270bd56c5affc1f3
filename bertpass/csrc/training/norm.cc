#include "training/norm.h"

#include <algorithm>
#include <vector>

namespace bertpass::native {
namespace {

constexpr Index kParts = 32;  // of the rows; each has sums of its own for the gradients of gamma and beta

// body(row, part) for all rows; the rows of a part come one after the other.
template <class Body>
void each_row(const Team& team, const SumNorm& norm, double cost, const Body& body) {
  const Index rows = (norm.rows + kParts - 1) / kParts;
  team.loop(kParts, cost * static_cast<double>(norm.rows * norm.columns), [&](Index part, int) {
    for (Index row = part * rows; row < std::min(norm.rows, (part + 1) * rows); ++row) body(row, part);
  });
}

// The row that is normalised, dropout(x) + residual.
void sum(const Kernels& kernels, const SumNorm& norm, const Dropout& dropout, Index row, float* out) {
  const Index at = row * norm.columns;
  kernels.drop(norm.x + at, dropout, static_cast<std::uint32_t>(at), norm.columns, out);
  kernels.add(out, norm.residual + at, nullptr, norm.columns, out);
}

}  // namespace

void sum_norm_forward(const Kernels& kernels, const Team& team, const SumNorm& norm, const Drops& drops, float* out) {
  const Dropout dropout = drops.stream(0);
  each_row(team, norm, 24, [&](Index row, Index) {
    float* to = out + row * norm.columns;
    sum(kernels, norm, dropout, row, to);
    kernels.layer_norm(to, norm.gamma, norm.beta, norm.epsilon, norm.columns, to, nullptr);
  });
}

void sum_norm_backward(const Kernels& kernels, const Team& team, const SumNorm& norm, const Drops& drops,
                       const float* gradient, float* x_gradient, float* residual_gradient, float* gamma_gradient,
                       float* beta_gradient) {
  const Dropout dropout = drops.stream(0);
  const Index columns = norm.columns;
  std::vector<float> sums(kParts * 2 * columns, 0.0f);
  each_row(team, norm, 48, [&](Index row, Index part) {
    const Index at = row * columns;
    float* sums_of_part = sums.data() + part * 2 * columns;
    sum(kernels, norm, dropout, row, x_gradient + at);  // only kept there until the gradient is
    kernels.layer_norm_gradient(x_gradient + at, norm.gamma, gradient + at, norm.epsilon, columns,
                                residual_gradient + at, sums_of_part, sums_of_part + columns);
    kernels.drop(residual_gradient + at, dropout, static_cast<std::uint32_t>(at), columns, x_gradient + at);
  });
  for (Index j = 0; j < columns; ++j) {
    gamma_gradient[j] = beta_gradient[j] = 0;
    for (Index part = 0; part < kParts; ++part) {
      gamma_gradient[j] += sums[part * 2 * columns + j];
      beta_gradient[j] += sums[(part * 2 + 1) * columns + j];
    }
  }
}

}  // namespace bertpass::native
