// Functions of a vector for every kernel: loads and stores of a part, exp, the activations; included by vectorised.h.
#pragma once

#include <cstring>

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

using V = Vector::V;
constexpr Index W = Vector::width;
constexpr int kVectors = kPanel / W;  // of a panel's columns, which a product sums at once
constexpr int kTile = Vector::tile_rows;
static_assert(kPanel % W == 0);

constexpr float kNothing = 1e-30f;  // as in portable.cc

V load_some(const float* p, Index n) { return n >= W ? Vector::load(p) : Vector::load(p, n); }
V load_some(const bf16* p, Index n) {
  if (n >= W) return Vector::load_bf16(p);
  alignas(64) bf16 some[W] = {};
  std::memcpy(some, p, n * sizeof *p);
  return Vector::load_bf16(some);
}
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
  if constexpr (activation == Activation::silu)
    return Vector::div(x, Vector::add(Vector::set(1.0f), exponential(Vector::sub(Vector::zero(), x))));
  if constexpr (activation == Activation::gelu) {
    // half of x times erfc keeps its relative accuracy where GELU goes to zero
    const V tail = Vector::mul(Vector::mul(x, Vector::set(0.5f)),
                               complementary_error(Vector::mul(Vector::abs(x), Vector::set(0.70710678f))));
    return Vector::where_less(x, Vector::zero(), tail, Vector::sub(x, tail));
  }
  if constexpr (activation == Activation::gelu_coarse) {
    const V t = Vector::min(Vector::set(kPhiEnd), Vector::max(Vector::set(-kPhiEnd), x));
    const V p = horner(Vector::mul(t, t), Vector::set(kPhi[7]), kPhi[6], kPhi[5], kPhi[4], kPhi[3], kPhi[2], kPhi[1],
                       kPhi[0]);
    return Vector::mul(x, Vector::max(Vector::zero(), Vector::fma(t, p, Vector::set(0.5f))));
  }
  if constexpr (activation == Activation::gelu_tanh) {
    const V cube = Vector::mul(Vector::mul(x, x), x);
    const V inner = Vector::mul(Vector::fma(cube, Vector::set(0.044715f), x), Vector::set(0.79788456f));
    return Vector::mul(Vector::mul(x, Vector::set(0.5f)), Vector::add(hyperbolic_tangent(inner), Vector::set(1.0f)));
  }
  return x;
}

}  // namespace
}  // namespace bertpass::native
