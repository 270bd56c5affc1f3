// The specification of every kernel, in plain loops; also what runs on processors without a table of their own.
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

constexpr float kNothing = 1e-30f;  // a row whose elements differ by less is zero in bytes

float gelu_coarse(float x) {
  const float t = x < -kPhiEnd ? -kPhiEnd : x > kPhiEnd ? kPhiEnd : x;
  float p = kPhi[7];
  for (int i = 6; i >= 0; --i) p = p * (t * t) + kPhi[i];
  const float phi = 0.5f + t * p;
  return x * (phi < 0 ? 0 : phi);
}

float activate(float x, Activation activation) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0 ? 0 : x;
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu: return 0.5f * x * std::erfc(x * -0.70710678f);  // 1 + erf(z) = erfc(-z)
    case Activation::gelu_coarse: return gelu_coarse(x);
    case Activation::silu: return x / (1 + std::exp(-x));
    // Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415, section 2.
    case Activation::gelu_tanh: return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
  }
  return x;
}

float value(float x) { return x; }
float value(bf16 x) { return widen(x); }
std::int32_t value(std::int8_t x) { return x; }
std::int32_t value(std::uint8_t x) { return x; }

// Element (k, j) of a panel.
template <class T, Index group>
T element(const T* panel, Index k, Index j) {
  return panel[(k / group * kPanel + j) * group + k % group];
}

// A row of the result from what a panel gives; first: its first column.
void finish(const Gemm& g, Index row, Index first, const float* sums) {
  const auto with_bias = [&](Index j) {
    return (g.row_factors ? sums[j] * g.row_factors[row] : sums[j]) + (g.bias ? g.bias[first + j] : 0);
  };
  const auto put = [&](Index column, float x) {
    if (g.out_is_bf16)
      static_cast<bf16*>(g.out)[row * g.out_stride + column] = narrow(x);
    else
      static_cast<float*>(g.out)[row * g.out_stride + column] = x;
  };
  constexpr Index kHalf = kPanel / 2;
  if (g.gated) {
    for (Index j = 0; j < kHalf; ++j) put(first / 2 + j, activate(with_bias(j), g.activation) * with_bias(kHalf + j));
    return;
  }
  for (Index j = 0; j < kPanel && first + j < g.columns; ++j) {
    const float x = activate(with_bias(j), g.activation);
    put(first + j, g.residual ? x + g.residual[row * g.residual_stride + first + j] : x);
  }
}

// body(row, first column, sums) for each row and panel; sums are those of the panel's columns.
template <class T, Index group, class Sum, class Body>
void panels_of(const Gemm& g, const Body& body) {
  using B = std::conditional_t<std::is_same_v<T, std::uint8_t>, std::int8_t, T>;  // bytes of b have a sign
  const Index panel_size = (g.depth + group - 1) / group * group * kPanel;
  for (Index first = 0; first < g.columns; first += kPanel) {
    const B* panel = static_cast<const B*>(g.panels) + first / kPanel * panel_size;
    for (Index row = 0; row < g.rows; ++row) {
      const T* a = static_cast<const T*>(g.a) + row * g.a_stride;
      Sum sums[kPanel] = {};
      for (Index k = 0; k < g.depth; ++k)
        for (Index j = 0; j < kPanel; ++j) sums[j] += value(a[k]) * value(element<B, group>(panel, k, j));
      body(row, first, sums);
    }
  }
}

template <class T, Index group>
void gemm(const Gemm& g) {
  panels_of<T, group, float>(g, [&](Index row, Index first, const float* sums) { finish(g, row, first, sums); });
}

void gemm_i8(const Gemm& g) {
  panels_of<std::uint8_t, 4, std::int32_t>(g, [&](Index row, Index first, const std::int32_t* sums) {
    const RowScale a = g.row_scales[row];
    float numbers[kPanel] = {};
    for (Index j = 0; j < kPanel && first + j < g.columns; ++j) {
      const float exact = static_cast<float>(sums[j] - a.zero * g.column_sums[first + j]);
      numbers[j] = exact * (a.scale * g.column_scales[first + j]);
    }
    finish(g, row, first, numbers);
  });
}

void pack_words(const std::uint32_t* rows, Index stride, Index used, Index words, std::uint32_t* out) {
  for (Index word = 0; word < words; ++word)
    for (Index j = 0; j < kPanel; ++j) {
      std::uint32_t value = 0;
      if (j < used) std::memcpy(&value, rows + j * stride + word, sizeof value);
      out[word * kPanel + j] = value;
    }
}

void pack_pair(const bf16* even, const bf16* odd, Index used, bf16* out) {
  for (Index j = 0; j < kPanel; ++j) {
    out[2 * j] = j < used ? even[j] : bf16{0};
    out[2 * j + 1] = odd && j < used ? odd[j] : bf16{0};
  }
}

void softmax(float* x, Index stride, Index rows, Index columns, bf16* low, Index low_stride, float* inverse) {
  constexpr float kSmallest = -87.0f;  // exp of less is no normal float
  for (Index i = 0; i < rows; ++i, x += stride) {
    float most = x[0], sum = 0;
    for (Index j = 1; j < columns; ++j) most = x[j] > most ? x[j] : most;
    for (Index j = 0; j < columns; ++j) {
      const float shifted = x[j] - most;
      x[j] = shifted < kSmallest ? 0 : std::exp(shifted);
      sum += x[j];
      if (low) low[i * low_stride + j] = narrow(x[j]);
    }
    inverse[i] = 1 / sum;
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

template <class T>
RowScale quantize(const T* x, const float* factors, Index columns, std::uint8_t* out) {
  const auto at = [&](Index j) { return factors ? value(x[j]) * factors[j] : value(x[j]); };
  float least = 0, most = 0;
  for (Index j = 0; j < columns; ++j) {
    least = at(j) < least ? at(j) : least;
    most = at(j) > most ? at(j) : most;
  }
  const float range = most - least;
  if (!(range <= std::numeric_limits<float>::max())) {  // infinite: no number stays one
    for (Index j = 0; j < columns; ++j) out[j] = 0;
    return {std::numeric_limits<float>::quiet_NaN(), 0};
  }
  const float scale = range > kNothing ? range / 255 : 1, inverse = 1 / scale;
  const float zero = std::nearbyint(-least * inverse);
  for (Index j = 0; j < columns; ++j) {
    const float u = std::nearbyint(at(j) * inverse) + zero;
    out[j] = static_cast<std::uint8_t>(u > 0 ? u < 255 ? u : 255 : 0);
  }
  return {scale, static_cast<std::int32_t>(zero)};
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

template <class T>
void rotate(T* row, const float* cosines, const float* sines, Index half) {
  for (Index i = 0; i < half; ++i) {
    const float x = value(row[i]), y = value(row[half + i]);
    const float turned[2] = {x * cosines[i] - y * sines[i], y * cosines[i] + x * sines[i]};
    for (Index part = 0; part < 2; ++part)
      if constexpr (std::is_same_v<T, bf16>)
        row[part * half + i] = narrow(turned[part]);
      else
        row[part * half + i] = turned[part];
  }
}

float factor(const Dropout& dropout, std::uint32_t counter) {
  std::uint32_t x = counter + dropout.first;
  x = (x ^ x >> 16) * kMixFirst;
  x = (x ^ x >> 15 ^ dropout.second) * kMixSecond;
  x ^= x >> 16;
  std::int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >= dropout.limit ? dropout.scale : 0;
}

void drop(const float* x, const Dropout& dropout, std::uint32_t counter, Index columns, float* out) {
  for (Index j = 0; j < columns; ++j) out[j] = x[j] * factor(dropout, counter + static_cast<std::uint32_t>(j));
}

float attention_weights(float* x, const Dropout& dropout, std::uint32_t counter, Index columns) {
  float most = x[0], sum = 0;
  for (Index j = 1; j < columns; ++j) most = x[j] > most ? x[j] : most;
  for (Index j = 0; j < columns; ++j) sum += x[j] = std::exp(x[j] - most);
  for (Index j = 0; j < columns; ++j) x[j] *= factor(dropout, counter + static_cast<std::uint32_t>(j)) / sum;
  return most + std::log(sum);
}

void attention_gradient(float* scores, float* gradient, const float* logarithms, const float* shares, float scale,
                        const Dropout& dropout, std::uint32_t counter, std::uint32_t step, Index columns,
                        float* panels, Index panel) {
  for (Index j = 0; j < columns; ++j) {
    const float weight = std::exp(scores[j] - logarithms[j]);
    const float kept = factor(dropout, counter + static_cast<std::uint32_t>(j) * step);
    scores[j] = weight * kept;
    gradient[j] = weight * (gradient[j] * kept - shares[j]) * scale;
    panels[j / kPanel * panel + j % kPanel] = gradient[j];
  }
}

void layer_norm_gradient(const float* x, const float* gamma, const float* gradient, float epsilon, Index columns,
                         float* out, float* gamma_gradient, float* beta_gradient) {
  const float count = static_cast<float>(columns);
  float total = 0, squares = 0, sum = 0, product = 0;
  for (Index j = 0; j < columns; ++j) total += x[j];
  const float mean = total / count;
  for (Index j = 0; j < columns; ++j) squares += (x[j] - mean) * (x[j] - mean);
  const float inverse = 1 / std::sqrt(squares / count + epsilon);
  for (Index j = 0; j < columns; ++j) {
    const float normal = (x[j] - mean) * inverse;
    gamma_gradient[j] += gradient[j] * normal;
    beta_gradient[j] += gradient[j];
    sum += gradient[j] * gamma[j];
    product += gradient[j] * gamma[j] * normal;
  }
  for (Index j = 0; j < columns; ++j)
    out[j] = inverse * (gradient[j] * gamma[j] - sum / count - (x[j] - mean) * inverse * product / count);
}

void bert_adam(const BertAdam& adam, const float* gradient, Index count, float* weights, float* mean, float* square) {
  for (Index j = 0; j < count; ++j) {
    const float g = gradient[j] * adam.gradient_scale;
    mean[j] = adam.first * mean[j] + (1 - adam.first) * g;
    square[j] = adam.second * square[j] + (1 - adam.second) * g * g;
    weights[j] -= adam.rate * (mean[j] / (std::sqrt(square[j]) + adam.epsilon) + adam.decay * weights[j]);
  }
}

constexpr Kernels kTable = {"portable", 1, 0.25, false, gemm<float, 1>, gemm<bf16, 2>, gemm_i8,
                            pack_words, pack_pair, softmax, layer_norm, quantize<float>, quantize<bf16>,
                            add, mean, normalize, rotate<float>, rotate<bf16>,
                            drop, attention_weights, attention_gradient, layer_norm_gradient, bert_adam,
                            nullptr, nullptr, {}};

}  // namespace

const Kernels* portable_kernels() { return &kTable; }

}  // namespace bertpass::native
