// The one source of the vectorised kernels: included once per instruction set, after a header that defines Vector.
// portable.cc says what each computes. Everything here has internal linkage (see kernels.h).
#pragma once

#include <cstring>
#include <type_traits>

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

// A vector of sums as numbers; those of bytes from the exact sums.
inline V numbers(const Gemm&, const float* sums, Index, Index, Index) { return Vector::load(sums); }
inline V numbers(const Gemm& g, const std::int32_t* sums, Index row, Index column, Index left) {
  const RowScale scale = g.row_scales[row];
  const Vector::I totals = Vector::load_whole(g.column_sums + column, left);
  const V exact = Vector::to_float(Vector::minus_product(Vector::load_whole(sums, W), scale.zero, totals));
  return Vector::mul(exact, Vector::mul(Vector::set(scale.scale), load_some(g.column_scales + column, left)));
}

// One row of the result from the sums of `width` columns; whole: there are as many columns.
template <Activation activation, class Out, bool whole, Index width = kPanel, class Sum>
inline __attribute__((always_inline)) void finish_row(const Gemm& g, const Sum* sums, Index row, Index column) {
#pragma GCC unroll 4
  for (Index c = 0; c < width; c += W, column += W) {
    const Index left = whole ? W : g.columns - column;
    if (left <= 0) return;
    const V bias = g.bias ? load_some(g.bias + column, left) : Vector::zero();
    V x = numbers(g, sums + c, row, column, left);
    x = g.row_factors ? Vector::fma(x, Vector::set(g.row_factors[row]), bias) : Vector::add(x, bias);
    x = activate<activation>(x);
    if (g.residual) x = Vector::add(x, load_some(g.residual + row * g.residual_stride + column, left));
    store_some(static_cast<Out*>(g.out) + row * g.out_stride + column, x, left);
  }
}

// What belongs to the columns of a whole panel, in registers.
template <class Sum>
struct PanelColumns {
  static constexpr Index kParts = kPanel / W;

  V bias[kParts];

  PanelColumns() = default;
  PanelColumns(const Gemm& g, Index column) {
    for (Index part = 0; part < kParts; ++part)
      bias[part] = g.bias ? Vector::load(g.bias + column + part * W) : Vector::zero();
  }
  V numbers(const Gemm& g, const Sum* sums, Index row, Index part) const {
    const V x = Vector::load(sums);
    return g.row_factors ? Vector::fma(x, Vector::set(g.row_factors[row]), bias[part]) : Vector::add(x, bias[part]);
  }
};

template <>
struct PanelColumns<std::int32_t> {
  static constexpr Index kParts = kPanel / W;

  V bias[kParts], scales[kParts];
  Vector::I totals[kParts];

  PanelColumns() = default;
  PanelColumns(const Gemm& g, Index column) {
    for (Index part = 0; part < kParts; ++part) {
      bias[part] = g.bias ? Vector::load(g.bias + column + part * W) : Vector::zero();
      scales[part] = Vector::load(g.column_scales + column + part * W);
      totals[part] = Vector::load_whole(g.column_sums + column + part * W, W);
    }
  }
  V numbers(const Gemm& g, const std::int32_t* sums, Index row, Index part) const {
    const RowScale scale = g.row_scales[row];
    const V exact = Vector::to_float(Vector::minus_product(Vector::load_whole(sums, W), scale.zero, totals[part]));
    const V x = Vector::mul(exact, Vector::mul(Vector::set(scale.scale), scales[part]));
    return g.row_factors ? Vector::fma(x, Vector::set(g.row_factors[row]), bias[part]) : Vector::add(x, bias[part]);
  }
};

// The same for the rows of a tile, kStep columns.
template <Activation activation, class Out, class Sum>
void finish(const Gemm& g, const Sum* sums, Index row, Index rows, Index column) {
  for (Index r = 0; r < rows; ++r) {
    if (g.columns - column >= kStep)
      finish_row<activation, Out, true, kStep>(g, sums + r * kStep, row + r, column);
    else
      finish_row<activation, Out, false, kStep>(g, sums + r * kStep, row + r, column);
  }
}

template <class Sum>
using Finish = void (*)(const Gemm&, const Sum*, Index, Index, Index);

template <class Out, class Sum>
Finish<Sum> finish_to(Activation activation) {
  switch (activation) {
    case Activation::gelu: return finish<Activation::gelu, Out, Sum>;
    case Activation::gelu_coarse: return finish<Activation::gelu_coarse, Out, Sum>;
    case Activation::gelu_tanh: return finish<Activation::gelu_tanh, Out, Sum>;
    case Activation::relu: return finish<Activation::relu, Out, Sum>;
    case Activation::tanh: return finish<Activation::tanh, Out, Sum>;
    case Activation::none: break;
  }
  return finish<Activation::none, Out, Sum>;
}

template <class Sum>
Finish<Sum> finish_of(const Gemm& g) {
  return g.out_is_bf16 ? finish_to<bf16, Sum>(g.activation) : finish_to<float, Sum>(g.activation);
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
  static V start(const float* sums) { return Vector::load(sums); }
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
  static V start(const float* sums) { return Vector::load(sums); }
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
  static Vector::I start(const std::int32_t* sums) { return Vector::load_whole(sums, W); }
  static Vector::Weights load(const std::int8_t* panel) { return Vector::load_weights(panel); }
  static Vector::Quads set(const std::uint8_t* a) {
    std::uint32_t quad;
    std::memcpy(&quad, a, sizeof quad);
    return Vector::set_quad(quad);
  }
  static Vector::I dot(Vector::I sum, Vector::Quads x, Vector::Weights b) { return Vector::dot(sum, x, b); }
  static void store(std::int32_t* p, Vector::I sum) { Vector::store_whole(p, sum); }
};

// The sums of R rows and kStep columns: all of them stay in registers over the whole depth. They begin with what is in
// `sums`, or with zero. Memory from `ahead` on is fetched, `pace` bytes for each step.
template <class P, int R>
void multiply(const typename P::Left* a, Index stride, const typename P::Right* panel, Index depth,
              typename P::Sum* sums, Index sums_stride, bool begin = true, const char* ahead = nullptr,
              Index pace = 0) {
  typename P::Register sum[R][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) sum[r][c] = begin ? P::zero() : P::start(sums + r * sums_stride + c * W);
  // Every third row has a pointer and the next two are found from it: a pointer for each would not fit in the registers;
  // the compiler would keep some in vectors, at the cost of an instruction where the sums need the ports.
  constexpr int kPointers = (R + 2) / 3;
  const typename P::Left* at[kPointers];
#pragma GCC unroll 8
  for (int i = 0; i < kPointers; ++i) at[i] = a + 3 * i * stride;
  // inlined also where it stands twice: a call would move all sums to memory and back
  const auto step = [&](auto set) __attribute__((always_inline)) {
    const auto b0 = P::load(panel), b1 = P::load(panel + P::group * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = set(at[r / 3] + r % 3 * stride);
      sum[r][0] = P::dot(sum[r][0], x, b0);
      sum[r][1] = P::dot(sum[r][1], x, b1);
    }
    __builtin_prefetch(ahead);
    ahead += pace;
    panel += P::group * kPanel;
#pragma GCC unroll 8
    for (int i = 0; i < kPointers; ++i) {
      at[i] += P::group;
      __asm__("" : "+r"(at[i]));  // it stays a pointer of its own
    }
  };
  const Index whole = P::padded ? depth : depth / P::group * P::group;
  for (Index k = 0; k < whole; k += P::group) step([](const typename P::Left* p) { return P::set(p); });
  if constexpr (!P::padded)
    if (whole < depth) step([](const typename P::Left* p) { return P::set_rest(p); });
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < kVectors; ++c) P::store(sums + r * sums_stride + c * W, sum[r][c]);
}

// multiply<rows> for the rows that are left, 1 to R.
template <class P, int R, class... More>
void multiply_rest(Index rows, const typename P::Left* a, Index stride, const typename P::Right* panel, Index depth,
                   typename P::Sum* sums, Index sums_stride, More... more) {
  if constexpr (R > 0) {
    if (rows == R)
      multiply<P, R>(a, stride, panel, depth, sums, sums_stride, more...);
    else
      multiply_rest<P, R - 1>(rows, a, stride, panel, depth, sums, sums_stride, more...);
  }
}

constexpr Index kBlockBytes = 24 * 1024;  // of b, kStep columns: they stay in the first-level cache while rows pass by
constexpr Index kBand = 256;              // rows whose sums wait from one block to the next

// The sums of some rows and kStep columns, block after block of the depth; done(row, rows, sums of kStep columns) where
// they are complete. in_place: they are in the result itself.
template <class P, int R, class Done>
void columns_of(const Gemm& g, Index first, Index rows, Index column, bool in_place, const Done& done) {
  using Sum = typename P::Sum;
  constexpr Index most = kBlockBytes / (kStep * 4) * P::group;
  const Index depth = (g.depth + P::group - 1) / P::group * P::group;
  const Index blocks = (depth + most - 1) / most, each = (depth / P::group + blocks - 1) / blocks * P::group;
  const auto* panel = static_cast<const typename P::Right*>(g.panels) + column / kPanel * kPanel * depth +
                      column % kPanel * P::group;
  alignas(64) Sum memory[kBand * kStep];
  Sum* const sums = in_place ? static_cast<Sum*>(g.out) + first * g.out_stride + column : memory;
  const Index stride = in_place ? g.out_stride : kStep;
  const Index pace = kPanel * 4 / ((rows + R - 1) / R) + 1;
  for (Index from = 0; from < g.depth; from += each) {
    const Index here = g.depth - from < each ? g.depth - from : each;
    const auto* b = panel + from * kPanel;
    const char* ahead = reinterpret_cast<const char*>(b + each * kPanel);
    for (Index row = 0; row < rows; row += R, ahead += pace * (here / P::group)) {
      const Index some = rows - row < R ? rows - row : R;
      Sum* const to = sums + row * stride;
      multiply_rest<P, R>(some, static_cast<const typename P::Left*>(g.a) + (first + row) * g.a_stride + from,
                          g.a_stride, b, here, to, stride, from == 0, ahead, pace);
      if (from + here == g.depth) done(first + row, some, to);
    }
  }
}

template <class P, int R>
void gemm(const Gemm& g) {
  using Sum = typename P::Sum;
  const Finish<Sum> finish = finish_of<Sum>(g);
  const bool plain = std::is_same_v<Sum, float> && !g.bias && !g.residual && !g.row_factors && !g.out_is_bf16 &&
                     g.activation == Activation::none;
  for (Index first = 0; first < g.rows; first += kBand) {
    const Index rows = g.rows - first < kBand ? g.rows - first : kBand;
    for (Index column = 0; column < g.columns; column += kStep) {
      const bool in_place = plain && g.columns - column >= kStep;
      columns_of<P, R>(g, first, rows, column, in_place, [&](Index row, Index here, const Sum* sums) {
        if (!in_place) finish(g, sums, row, here, column);
      });
    }
  }
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

// The sum of value(column, columns) over a row in vectors: in several chains, since one would wait for itself.
template <class Value>
V row_sum(Index columns, const Value& value) {
  constexpr Index kChains = 4;
  V sum[kChains];
  for (Index i = 0; i < kChains; ++i) sum[i] = Vector::zero();
  Index j = 0;
  for (; j + kChains * W <= columns; j += kChains * W)
#pragma GCC unroll 4
    for (Index i = 0; i < kChains; ++i) sum[i] = Vector::add(sum[i], value(j + i * W, W));
  for (; j < columns; j += W) sum[0] = Vector::add(sum[0], value(j, columns - j));
  return Vector::add(Vector::add(sum[0], sum[1]), Vector::add(sum[2], sum[3]));
}

void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, Index columns, float* out,
                bf16* low) {
  const float mean = Vector::sum(row_sum(columns, [&](Index j, Index n) { return load_some(x + j, n); })) /
                     static_cast<float>(columns);
  const V centre = Vector::set(mean);
  const float square = Vector::sum(row_sum(columns, [&](Index j, Index n) {
    V d = Vector::sub(load_some(x + j, n), centre);
    if (n < W) d = Vector::first(d, n);
    return Vector::mul(d, d);
  }));
  const V scale = Vector::set(1.0f / __builtin_sqrtf(square / static_cast<float>(columns) + epsilon));
  const auto one = [&](Index j, Index left) __attribute__((always_inline)) {
    const V d = Vector::mul(Vector::sub(load_some(x + j, left), centre), scale);
    const V y = Vector::fma(d, load_some(gamma + j, left), load_some(beta + j, left));
    store_some(out + j, y, left);
    if (low) store_some(low + j, y, left);
  };
  Index j = 0;
  for (; j + W <= columns; j += W) one(j, W);
  if (j < columns) one(j, columns - j);
}

template <class T>
RowScale quantize(const T* x, const float* factors, Index columns, std::uint8_t* out) {
  const auto at = [&](Index j, Index n) {  // zeros past the row
    const V v = load_some(x + j, n);
    return factors ? Vector::mul(v, load_some(factors + j, n)) : v;
  };
  constexpr Index kChains = 4;  // one would wait for itself
  V low[kChains], high[kChains];
  for (Index i = 0; i < kChains; ++i) low[i] = high[i] = Vector::zero();
  Index j = 0;
  for (; j + kChains * W <= columns; j += kChains * W)
#pragma GCC unroll 4
    for (Index i = 0; i < kChains; ++i) {
      const V v = at(j + i * W, W);
      low[i] = Vector::min(v, low[i]);
      high[i] = Vector::max(v, high[i]);
    }
  for (; j < columns; j += W) {
    const V v = at(j, columns - j);
    low[0] = Vector::min(v, low[0]);
    high[0] = Vector::max(v, high[0]);
  }
  for (Index i = 1; i < kChains; ++i) {
    low[0] = Vector::min(low[i], low[0]);
    high[0] = Vector::max(high[i], high[0]);
  }
  const float least = -Vector::largest(Vector::sub(Vector::zero(), low[0])), range = Vector::largest(high[0]) - least;
  const bool finite = range <= 3.4028234663852886e38f;
  const float scale = !finite ? __builtin_nanf("") : range > kNothing ? range / 255 : 1;
  const float zero = finite ? __builtin_nearbyintf(-least * (1 / scale)) : 0;
  const V factor = Vector::set(1 / scale);
  const auto level = static_cast<std::int32_t>(zero);
  for (j = 0; j + W <= columns; j += W) Vector::store_levels(out + j, Vector::mul(at(j, W), factor), level, W);
  if (j < columns) Vector::store_levels(out + j, Vector::mul(at(j, columns - j), factor), level, columns - j);
  return {scale, level};
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
  return {name, kTile, 512 * 1024, Vector::fast_bf16,
          gemm<Floats, kTile>, gemm<Halves, kTile>, gemm<Bytes, Vector::quad_rows>,
          pack_words, pack_pair, softmax, layer_norm, quantize<float>, quantize<bf16>, add, mean, normalize,
          drop, attention_weights, attention_gradient, layer_norm_gradient, bert_adam, nullptr, nullptr};
}

}  // namespace
}  // namespace bertpass::native
