// Matrix products on AMX tiles: included once for the processor's tiles and once for emulated ones, after Tiles and
// vectorised.h, whose epilogues it shares. Everything here has internal linkage (see kernels.h).
//
// A panel is taken in blocks of the depth that stay in the first-level cache while all rows of a band pass by, two
// tiles of rows at a time; the sums wait in memory between blocks. Measured on one core (first level 48 KiB, second 2
// MiB), bfloat16, 128 rows, depth 768, all in the second level, GFLOP/s; a core multiplies 3000 at most:
//   blocks of 8 steps 2469, of 12 2401 (6 and 10: no difference); the panel whole, 48 KiB: 1729
//   rows by streaming loads; by plain ones, which push the block out: 1757 of 2106. Contiguous tiles or software
//   prefetch of the rows gained nothing; rows a multiple of 512 bytes apart (see stride_of) cost 18 %
//   each sum stored just before its tile begins anew 2401; four stores in a row, then four loads: 2232
//   K = 3072 with 512 rows at once, which no second level holds: 1115 to 1440; in bands of 128 (Kernels::reread) 2900
//
// Few rows stay on the tiles: 32 rows by 3072 x 768 read weights at the memory's limit, 30 GB/s of two cores, and a
// step takes 78 ticks where its 2 KiB take about 180 to come from the third level. The vectors (VNNI) took 4.8 ms where
// tiles took 2.6 to 3.2 for BERT-base, 16 tokens, int8; and in bfloat16 they round otherwise, so that a row's bits
// would depend on how many rows there are.
#pragma once

#include "kernels/amx_beside.h"
#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

constexpr Index kTileRows = 16, kTileBytes = 64;
constexpr Index kTileSums = kTileRows * kPanel;            // of a tile of rows by a panel
constexpr Index kStepBytes = kTileBytes / 4 * kPanel * 4;  // of a panel: two tiles, 2 KiB
constexpr Index kSumBytes = kPanel * 4;                    // of a row by a panel
constexpr Index kBandRows = 512;  // whose sums wait in memory: 64 KiB on the stack for each of two panels

// Most steps of a block. With few rows a third of the first-level cache is for it, one for the next block, which is
// being fetched, one for the sums: 8 steps up to 128 rows. More rows have their sums in the second level: blocks of
// half the cache, 12 steps, move them less often; and so much is one block whatever the rows.
Index steps_of_block(const Gemm& g, Index rows, Index steps) {
  const Index half = g.caches.first / 2 / kStepBytes, third = g.caches.first / 3 / kStepBytes;
  const Index most = rows * kSumBytes <= g.caches.first / 3 && steps > half ? third : half;
  return most > 1 ? most : 1;
}

// Where each tile of sums of two tiles of rows by a panel begins, kPanel apart from row to row.
template <int tile>
constexpr Index kSums = tile / 2 * kTileSums + tile % 2 * (kPanel / 2);

struct Stay {  // the sums are added to
  template <int tile>
  void turn() const {}
};

// The sums are stored where those of other rows were left in the tiles, and begin anew: from memory or from zero. Each
// tile is stored just before it is needed: all four in a row would leave the matrix unit without work.
template <class Sum>
struct Turn {
  Sum* done;         // or null
  const Sum* begin;  // or null

  template <int tile>
  void turn() const {
    if (done) Tiles::store<tile>(done + kSums<tile>, kPanel * 4);
    if (begin)
      Tiles::load<tile>(begin + kSums<tile>, kPanel * 4);
    else
      Tiles::clear<tile>();
  }
};

// One step of the depth for two tiles of rows by a panel.
template <class Left, class Sums>
inline __attribute__((always_inline)) void step_of(const Left* upper, const Left* lower, Index bytes, const void* b,
                                                   const Sums& sums) {
  Tiles::load<6>(b, kPanel * 4);
  Tiles::stream<4>(upper, bytes);
  sums.template turn<0>();
  Tiles::multiply<0, 4, 6>(upper);
  Tiles::load<7>(static_cast<const char*>(b) + kTileBytes, kPanel * 4);
  sums.template turn<1>();
  Tiles::multiply<1, 4, 7>(upper);
  Tiles::stream<5>(lower, bytes);
  sums.template turn<2>();
  Tiles::multiply<2, 5, 6>(upper);
  sums.template turn<3>();
  Tiles::multiply<3, 5, 7>(upper);
}

template <class Sum>
void store_sums(Sum* to) {
  Tiles::store<0>(to + kSums<0>, kPanel * 4);
  Tiles::store<1>(to + kSums<1>, kPanel * 4);
  Tiles::store<2>(to + kSums<2>, kPanel * 4);
  Tiles::store<3>(to + kSums<3>, kPanel * 4);
}

// Adds what the depth from `whole` on gives, which fills no step, to the sums of `tiles` tiles of rows by a panel.
// row_of(tile): its first row.
template <class P, class RowOf>
void add_rest(const Gemm& g, const typename P::Right* b, Index whole, Index tile, Index tiles, const RowOf& row_of,
              typename P::Sum* sums) {
  const auto* a = static_cast<const typename P::Left*>(g.a) + whole;
  typename P::Sum rest[kTile * kPanel];
  for (Index number = 0; number < tiles; ++number)
    for (Index row = 0; row < tile; row += kTile) {
      const Index some = tile - row < kTile ? tile - row : kTile;
      multiply_rest<P, kTile>(some, a + (row_of(number) + row) * g.a_stride, g.a_stride, b, g.depth - whole, rest,
                              kPanel);
      typename P::Sum* to = sums + number * kTileSums + row * kPanel;
      for (Index i = 0; i < some * kPanel; ++i) to[i] += rest[i];
    }
}

// Rows first to first + rows - 1 by all panels. memory: sums of this panel and of the one before, in turn.
template <class P, Activation activation, class Out>
void band(const Gemm& g, Index first, Index rows, typename P::Sum (*memory)[kBandRows * kPanel]) {
  using Left = typename P::Left;
  using Sum = typename P::Sum;
  constexpr Index element = sizeof(Left), step = kTileBytes / element;
  const Index depth = (g.depth + P::group - 1) / P::group * P::group;
  const Index steps = g.depth / step, whole = steps * step, bytes = g.a_stride * element;
  const Index most = steps_of_block(g, rows, steps), blocks = (steps + most - 1) / most;
  const Index tile = g.rows < kTileRows ? g.rows : kTileRows, tiles = (rows + kTileRows - 1) / kTileRows;
  const Index pairs = (tiles + 1) / 2;
  const auto* a = static_cast<const Left*>(g.a);
  const Index panels = (g.columns + kPanel - 1) / kPanel;
  const auto* const first_panel = static_cast<const typename P::Right*>(g.panels);
  const char* const end = reinterpret_cast<const char*>(first_panel + panels * kPanel * depth);
  const Index blocks_ahead = pairs < 4 ? 4 / pairs : 1;  // few rows pass by faster than memory answers
  // Where the rows do not fill the last tiles these are moved up: some rows are computed twice, to the same values.
  const auto row_of = [&](Index number) {
    const Index row = first + number * kTileRows;
    return row + tile <= g.rows ? row : g.rows - tile;
  };
  const Index jump = first + (tiles - 1) * kTileRows;
  Finishing<P, activation, Out> behind{g, jump, jump - row_of(tiles - 1)};
  Sum* left = nullptr;  // where the sums go that are in the tiles
  const auto clean = [&] {
    if (left) store_sums(left);
    left = nullptr;
  };
  for (Index column = 0, turn = 0; column < g.columns; column += kPanel, turn ^= 1) {
    const auto* panel = reinterpret_cast<const char*>(first_panel + column * depth);
    Sum* const sums = memory[turn];
    const Index to_finish = behind.left();
    for (Index block = 0; block < blocks; ++block) {
      const Index from = steps * block / blocks, to = steps * (block + 1) / blocks;
      const char* const b = panel + from * kStepBytes;
      const Index size = (to - from) * kStepBytes;
      const char* soon = b + size * blocks_ahead;
      if (g.next && soon >= end) soon = static_cast<const char*>(g.next) + (soon - end);
      Fetching ahead(soon, size);
      const Index lines = ahead.lines;
      for (Index pair = 0; pair < pairs; ++pair) {
        Sum* const here = sums + 2 * pair * kTileSums;
        const Left* upper = a + row_of(2 * pair) * g.a_stride + from * step;
        const Left* lower = a + row_of(2 * pair + 1) * g.a_stride + from * step;
        const char* at = b;
        step_of(upper, lower, bytes, at, Turn<Sum>{left, block ? here : nullptr});
        left = here;
        const Index turns = to - from - 1;
        const Spread fetch(due(lines, pair, pairs), turns);
        const Spread finish(due(to_finish, block * pairs + pair, blocks * pairs), turns);
        for (Index k = 0; k < turns; ++k) {
          upper += step;
          lower += step;
          at += kStepBytes;
          step_of(upper, lower, bytes, at, Stay{});
          for (Index i = fetch.at(k); i > 0; --i) ahead.one();
          for (Index i = finish.at(k); i > 0; --i) behind.one();
        }
      }
    }
    behind.all();
    if (steps == 0)
      for (Index i = 0; i < tiles * kTileSums; ++i) sums[i] = 0;
    if (whole < depth) {
      clean();
      const auto* b = reinterpret_cast<const typename P::Right*>(panel) + whole * kPanel;
      add_rest<P>(g, b, whole, tile, tiles, row_of, sums);
    }
    behind.start(sums, first, first + rows, column);
  }
  clean();
  behind.all();
}

template <class P, Activation activation, class Out>
void product(const Gemm& g) {
  alignas(64) typename P::Sum memory[2][kBandRows * kPanel];
  if (g.rows == 0) return;
  Tiles::configure(g.rows < kTileRows ? g.rows : kTileRows);
  for (Index first = 0; first < g.rows; first += kBandRows)
    band<P, activation, Out>(g, first, g.rows - first < kBandRows ? g.rows - first : kBandRows, memory);
  Tiles::release();
}

template <class P, class Out>
void product_to(const Gemm& g) {
  switch (g.activation) {
    case Activation::gelu: return product<P, Activation::gelu, Out>(g);
    case Activation::gelu_coarse: return product<P, Activation::gelu_coarse, Out>(g);
    case Activation::gelu_tanh: return product<P, Activation::gelu_tanh, Out>(g);
    case Activation::relu: return product<P, Activation::relu, Out>(g);
    case Activation::silu: return product<P, Activation::silu, Out>(g);
    case Activation::tanh: return product<P, Activation::tanh, Out>(g);
    case Activation::none: break;
  }
  return product<P, Activation::none, Out>(g);
}

template <class P>
void amx_gemm(const Gemm& g) {
  g.out_is_bf16 ? product_to<P, bf16>(g) : product_to<P, float>(g);
}

}  // namespace
}  // namespace bertpass::native
