// The one source of the vectorised kernels: included once per instruction set, after a header that defines Vector.
// portable.cc says what each computes. Everything here has internal linkage (see kernels.h).
#pragma once

#include <cstring>

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

using V = Vector::V;
constexpr Index W = Vector::width;
constexpr int kVectors = 2;  // columns that are summed at once, in vectors: a panel or a part of it
constexpr Index kStep = kVectors * W;
constexpr int kTile = Vector::tile_rows;
static_assert(kPanel % kStep == 0);

constexpr float kNothing = 1e-30f;  // as in portable.cc

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

template <Activation activation, class Out>
void finish(const Gemm& g, const float* sums, Index row, Index rows, Index column) {
  for (int c = 0; c < kVectors; ++c, column += W) {
    const Index left = g.columns - column;
    if (left <= 0) return;
    const V bias = g.bias ? load_some(g.bias + column, left) : Vector::zero();
    for (Index r = 0; r < rows; ++r) {
      V x = Vector::load(sums + r * kStep + c * W);
      x = g.row_factors ? Vector::fma(x, Vector::set(g.row_factors[row + r]), bias) : Vector::add(x, bias);
      x = activate<activation>(x);
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
    case Activation::gelu_coarse: return finish<Activation::gelu_coarse, Out>;
    case Activation::gelu_tanh: return finish<Activation::gelu_tanh, Out>;
    case Activation::relu: return finish<Activation::relu, Out>;
    case Activation::tanh: return finish<Activation::tanh, Out>;
    case Activation::none: break;
  }
  return finish<Activation::none, Out>;
}

// What a product is made of: `group` elements of the depth, side by side, make one step of all sums. Where rows are not
// padded to whole groups set_rest takes the last elements; what follows them may be no number.
struct Floats {
  using Left = float;
  using Right = float;
  using Sum = float;
  using Register = V;
  static constexpr Index group = 1;
  static constexpr bool padded = true;
  static V zero() { return Vector::zero(); }
  static V load(const float* panel) { return Vector::load(panel); }
  static V set(const float* a) { return Vector::set(*a); }
  static V dot(V sum, V x, V b) { return Vector::fma(x, b, sum); }
  static void store(float* p, V sum) { Vector::store(p, sum); }
};

struct Halves {
  using Left = bf16;
  using Right = bf16;
  using Sum = float;
  using Register = V;
  static constexpr Index group = 2;
  static constexpr bool padded = false;
  static V zero() { return Vector::zero(); }
  static Vector::Pairs load(const bf16* panel) { return Vector::load_pairs(panel); }
  static Vector::Pairs set(const bf16* a) {
    std::uint32_t pair;
    std::memcpy(&pair, a, sizeof pair);
    return Vector::set_pair(pair);
  }
  static Vector::Pairs set_rest(const bf16* a) { return Vector::set_pair(std::uint32_t{*a}); }
  static V dot(V sum, Vector::Pairs x, Vector::Pairs b) { return Vector::dot(sum, x, b); }
  static void store(float* p, V sum) { Vector::store(p, sum); }
};

struct Bytes {  // rows are padded with any bytes: those of the panels are zeros there
  using Left = std::uint8_t;
  using Right = std::int8_t;
  using Sum = std::int32_t;
  using Register = Vector::I;
  static constexpr Index group = 4;
  static constexpr bool padded = true;
  static Vector::I zero() { return Vector::whole_zero(); }
  static Vector::Weights load(const std::int8_t* panel) { return Vector::load_weights(panel); }
  static Vector::Quads set(const std::uint8_t* a) {
    std::uint32_t quad;
    std::memcpy(&quad, a, sizeof quad);
    return Vector::set_quad(quad);
  }
  static Vector::I dot(Vector::I sum, Vector::Quads x, Vector::Weights b) { return Vector::dot(sum, x, b); }
  static void store(std::int32_t* p, Vector::I sum) { Vector::store_whole(p, sum); }
};

// The sums of R rows and kStep columns: all of them stay in registers over the whole depth.
template <class P, int R>
void multiply(const typename P::Left* a, Index stride, const typename P::Right* panel, Index depth,
              typename P::Sum* sums, Index sums_stride) {
  typename P::Register sum[R][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) sum[r][c] = P::zero();
  // inlined also where it stands twice: a call would move all sums to memory and back
  const auto step = [&](Index k, auto set) __attribute__((always_inline)) {
    const auto b0 = P::load(panel), b1 = P::load(panel + P::group * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = set(a + r * stride + k);
      sum[r][0] = P::dot(sum[r][0], x, b0);
      sum[r][1] = P::dot(sum[r][1], x, b1);
    }
    panel += P::group * kPanel;
  };
  const Index whole = P::padded ? depth : depth / P::group * P::group;
  for (Index k = 0; k < whole; k += P::group) step(k, [](const typename P::Left* p) { return P::set(p); });
  if constexpr (!P::padded)
    if (whole < depth) step(whole, [](const typename P::Left* p) { return P::set_rest(p); });
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) P::store(sums + r * sums_stride + c * W, sum[r][c]);
}

// multiply<rows> for the rows that are left, 1 to R.
template <class P, int R>
void multiply_rest(Index rows, const typename P::Left* a, Index stride, const typename P::Right* panel, Index depth,
                   typename P::Sum* sums, Index sums_stride) {
  if constexpr (R > 0) {
    if (rows == R)
      multiply<P, R>(a, stride, panel, depth, sums, sums_stride);
    else
      multiply_rest<P, R - 1>(rows, a, stride, panel, depth, sums, sums_stride);
  }
}

// multiply(row, rows, column, sums, stride of the sums) for each tile of at most R rows and kStep columns.
template <class P, int R, class Body>
void tiles(const Gemm& g, const Body& body) {
  const auto* a = static_cast<const typename P::Left*>(g.a);
  const auto* panels = static_cast<const typename P::Right*>(g.panels);
  const Index depth = (g.depth + P::group - 1) / P::group * P::group;
  for (Index column = 0; column < g.columns; column += kStep) {
    const auto* panel = panels + column / kPanel * kPanel * depth + column % kPanel * P::group;
    for (Index row = 0; row < g.rows; row += R) {
      const Index rows = g.rows - row < R ? g.rows - row : R;
      body(row, rows, column, [&](auto* sums, Index sums_stride) {
        multiply_rest<P, R>(rows, a + row * g.a_stride, g.a_stride, panel, g.depth, sums, sums_stride);
      });
    }
  }
}

template <class P>
void gemm(const Gemm& g) {
  const Finish finish = g.out_is_bf16 ? finish_of<bf16>(g.activation) : finish_of<float>(g.activation);
  const bool plain = !g.bias && !g.residual && !g.row_factors && !g.out_is_bf16 && g.activation == Activation::none;
  alignas(64) float sums[kTile * kStep];
  tiles<P, kTile>(g, [&](Index row, Index rows, Index column, const auto& multiply) {
    if (plain && g.columns - column >= kStep)
      return multiply(static_cast<float*>(g.out) + row * g.out_stride + column, g.out_stride);
    multiply(sums, kStep);
    finish(g, sums, row, rows, column);
  });
}

// Numbers from the exact sums of bytes, both (rows, kStep).
void dequantize(const Gemm& g, const std::int32_t* sums, Index row, Index rows, Index column, float* values) {
  for (int c = 0; c < kVectors && column + c * W < g.columns; ++c) {
    const Index at = column + c * W, left = g.columns - at;
    const V scales = load_some(g.column_scales + at, left);
    const Vector::I totals = Vector::load_whole(g.column_sums + at, left);
    for (Index r = 0; r < rows; ++r) {
      const RowScale scale = g.row_scales[row + r];
      const Vector::I sum = Vector::load_whole(sums + r * kStep + c * W, W);
      const V exact = Vector::to_float(Vector::minus_product(sum, scale.zero, totals));
      Vector::store(values + r * kStep + c * W, Vector::mul(exact, Vector::mul(Vector::set(scale.scale), scales)));
    }
  }
}

void gemm_i8(const Gemm& g) {
  const Finish finish = g.out_is_bf16 ? finish_of<bf16>(g.activation) : finish_of<float>(g.activation);
  alignas(64) std::int32_t sums[Vector::quad_rows * kStep];
  alignas(64) float values[Vector::quad_rows * kStep];
  tiles<Bytes, Vector::quad_rows>(g, [&](Index row, Index rows, Index column, const auto& multiply) {
    multiply(sums, kStep);
    dequantize(g, sums, row, rows, column, values);
    finish(g, values, row, rows, column);
  });
}

// Columns of a panel from rows: word w of row j goes to out[w * kPanel + j]; zeros past `used` rows.
void pack_words(const std::uint32_t* rows, Index stride, Index used, Index words, std::uint32_t* out) {
  for (Index first = 0; first < kPanel; first += W) {
    const Index here = used - first;
    Index word = 0;
    if (here >= W)
      for (; word + W <= words; word += W)
        Vector::transpose(rows + first * stride + word, stride, out + word * kPanel + first, kPanel);
    for (; word < words; ++word)
      for (Index j = 0; j < W; ++j) {
        std::uint32_t* to = out + word * kPanel + first + j;
        if (j < here)
          std::memcpy(to, rows + (first + j) * stride + word, sizeof *to);
        else
          *to = 0;
      }
  }
}

// Rows 2 k and 2 k + 1 beside each other, column by column; the second may be null, for zeros.
void pack_pair(const bf16* even, const bf16* odd, Index used, bf16* out) {
  Index j = 0;
  if (odd)
    for (; j + 2 * W <= used; j += 2 * W) Vector::interleave(even + j, odd + j, out + 2 * j);
  for (; j < kPanel; ++j) {
    out[2 * j] = j < used ? even[j] : bf16{0};
    out[2 * j + 1] = odd && j < used ? odd[j] : bf16{0};
  }
}

void softmax(float* x, Index stride, Index rows, Index columns, bf16* low, Index low_stride, float* inverse) {
  for (Index i = 0; i < rows; ++i, x += stride) {
    V most = Vector::set(x[0]);
    Index j = 0;
    for (; j + W <= columns; j += W) most = Vector::max(most, Vector::load(x + j));
    float top = Vector::largest(most);
    for (; j < columns; ++j) top = x[j] > top ? x[j] : top;
    const V shift = Vector::set(top);
    V total = Vector::zero();
    for (j = 0; j < columns; j += W) {
      const Index left = columns - j;
      V e = exponential(Vector::sub(load_some(x + j, left), shift));
      if (left < W) e = Vector::first(e, left);  // zeros past the row
      if (low)
        store_some(low + i * low_stride + j, e, left);
      else
        store_some(x + j, e, left);
      total = Vector::add(total, e);
    }
    inverse[i] = 1 / Vector::sum(total);
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

RowScale quantize(const float* x, const float* factors, Index columns, std::uint8_t* out) {
  const auto at = [&](Index j) {  // zeros past the row
    const V v = load_some(x + j, columns - j);
    return factors ? Vector::mul(v, load_some(factors + j, columns - j)) : v;
  };
  V low = Vector::zero(), high = Vector::zero();
  for (Index j = 0; j < columns; j += W) {
    const V v = at(j);
    low = Vector::min(v, low);
    high = Vector::max(v, high);
  }
  const float least = -Vector::largest(Vector::sub(Vector::zero(), low)), range = Vector::largest(high) - least;
  const bool finite = range <= 3.4028234663852886e38f;
  const float scale = !finite ? __builtin_nanf("") : range > kNothing ? range / 255 : 1;
  const float zero = finite ? __builtin_nearbyintf(-least * (1 / scale)) : 0;
  const V factor = Vector::set(1 / scale), offset = Vector::set(zero);
  for (Index j = 0; j < columns; j += W) {
    const V u = Vector::add(Vector::round(Vector::mul(at(j), factor)), offset);
    Vector::store_bytes(out + j, Vector::min(Vector::max(u, Vector::zero()), Vector::set(255)), columns - j);
  }
  return {scale, static_cast<std::int32_t>(zero)};
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

}  // namespace
}  // namespace bertpass::native

#include "kernels/training.h"

namespace bertpass::native {
namespace {

constexpr Kernels table(const char* name) {
  return {name,      kTile,   Vector::fast_bf16, gemm<Floats>, gemm<Halves>, gemm_i8,
          pack_words, pack_pair, softmax, layer_norm, quantize, add, mean, normalize,
          drop, attention_weights, attention_gradient, layer_norm_gradient, bert_adam};
}

}  // namespace
}  // namespace bertpass::native
