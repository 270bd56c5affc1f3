// The specification of every kernel, in plain loops; also what runs on processors without a table of their own.
#include <cmath>

#include "kernels/bf16.h"
#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

constexpr Index kPanel = 16;

float activate(float x, Activation activation) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0 ? 0 : x;
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu: return 0.5f * x * std::erfc(x * -0.70710678f);  // 1 + erf(z) = erfc(-z)
    // Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.
    case Activation::gelu_tanh: return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
  }
  return x;
}

float element(const float* panel, Index k, Index j) { return panel[k * kPanel + j]; }
float element(const bf16* panel, Index k, Index j) { return widen(panel[(k / 2 * kPanel + j) * 2 + k % 2]); }
float value(float x) { return x; }
float value(bf16 x) { return widen(x); }
Index padded_depth(Index depth, const float*) { return depth; }
Index padded_depth(Index depth, const bf16*) { return (depth + 1) / 2 * 2; }

template <class T>
void gemm(const Gemm& g) {
  const T* panels = static_cast<const T*>(g.panels);
  for (Index first = 0; first < g.columns; first += kPanel) {
    const T* panel = panels + first * padded_depth(g.depth, panels);
    for (Index i = 0; i < g.rows; ++i) {
      const T* a = static_cast<const T*>(g.a) + i * g.a_stride;
      float sum[kPanel] = {};
      for (Index k = 0; k < g.depth; ++k)
        for (Index j = 0; j < kPanel; ++j) sum[j] += value(a[k]) * element(panel, k, j);
      for (Index j = 0; j < kPanel && first + j < g.columns; ++j) {
        const Index column = first + j;
        float x = activate(sum[j] + (g.bias ? g.bias[column] : 0), g.activation);
        if (g.residual) x += g.residual[i * g.residual_stride + column];
        if (g.out_is_bf16)
          static_cast<bf16*>(g.out)[i * g.out_stride + column] = narrow(x);
        else
          static_cast<float*>(g.out)[i * g.out_stride + column] = x;
      }
    }
  }
}

void softmax(float* x, Index stride, Index rows, Index columns) {
  constexpr float kSmallest = -87.0f;  // exp of less is no normal float
  for (Index i = 0; i < rows; ++i, x += stride) {
    float most = x[0], sum = 0;
    for (Index j = 1; j < columns; ++j) most = x[j] > most ? x[j] : most;
    for (Index j = 0; j < columns; ++j) {
      const float shifted = x[j] - most;
      x[j] = shifted < kSmallest ? 0 : std::exp(shifted);
      sum += x[j];
    }
    for (Index j = 0; j < columns; ++j) x[j] /= sum;
  }
}

void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, Index columns, float* out,
                bf16* low) {
  float sum = 0, squares = 0;
  for (Index j = 0; j < columns; ++j) sum += x[j];
  const float mean = sum / static_cast<float>(columns);
  for (Index j = 0; j < columns; ++j) squares += (x[j] - mean) * (x[j] - mean);
  const float scale = 1 / std::sqrt(squares / static_cast<float>(columns) + epsilon);
  for (Index j = 0; j < columns; ++j) {
    out[j] = (x[j] - mean) * scale * gamma[j] + beta[j];
    if (low) low[j] = narrow(out[j]);
  }
}

void add(const float* a, const float* b, const float* c, Index columns, float* out) {
  for (Index j = 0; j < columns; ++j) out[j] = a[j] + b[j] + (c ? c[j] : 0);
}

void mean(const float* x, Index stride, Index rows, Index columns, float* out) {
  for (Index j = 0; j < columns; ++j) out[j] = 0;
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; ++j) out[j] += x[i * stride + j];
  for (Index j = 0; j < columns; ++j) out[j] /= static_cast<float>(rows);
}

void normalize(float* x, Index columns) {
  float squares = 0;
  for (Index j = 0; j < columns; ++j) squares += x[j] * x[j];
  const float length = std::sqrt(squares);
  for (Index j = 0; j < columns; ++j) x[j] /= length > 1e-12f ? length : 1e-12f;
}

constexpr Kernels kTable = {"portable", kPanel, 1, gemm<float>, gemm<bf16>, softmax, layer_norm, add, mean, normalize};

}  // namespace

const Kernels* portable_kernels() { return &kTable; }

}  // namespace bertpass::native
