// What is done between tile instructions: the tiles' unit works on alone while vectors finish rows whose sums are
// complete and lines of the next weights are fetched. Included by amx_gemm.h, after vectorised.h.
//
// Measured on one core in bfloat16, 128 rows, weights from beyond the second-level cache, GFLOP/s: nothing fetched
// 1483, the next block fetched 1809 (in blocks of 24 KiB) or 2033 (16 KiB); with the epilogue in between 1516 to 1626;
// with the epilogue in one piece after each block 1291, after each panel 1355. Counters kept in memory and updated at
// each step made 1396 of 1570: so what is due at each step is known before the loop (Spread). No difference: fetching
// into the second level only, two blocks ahead, one store of 64 bytes in place of two of 32.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

constexpr Index kPage = 4096, kCacheLine = 64;  // bytes

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
    out = static_cast<Out*>(g.out) + first * g.out_stride + (g.gated ? column / 2 : column);
    residual = g.residual ? g.residual + first * g.residual_stride + column : nullptr;
    if (whole) columns = PanelColumns<typename P::Sum>(g, column);
  }
  Index left() const { return last - row; }
  void one() {
    if (row == jump) sums += skipped * kPanel;
    if (g.gated) {
      finish_gated<activation>(out, [&](Index part) { return columns.numbers(g, sums + part * W, row, part); });
      out += g.out_stride;
    } else if (whole) {
#pragma GCC unroll 4
      for (Index part = 0; part < kVectors; ++part) {
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

// Memory that is read soon, at least a byte of it: a line of each of its pages in turn, so that the processor's own
// prefetching follows all of them.
struct Fetching {
  const char* at;
  Index pages, lines;  // lines of each page

  Fetching(const char* from, Index size)
      : at(from), pages((size + kPage - 1) / kPage), lines((size / pages + kCacheLine - 1) / kCacheLine) {}
  void one() {
    const char* line = at;
    for (Index page = 0; page < pages; ++page, line += lines * kCacheLine) __builtin_prefetch(line);
    at += kCacheLine;
  }
};

}  // namespace
}  // namespace bertpass::native
