// Matrix products on AMX tiles: included once for the processor's tiles and once for emulated ones, after Tiles and
// vectorised.h, whose epilogues it shares. Everything here has internal linkage (see kernels.h).
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

constexpr Index kTileRows = 16, kTileBytes = 64;

// Two tiles of rows by a panel: (32, kPanel) sums, in pieces of kStep columns as the epilogue wants them.
template <class Sum>
struct Block {
  alignas(64) Sum sums[kPanel / kStep][2 * kTileRows * kStep];

  Sum* piece(Index column) { return sums[column / kStep]; }

  template <int half>
  void take() {
    const auto at = [&](Index column) { return piece(column) + half * kTileRows * kStep + column % kStep; };
    Tiles::store<half>(at(0), at(kTileBytes / 4), kStep * 4);
  }
};

// The sums of `halves` tiles of rows over the part of the depth that fills tiles, then over the rest by vectors.
template <class P, int halves>
void multiply_block(const typename P::Left* a, Index stride, Index rows, const typename P::Right* panel, Index depth,
                    Block<typename P::Sum>& block) {
  constexpr Index element = sizeof(*a), step = kTileBytes / element, panel_step = step * kPanel;
  const Index whole = depth / step * step, bytes = stride * element;
  const auto* second = a + kTileRows * stride;
  Tiles::clear();
  const auto* b = panel;
  for (Index k = 0; k < whole; k += step, b += panel_step) {
    Tiles::load_b(b, kPanel * 4);
    Tiles::load_a<0>(a + k, bytes);
    Tiles::multiply<0>(a);
    if constexpr (halves == 2) {
      Tiles::load_a<1>(second + k, bytes);
      Tiles::multiply<1>(a);
    }
  }
  block.template take<0>();
  if constexpr (halves == 2) block.template take<1>();
  if (whole == depth) return;
  typename P::Sum rest[kTile * kStep];
  for (Index column = 0; column < kPanel; column += kStep)
    for (Index row = 0; row < rows; row += kTile) {
      const Index here = rows - row < kTile ? rows - row : kTile;
      multiply_rest<P, kTile>(here, a + row * stride + whole, stride, b + column * P::group, depth - whole, rest,
                              kStep);
      auto* sums = block.piece(column) + row * kStep;
      for (Index i = 0; i < here * kStep; ++i) sums[i] += rest[i];
    }
}

// finish(row, rows, column, sums of kStep columns) for every part of the result. The last rows are taken together with
// rows before them where they do not fill a tile: these are computed twice, to the same values.
template <class P, class Done>
void product(const Gemm& g, const Done& done) {
  const Index depth = (g.depth + P::group - 1) / P::group * P::group;
  const Index tile = g.rows < kTileRows ? g.rows : kTileRows;
  const auto* a = static_cast<const typename P::Left*>(g.a);
  Block<typename P::Sum> block;
  if (g.rows == 0) return;
  Tiles::configure(tile);
  for (Index first = 0; first < g.columns; first += kPanel) {
    const auto* panel = static_cast<const typename P::Right*>(g.panels) + first * depth;
    for (Index row = 0; row < g.rows;) {
      const Index left = g.rows - row;
      const Index rows = left > tile && g.rows >= 2 * tile ? 2 * tile : tile;
      const Index at = left < rows ? g.rows - rows : row;
      if (rows == 2 * kTileRows)
        multiply_block<P, 2>(a + at * g.a_stride, g.a_stride, rows, panel, g.depth, block);
      else
        multiply_block<P, 1>(a + at * g.a_stride, g.a_stride, rows, panel, g.depth, block);
      for (Index column = first; column < g.columns && column < first + kPanel; column += kStep)
        done(at, rows, column, block.piece(column - first));
      row = at + rows;
    }
  }
  Tiles::release();
}

void amx_gemm_bf16(const Gemm& g) {
  const Finish finish = g.out_is_bf16 ? finish_of<bf16>(g.activation) : finish_of<float>(g.activation);
  product<Halves>(g, [&](Index row, Index rows, Index column, const float* sums) {
    finish(g, sums, row, rows, column);
  });
}

void amx_gemm_i8(const Gemm& g) {
  const Finish finish = g.out_is_bf16 ? finish_of<bf16>(g.activation) : finish_of<float>(g.activation);
  alignas(64) float values[2 * kTileRows * kStep];
  product<Bytes>(g, [&](Index row, Index rows, Index column, const std::int32_t* sums) {
    dequantize(g, sums, row, rows, column, values);
    finish(g, values, row, rows, column);
  });
}

// The other kernels are those of the vectors.
constexpr Kernels amx_table(const char* name) {
  Kernels all = table(name);
  all.tile = 2 * kTileRows;
  all.fast_bf16 = true;
  all.gemm_bf16 = amx_gemm_bf16;
  all.gemm_i8 = amx_gemm_i8;
  return all;
}

}  // namespace
}  // namespace bertpass::native
