// Matrix products on AMX tiles: included once for the processor's tiles and once for emulated ones, after Tiles and
// vectorised.h, whose epilogues it shares. Everything here has internal linkage (see kernels.h).
//
// A panel is taken in blocks of the depth that stay in the first-level cache while all rows of a band pass by; the sums
// wait in memory between blocks. What does not need the tiles is done between their instructions, a little beside each:
// the rows of the panel before are finished, and the next block is fetched.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

constexpr Index kTileRows = 16, kTileBytes = 64;
constexpr Index kTileSums = kTileRows * kPanel;
constexpr Index kStepBytes = kTileBytes / 4 * kPanel * 4;  // of a panel: two tiles, 2 KiB
constexpr Index kBandRows = 512;  // whose sums wait in memory
constexpr Index kPage = 4096;

// Most steps of a block. Of a first-level cache of 48 KiB: 16 KiB, beside as much of the next block and the sums of 128
// rows. More rows have their sums in the second level: blocks of 24 KiB move them less often; and so much is one block.
constexpr Index steps_of_block(Index rows, Index steps) { return rows <= 128 && steps > 12 ? 8 : 12; }

// So many of `amount` things are due at each of `turns`, and one more at the first ones.
struct Spread {
  Index each, more;
  Spread(Index amount, Index turns) : each(turns ? amount / turns : 0), more(turns ? amount % turns : 0) {}
  Index at(Index turn) const { return each + (turn < more); }
};

// What part `number` of `parts` is due of an amount that is spread over all of them.
Index due(Index amount, Index number, Index parts) { return amount * (number + 1) / parts - amount * number / parts; }

// The rows of a panel whose sums are complete, still to be finished.
template <class P, Activation activation, class Out>
struct Finishing {
  static constexpr Index kParts = kPanel / W;

  const Gemm& g;
  Index jump, skipped;  // at this row the sums of so many rows are passed over: they are those of rows before
  Index row = 0, last = 0;  // rows row to last - 1 are left
  const typename P::Sum* sums = nullptr;
  Out* out = nullptr;
  const float* residual = nullptr;
  Index column = 0;
  bool whole = false;
  PanelColumns<typename P::Sum> columns = {};

  void start(const typename P::Sum* from, Index first, Index end, Index at) {
    sums = from;
    row = first;
    last = end;
    column = at;
    whole = g.columns - column >= kPanel;
    out = static_cast<Out*>(g.out) + first * g.out_stride + column;
    residual = g.residual ? g.residual + first * g.residual_stride + column : nullptr;
    if (whole) columns = PanelColumns<typename P::Sum>(g, column);
  }
  Index left() const { return last - row; }
  void one() {
    if (row == jump) sums += skipped * kPanel;
    if (whole) {
#pragma GCC unroll 4
      for (Index part = 0; part < kParts; ++part) {
        V x = activate<activation>(columns.numbers(g, sums + part * W, row, part));
        if (residual) x = Vector::add(x, Vector::load(residual + part * W));
        store_some(out + part * W, x, W);
      }
      out += g.out_stride;
      if (residual) residual += g.residual_stride;
    } else {
      finish_row<activation, Out, false>(g, sums, row, column);
    }
    sums += kPanel;
    ++row;
  }
  void all() {
    while (row < last) one();
  }
};

// Memory that is read soon. A line of each of its pages in turn: the processor's own prefetching follows all of them.
struct Fetching {
  const char* at;
  Index pages, lines;  // lines of each page

  Fetching(const char* from, Index size)
      : at(from), pages((size + kPage - 1) / kPage), lines((size / (pages ? pages : 1) + 63) / 64) {}
  void one() {
    const char* line = at;
    for (Index page = 0; page < pages; ++page, line += lines * 64) __builtin_prefetch(line);
    at += 64;
  }
};

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

template <class P, Activation activation, class Out>
void band(const Gemm& g, Index first, Index rows, typename P::Sum (*memory)[kBandRows * kPanel]) {
  using Left = typename P::Left;
  using Sum = typename P::Sum;
  constexpr Index element = sizeof(Left), step = kTileBytes / element;
  const Index depth = (g.depth + P::group - 1) / P::group * P::group;
  const Index steps = g.depth / step, whole = steps * step, bytes = g.a_stride * element;
  const Index most = steps_of_block(rows, steps), blocks = (steps + most - 1) / most;
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
      Sum rest[kTile * kStep];
      const auto* b = reinterpret_cast<const typename P::Right*>(panel) + whole * kPanel;
      for (Index number = 0; number < tiles; ++number)
        for (Index row = 0; row < tile; row += kTile)
          for (Index at = 0; at < kPanel; at += kStep) {
            const Index some = tile - row < kTile ? tile - row : kTile;
            multiply_rest<P, kTile>(some, a + (row_of(number) + row) * g.a_stride + whole, g.a_stride,
                                    b + at * P::group, g.depth - whole, rest, kStep);
            Sum* to = sums + number * kTileSums + row * kPanel + at;
            for (Index r = 0; r < some; ++r)
              for (Index c = 0; c < kStep; ++c) to[r * kPanel + c] += rest[r * kStep + c];
          }
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
