// Matrix products in vectors, with their epilogues, and the packing of what attention multiplies; included by
// vectorised.h.
//
// float32 on Zen 3, GFLOP/s of one core (peak 94), weights from memory, 8, 16, 40 and 128 rows by 1152 by 768:
//   tiles of 6 rows by 16 columns, two passes over a panel   34  64  82  85
//   tiles of 3 rows by 32 columns, a panel in one piece      50  81  88  87   memory is read line after line
// With 12, 16 or 24 KiB of a panel at once the latter is equal within the noise; so is the former with 8 to 24 KiB.
//
// Bytes on Zen 3, whole models, times: pairs of them widened to 16 bits and multiplied, tiles of 6 by 16, 1; vpmaddubsw
// and tiles of 6 by 16, 0.68 to 0.76; and tiles of 3 by 32, 0.90 to 0.97 of that. vpmaddubsw saturates but for what
// kernels.h says of pairs; rows with their sign moved to the weights (vpsignb) would need no such rule, and a fourth
// instruction: its loop reached 147 GOP/s where that of three reached 174.
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/vector_functions.h"

namespace bertpass::native {
namespace {

// A vector of sums as numbers; those of bytes from the exact sums.
inline V numbers(const Gemm&, const float* sums, Index, Index, Index) { return Vector::load(sums); }
inline V numbers(const Gemm& g, const std::int32_t* sums, Index row, Index column, Index left) {
  const RowScale scale = g.row_scales[row];
  const Vector::I totals = Vector::load_whole(g.column_sums + column, left);
  const V exact = Vector::to_float(Vector::minus_product(Vector::load_whole(sums, W), scale.zero - Vector::byte_shift, totals));
  return Vector::mul(exact, Vector::mul(Vector::set(scale.scale), load_some(g.column_scales + column, left)));
}

// One row of the result from the sums of a panel; whole: there are as many columns.
template <Activation activation, class Out, bool whole, class Sum>
inline __attribute__((always_inline)) void finish_row(const Gemm& g, const Sum* sums, Index row, Index column) {
#pragma GCC unroll 8
  for (Index c = 0; c < kPanel; c += W, column += W) {
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

// The same where it is gated: half a panel's columns.
template <Activation activation, class Out, class Numbers>
inline __attribute__((always_inline)) void finish_gated(Out* out, const Numbers& numbers) {
  constexpr Index kHalf = kVectors / 2;
#pragma GCC unroll 4
  for (Index part = 0; part < kHalf; ++part)
    store_some(out + part * W, Vector::mul(activate<activation>(numbers(part)), numbers(kHalf + part)), W);
}

// What belongs to the columns of a whole panel, in registers.
template <class Sum>
struct PanelColumns {
  V bias[kVectors];

  PanelColumns() = default;
  PanelColumns(const Gemm& g, Index column) {
    for (Index part = 0; part < kVectors; ++part)
      bias[part] = g.bias ? Vector::load(g.bias + column + part * W) : Vector::zero();
  }
  V numbers(const Gemm& g, const Sum* sums, Index row, Index part) const {
    const V x = Vector::load(sums);
    return g.row_factors ? Vector::fma(x, Vector::set(g.row_factors[row]), bias[part]) : Vector::add(x, bias[part]);
  }
};

template <>
struct PanelColumns<std::int32_t> {
  V bias[kVectors], scales[kVectors];
  Vector::I totals[kVectors];

  PanelColumns() = default;
  PanelColumns(const Gemm& g, Index column) {
    for (Index part = 0; part < kVectors; ++part) {
      bias[part] = g.bias ? Vector::load(g.bias + column + part * W) : Vector::zero();
      scales[part] = Vector::load(g.column_scales + column + part * W);
      totals[part] = Vector::load_whole(g.column_sums + column + part * W, W);
    }
  }
  V numbers(const Gemm& g, const std::int32_t* sums, Index row, Index part) const {
    const RowScale scale = g.row_scales[row];
    const V exact = Vector::to_float(Vector::minus_product(Vector::load_whole(sums, W), scale.zero - Vector::byte_shift, totals[part]));
    const V x = Vector::mul(exact, Vector::mul(Vector::set(scale.scale), scales[part]));
    return g.row_factors ? Vector::fma(x, Vector::set(g.row_factors[row]), bias[part]) : Vector::add(x, bias[part]);
  }
};

// The same for the rows of a tile.
template <Activation activation, class Out, class Sum>
void finish(const Gemm& g, const Sum* sums, Index row, Index rows, Index column) {
  if (g.gated) {
    const PanelColumns<Sum> columns(g, column);
    for (Index r = 0; r < rows; ++r)
      finish_gated<activation>(static_cast<Out*>(g.out) + (row + r) * g.out_stride + column / 2, [&](Index part) {
        return columns.numbers(g, sums + r * kPanel + part * W, row + r, part);
      });
    return;
  }
  for (Index r = 0; r < rows; ++r) {
    if (g.columns - column >= kPanel)
      finish_row<activation, Out, true>(g, sums + r * kPanel, row + r, column);
    else
      finish_row<activation, Out, false>(g, sums + r * kPanel, row + r, column);
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
    case Activation::silu: return finish<Activation::silu, Out, Sum>;
    case Activation::tanh: return finish<Activation::tanh, Out, Sum>;
    case Activation::none: break;
  }
  return finish<Activation::none, Out, Sum>;
}

template <class Sum>
Finish<Sum> finish_of(const Gemm& g) {
  return g.out_is_bf16 ? finish_to<bf16, Sum>(g.activation) : finish_to<float, Sum>(g.activation);
}

// What a product is made of: `group` elements of the depth, next to each other, make one step of all sums. Where rows
// are not padded to whole groups set_rest takes the last elements; what follows them may be no number.
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

// The sums of R rows and a panel's columns: they stay in registers over the depth. They begin with what is in
// `sums`, or with zero. Memory from `ahead` on is fetched, `pace` bytes for each step.
template <class P, int R>
void multiply(const typename P::Left* a, Index stride, const typename P::Right* panel, Index depth,
              typename P::Sum* sums, Index sums_stride, bool begin = true, const char* ahead = nullptr,
              Index pace = 0) {
  constexpr int C = kVectors;
  typename P::Register sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = begin ? P::zero() : P::start(sums + r * sums_stride + c * W);
  // Every third row has a pointer and the next two are found from it: a pointer for each would not fit in registers;
  // the compiler would keep some in vectors, at the cost of an instruction where the sums need the ports.
  constexpr int kPointers = (R + 2) / 3;
  const typename P::Left* at[kPointers];
#pragma GCC unroll 8
  for (int i = 0; i < kPointers; ++i) at[i] = a + 3 * i * stride;
  // inlined also where it stands twice: a call would move all sums to memory and back
  const auto step = [&](auto set) __attribute__((always_inline)) {
    decltype(P::load(panel)) b[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) b[c] = P::load(panel + c * P::group * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = set(at[r / 3] + r % 3 * stride);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = P::dot(sum[r][c], x, b[c]);
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
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) P::store(sums + r * sums_stride + c * W, sum[r][c]);
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

constexpr Index kBand = 256;  // rows whose sums wait from one block to the next

// The sums of some rows and a panel's columns, block after block of the depth; done(row, rows, sums) where they are
// complete. in_place: they are in the result itself. A block takes half of the first-level cache, and stays there while
// rows pass by.
template <class P, class Done>
void columns_of(const Gemm& g, Index first, Index rows, Index column, bool in_place, const Done& done) {
  using Sum = typename P::Sum;
  constexpr int R = kTile;
  const Index groups = g.caches.first / 2 / (kPanel * 4), most = (groups > 1 ? groups : 1) * P::group;
  const Index depth = (g.depth + P::group - 1) / P::group * P::group;
  const Index blocks = (depth + most - 1) / most, each = (depth / P::group + blocks - 1) / blocks * P::group;
  const auto* panel = static_cast<const typename P::Right*>(g.panels) + column * depth;
  alignas(64) Sum memory[kBand * kPanel];
  Sum* const sums = in_place ? static_cast<Sum*>(g.out) + first * g.out_stride + column : memory;
  const Index stride = in_place ? g.out_stride : kPanel;
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

template <class P>
void gemm(const Gemm& g) {
  using Sum = typename P::Sum;
  const Finish<Sum> finish = finish_of<Sum>(g);
  const bool plain = std::is_same_v<Sum, float> && !g.bias && !g.residual && !g.row_factors && !g.out_is_bf16 &&
                     !g.gated && g.activation == Activation::none;
  for (Index first = 0; first < g.rows; first += kBand) {
    const Index rows = g.rows - first < kBand ? g.rows - first : kBand;
    for (Index column = 0; column < g.columns; column += kPanel) {
      const bool in_place = plain && g.columns - column >= kPanel;
      columns_of<P>(g, first, rows, column, in_place, [&](Index row, Index here, const Sum* sums) {
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

}  // namespace
}  // namespace bertpass::native
