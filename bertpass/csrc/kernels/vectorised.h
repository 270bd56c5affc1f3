// The one source of the vectorised kernels: included once per instruction set, after a header that defines Vector.
// portable.cc says what each computes. Everything here has internal linkage (see kernels.h).
#pragma once

#include <cstring>

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

using V = Vector::V;
constexpr Index W = Vector::width;
constexpr int kVectors = 2;  // of a panel
constexpr Index kPanel = kVectors * W;
constexpr int kTile = Vector::tile_rows;

V load_some(const float* p, Index n) { return n >= W ? Vector::load(p) : Vector::load(p, n); }
void store_some(float* p, V x, Index n) {
  if (n >= W)
    Vector::store(p, x);
  else
    Vector::store(p, x, n);
}
void store_some(bf16* p, V x, Index n) {
  if (n >= W)
    Vector::store_bf16(p, x);
  else
    Vector::store_bf16(p, x, n);
}

// The rest of a polynomial by Horner's rule: p x^n + ... + the last coefficient.
template <class... Coefficients>
V horner(V x, V p, Coefficients... coefficients) {
  ((p = Vector::fma(p, x, Vector::set(coefficients))), ...);
  return p;
}

// exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; the constants are those of expf in Moshier's Cephes library.
// Relative error about 1e-7; exact zero below kSmallest, where the result would not be a normal float. A NaN stays one:
// min and max give their second operand then.
constexpr float kSmallest = -87.0f;
V exponential(V given) {
  const V x = Vector::min(Vector::set(88.0f), Vector::max(Vector::set(kSmallest), given));
  const V n = Vector::round(Vector::mul(x, Vector::set(1.44269504088896341f)));
  V r = Vector::fma(n, Vector::set(-0.693359375f), x);
  r = Vector::fma(n, Vector::set(2.12194440e-4f), r);
  V p = horner(r, Vector::set(1.9875691500e-4f), 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
               1.6666665459e-1f, 5.0000001201e-1f);
  p = Vector::fma(Vector::mul(r, r), p, Vector::add(r, Vector::set(1.0f)));
  return Vector::where_less(given, Vector::set(kSmallest), Vector::zero(), Vector::scale(p, n));
}

// tanh x = 1 - 2 / (exp(2 x) + 1)
V hyperbolic_tangent(V x) {
  const V e = exponential(Vector::add(x, x));
  return Vector::sub(Vector::set(1.0f), Vector::div(Vector::set(2.0f), Vector::add(e, Vector::set(1.0f))));
}

// erfc z for z >= 0: Abramowitz and Stegun, Handbook of Mathematical Functions, formula 7.1.26, error at most 1.5e-7.
V complementary_error(V z) {
  const V t = Vector::div(Vector::set(1.0f), Vector::fma(z, Vector::set(0.3275911f), Vector::set(1.0f)));
  const V p = horner(t, Vector::set(1.061405429f), -1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f);
  return Vector::mul(Vector::mul(p, t), exponential(Vector::sub(Vector::zero(), Vector::mul(z, z))));
}

template <Activation activation>
V activate(V x) {
  if constexpr (activation == Activation::relu) return Vector::max(Vector::zero(), x);
  if constexpr (activation == Activation::tanh) return hyperbolic_tangent(x);
  if constexpr (activation == Activation::gelu) {
    // half of x times erfc keeps its relative accuracy where GELU goes to zero
    const V tail = Vector::mul(Vector::mul(x, Vector::set(0.5f)),
                               complementary_error(Vector::mul(Vector::abs(x), Vector::set(0.70710678f))));
    return Vector::where_less(x, Vector::zero(), tail, Vector::sub(x, tail));
  }
  if constexpr (activation == Activation::gelu_tanh) {
    const V cube = Vector::mul(Vector::mul(x, x), x);
    const V inner = Vector::mul(Vector::fma(cube, Vector::set(0.044715f), x), Vector::set(0.79788456f));
    return Vector::mul(Vector::mul(x, Vector::set(0.5f)), Vector::add(hyperbolic_tangent(inner), Vector::set(1.0f)));
  }
  return x;
}

template <Activation activation, class Out>
void finish(const Gemm& g, const float* sums, Index row, Index rows, Index column) {
  for (int c = 0; c < kVectors; ++c, column += W) {
    const Index left = g.columns - column;
    if (left <= 0) return;
    const V bias = g.bias ? load_some(g.bias + column, left) : Vector::zero();
    for (Index r = 0; r < rows; ++r) {
      V x = activate<activation>(Vector::add(Vector::load(sums + r * kPanel + c * W), bias));
      if (g.residual) x = Vector::add(x, load_some(g.residual + (row + r) * g.residual_stride + column, left));
      store_some(static_cast<Out*>(g.out) + (row + r) * g.out_stride + column, x, left);
    }
  }
}

using Finish = void (*)(const Gemm&, const float*, Index, Index, Index);

template <class Out>
Finish finish_of(Activation activation) {
  switch (activation) {
    case Activation::gelu: return finish<Activation::gelu, Out>;
    case Activation::gelu_tanh: return finish<Activation::gelu_tanh, Out>;
    case Activation::relu: return finish<Activation::relu, Out>;
    case Activation::tanh: return finish<Activation::tanh, Out>;
    case Activation::none: break;
  }
  return finish<Activation::none, Out>;
}

Index panel_depth(Index depth, const float*) { return depth; }
Index panel_depth(Index depth, const bf16*) { return (depth + 1) / 2 * 2; }

// The sums of R rows and one panel, (R, kPanel): all of them stay in registers over the whole depth.
template <int R>
void multiply(const float* a, Index stride, const float* panel, Index depth, float* sums) {
  V sum[R][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) sum[r][c] = Vector::zero();
  for (Index k = 0; k < depth; ++k, panel += kPanel) {
    const V b0 = Vector::load(panel), b1 = Vector::load(panel + W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V x = Vector::set(a[r * stride + k]);
      sum[r][0] = Vector::fma(x, b0, sum[r][0]);
      sum[r][1] = Vector::fma(x, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) Vector::store(sums + r * kPanel + c * W, sum[r][c]);
}

template <int R>
void multiply(const bf16* a, Index stride, const bf16* panel, Index depth, float* sums) {
  V sum[R][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) sum[r][c] = Vector::zero();
  for (Index k = 0; k < depth; k += 2, panel += 2 * kPanel) {
    const Vector::Pairs b0 = Vector::load_pairs(panel), b1 = Vector::load_pairs(panel + 2 * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      std::uint32_t pair = a[r * stride + k];  // alone at the end of an odd depth: there is nothing after it
      if (k + 1 < depth) std::memcpy(&pair, a + r * stride + k, sizeof pair);
      const Vector::Pairs x = Vector::set_pair(pair);
      sum[r][0] = Vector::dot(sum[r][0], x, b0);
      sum[r][1] = Vector::dot(sum[r][1], x, b1);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) Vector::store(sums + r * kPanel + c * W, sum[r][c]);
}

// multiply<rows> for the rows that are left, 1 to R.
template <class T, int R>
void multiply_rest(Index rows, const T* a, Index stride, const T* panel, Index depth, float* sums) {
  if constexpr (R > 0) {
    if (rows == R)
      multiply<R>(a, stride, panel, depth, sums);
    else
      multiply_rest<T, R - 1>(rows, a, stride, panel, depth, sums);
  }
}

template <class T>
void gemm(const Gemm& g) {
  const T* panels = static_cast<const T*>(g.panels);
  const T* a = static_cast<const T*>(g.a);
  const Finish finish = g.out_is_bf16 ? finish_of<bf16>(g.activation) : finish_of<float>(g.activation);
  alignas(64) float sums[kTile * kPanel];
  for (Index column = 0; column < g.columns; column += kPanel) {
    const T* panel = panels + column * panel_depth(g.depth, panels);
    for (Index row = 0; row < g.rows; row += kTile) {
      const Index rows = g.rows - row < kTile ? g.rows - row : kTile;
      multiply_rest<T, kTile>(rows, a + row * g.a_stride, g.a_stride, panel, g.depth, sums);
      finish(g, sums, row, rows, column);
    }
  }
}

void softmax(float* x, Index stride, Index rows, Index columns) {
  const Index whole = columns / W * W, rest = columns - whole;
  for (Index i = 0; i < rows; ++i, x += stride) {
    V most = Vector::set(x[0]);
    for (Index j = 0; j < whole; j += W) most = Vector::max(most, Vector::load(x + j));
    float top = Vector::largest(most);
    for (Index j = whole; j < columns; ++j) top = x[j] > top ? x[j] : top;
    const V shift = Vector::set(top);
    V total = Vector::zero();
    for (Index j = 0; j < whole; j += W) {
      const V e = exponential(Vector::sub(Vector::load(x + j), shift));
      Vector::store(x + j, e);
      total = Vector::add(total, e);
    }
    if (rest) {  // stored and loaded again: the load has zeros past the row
      Vector::store(x + whole, exponential(Vector::sub(Vector::load(x + whole, rest), shift)), rest);
      total = Vector::add(total, Vector::load(x + whole, rest));
    }
    const V scale = Vector::set(1.0f / Vector::sum(total));
    for (Index j = 0; j < columns; j += W)
      store_some(x + j, Vector::mul(load_some(x + j, columns - j), scale), columns - j);
  }
}

void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, Index columns, float* out,
                bf16* low) {
  const Index whole = columns / W * W;
  V total = Vector::zero();
  for (Index j = 0; j < columns; j += W) total = Vector::add(total, load_some(x + j, columns - j));
  const float mean = Vector::sum(total) / static_cast<float>(columns);
  const V centre = Vector::set(mean);
  V squares = Vector::zero();
  for (Index j = 0; j < whole; j += W) {
    const V d = Vector::sub(Vector::load(x + j), centre);
    squares = Vector::fma(d, d, squares);
  }
  float square = Vector::sum(squares);
  for (Index j = whole; j < columns; ++j) square += (x[j] - mean) * (x[j] - mean);
  const V scale = Vector::set(1.0f / __builtin_sqrtf(square / static_cast<float>(columns) + epsilon));
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    const V d = Vector::mul(Vector::sub(load_some(x + j, left), centre), scale);
    const V y = Vector::fma(d, load_some(gamma + j, left), load_some(beta + j, left));
    store_some(out + j, y, left);
    if (low) store_some(low + j, y, left);
  }
}

void add(const float* a, const float* b, const float* c, Index columns, float* out) {
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    V x = Vector::add(load_some(a + j, left), load_some(b + j, left));
    if (c) x = Vector::add(x, load_some(c + j, left));
    store_some(out + j, x, left);
  }
}

void mean(const float* x, Index stride, Index rows, Index columns, float* out) {
  const V count = Vector::set(static_cast<float>(rows));
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    V total = Vector::zero();
    for (Index i = 0; i < rows; ++i) total = Vector::add(total, load_some(x + i * stride + j, left));
    store_some(out + j, Vector::div(total, count), left);
  }
}

void normalize(float* x, Index columns) {
  V squares = Vector::zero();
  for (Index j = 0; j < columns; j += W) {
    const V v = load_some(x + j, columns - j);
    squares = Vector::fma(v, v, squares);
  }
  const float length = __builtin_sqrtf(Vector::sum(squares));
  const V divisor = Vector::set(length > 1e-12f ? length : 1e-12f);
  for (Index j = 0; j < columns; j += W)
    store_some(x + j, Vector::div(load_some(x + j, columns - j), divisor), columns - j);
}

constexpr Kernels table(const char* name) {
  return {name, kPanel, kTile, gemm<float>, gemm<bf16>, softmax, layer_norm, add, mean, normalize};
}

}  // namespace
}  // namespace bertpass::native
