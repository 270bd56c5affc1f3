// Matrix products of bytes for a set that has no instruction for them; included after vectorised.h, whose epilogues it
// shares. Rows of a band and a block of weights are widened to 16 bits once, and multiplied in pairs many times.
//
// Zen 3, GOP/s of one core (peak of multiplication in pairs and addition: 148; float32 reaches 87 of 94), 128 rows:
//   weights widened in the loop, each time   85   six instructions more for two vectors, rows' bytes split in scalars
//   this, tiles of 6, 5 or 4 rows by 16      133  5 and 4 rows are no faster; blocks of 512 or 768 of the depth neither
// Bytes by bytes (vpmaddubsw) have a peak of 183, but their sums of 16 bits saturate. They are exact where the two
// weights of a pair have 128 at most together; a quarter of the groups of 8 columns has a larger pair (MiniLM), and to
// compute these twice takes what there is to gain. Halves of 4 bits never saturate and need more instructions.
#pragma once

#include "kernels/vectorised.h"

namespace bertpass::native {
namespace {

// Pairs of numbers of 16 bits; panels of kStep columns, pair after pair.
struct Words {
  using Left = std::int16_t;
  using Right = std::int16_t;
  using Sum = std::int32_t;
  using Register = Vector::I;
  static constexpr int vectors = kVectors;
  static constexpr Index group = 2, step = group * kStep;
  static constexpr bool padded = true;
  static Vector::I zero() { return Vector::whole_zero(); }
  static Vector::I start(const std::int32_t* sums) { return Vector::load_whole(sums, W); }
  static Vector::I load(const std::int16_t* panel) { return Vector::load_words(panel); }
  static Vector::I set(const std::int16_t* a) {
    std::int32_t pair;
    std::memcpy(&pair, a, sizeof pair);
    return Vector::whole(static_cast<std::uint32_t>(pair));
  }
  static Vector::I dot(Vector::I sum, Vector::I x, Vector::I b) { return Vector::add_products(sum, x, b); }
  static void store(std::int32_t* p, Vector::I sum) { Vector::store_whole(p, sum); }
};

constexpr int kWordRows = 6;
constexpr Index kLeastWordRows = 6;       // fewer are faster with the weights widened in the loop
constexpr Index kWordDepth = 256;         // of a block of a panel: 16 KiB
constexpr Index kWordBytes = 192 * 1024;  // of widened rows, in the second-level cache
constexpr Index kWordBand = 192;          // rows whose sums wait from one block to the next

void gemm_widened(const Gemm& g) {
  constexpr Index most_words = kWordBytes / 2;
  const Index depth = (g.depth + Bytes::group - 1) / Bytes::group * Bytes::group;
  const Index stride = ((depth + 31) / 32 | 1) * 32;  // an odd number of cache lines
  if (g.rows < kLeastWordRows || stride * kWordRows > most_words) return gemm<Bytes, Vector::quad_rows>(g);
  const Finish<std::int32_t> finish = finish_of<kPanel, std::int32_t>(g);
  const Index fit = most_words / stride, most = (fit < kWordBand ? fit : kWordBand) / kWordRows * kWordRows;
  const Index bands = (g.rows + most - 1) / most;
  const Index band = ((g.rows + bands - 1) / bands + kWordRows - 1) / kWordRows * kWordRows;
  const Index blocks = (depth + kWordDepth - 1) / kWordDepth;
  const Index each = (depth / Bytes::group + blocks - 1) / blocks * Bytes::group;
  alignas(64) std::int16_t words[most_words];
  alignas(64) std::int16_t weights[kWordDepth * kPanel];  // kStep columns after the others
  alignas(64) std::int32_t sums[kWordBand * kPanel];
  const auto* a = static_cast<const std::uint8_t*>(g.a);
  for (Index first = 0; first < g.rows; first += band) {
    const Index rows = g.rows - first < band ? g.rows - first : band;
    for (Index row = 0; row < rows; ++row)
      Vector::widen_row(a + (first + row) * g.a_stride, depth, words + row * stride);
    const Index pace = kPanel / ((rows + kWordRows - 1) / kWordRows) + 1;
    const auto* b = static_cast<const std::int8_t*>(g.panels);
    for (Index column = 0; column < g.columns; column += kPanel)
      for (Index from = 0; from < depth; from += each) {
        const Index here = depth - from < each ? depth - from : each;
        for (Index k = 0; k < here; k += Bytes::group, b += Bytes::step)
          for (Index part = 0; part < kPanel; part += kStep)
            Vector::widen_weights(b + part * Bytes::group, weights + here * part + k * kStep);
        const char* ahead = reinterpret_cast<const char*>(b);
        for (Index row = 0; row < rows; row += kWordRows) {
          const Index some = rows - row < kWordRows ? rows - row : kWordRows;
          std::int32_t* const to = sums + row * kPanel;
          for (Index part = 0; part < kPanel; part += kStep, ahead += pace * (here / Words::group))
            multiply_rest<Words, kWordRows>(some, words + row * stride + from, stride, weights + here * part, here,
                                            to + part, kPanel, from == 0, ahead, pace);
          if (from + here == depth) finish(g, to, first + row, some, column);
        }
      }
  }
}

// The other kernels are those of the vectors.
constexpr Kernels widened_table(const char* name) {
  Kernels all = table(name);
  all.gemm_i8 = gemm_widened;
  return all;
}

}  // namespace
}  // namespace bertpass::native
