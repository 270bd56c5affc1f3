// Attention of one head on AMX tiles: keys and values become panels, then pairs of tiles of queries go by, 32 at once.
//
// While the weights of a pair are computed in vectors, tile instructions of the next pair's scores and of the last
// one's mixture are issued in between, a step for every 64 keys of four rows. Measured on one core, heads of 64, per
// head: 10.9 us -> 7.8 at 128 tokens, 76 -> 59 at 384; of 7.8, products and weights alone would take 7.2. Four rows at
// once, because one waits for its own maximum and sum: 100 -> 70 ticks for a row of 128; the four maxima and sums are
// found together, 17 instructions in place of 25 for each. A panel costs 0.5 us a head to make: not worth moving into
// the epilogue of the product before. All keys of a pair's queries have their scores in memory at once: 0.3 MiB with
// 512 tokens, 1.3 with 2048.
#pragma once

#include "kernels/amx_gemm.h"

namespace bertpass::native {
namespace {

// 2^t for weights that are rounded to bfloat16: a polynomial on [-1/2, 1/2] times a power, relative error 4e-6. Exact
// zero where the result would not be a normal float; a NaN stays one.
V coarse_power(V t) {
  const V n = Vector::round(t), f = Vector::sub(t, n);
  const V p = horner(f, Vector::set(0.0096760371f), 0.0559220356f, 0.240221074f, 0.693121034f, 1.0f);
  return Vector::where_less(t, Vector::set(-126.0f), Vector::zero(), Vector::scale(p, n));
}

// Four rows of scores, and the same with a bias.
struct FourRows {
  const float* scores[4];

  float first(int r) const { return scores[r][0]; }
  V load(int r, Index j) const { return Vector::load(scores[r] + j); }
};

struct FourBiasedRows : FourRows {
  const float* bias[4];

  float first(int r) const { return scores[r][0] + bias[r][0]; }
  V load(int r, Index j) const { return Vector::add(Vector::load(scores[r] + j), Vector::load(bias[r] + j)); }
};

// Weights of four rows of scores in bfloat16, zeros from `length` to `padded`; inverse: one over their sums. Four rows,
// because one would wait for its own sums. beside() is called for every 64 keys.
template <class Scores, class Beside>
void weigh_rows(const Scores& scores, Index length, Index padded, bf16* const (&out)[4], float* const (&inverse)[4],
                const Beside& beside) {
  constexpr float kLog2 = 1.44269504f;
  const Index whole = length / W * W;
  V most[4], total[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    most[r] = Vector::set(scores.first(r));
    total[r] = Vector::zero();
  }
  for (Index j = 0; j < whole; j += W)
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) most[r] = Vector::max(most[r], scores.load(r, j));
  if (whole < length)  // what is beyond counts as the first score
    for (int r = 0; r < 4; ++r) {
      const V first = Vector::set(scores.first(r)), last = Vector::sub(scores.load(r, whole), first);
      most[r] = Vector::max(most[r], Vector::add(first, Vector::first(last, length - whole)));
    }
  Vector::largest4(most);
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) most[r] = Vector::mul(most[r], Vector::set(-kLog2));
  for (Index j = 0; j < whole; j += W) {
    if (j % 64 == 0) beside();
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const V e = coarse_power(Vector::fma(scores.load(r, j), Vector::set(kLog2), most[r]));
      total[r] = Vector::add(total[r], e);
      store_some(out[r] + j, e, W);
    }
  }
  for (Index j = whole; j < padded; j += W)
    for (int r = 0; r < 4; ++r) {
      V e = Vector::zero();
      if (j < length) {
        const V t = Vector::fma(scores.load(r, j), Vector::set(kLog2), most[r]);
        e = Vector::first(coarse_power(t), length - j);
      }
      total[r] = Vector::add(total[r], e);
      store_some(out[r] + j, e, W);
    }
  Vector::sum4(total);
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) Vector::store(inverse[r], Vector::div(Vector::set(1.0f), total[r]), 1);
}

// As Turn, for scores: rows of any length, always from zero.
struct Scores {
  float* done;
  Index stride;

  template <int tile>
  void store() const {
    Tiles::store<tile>(done + tile / 2 * kTileRows * stride + tile % 2 * (kPanel / 2), stride * 4);
  }
  template <int tile>
  void turn() const {
    if (done) store<tile>();
    Tiles::clear<tile>();
  }
  void leave() const {
    store<0>();
    store<1>();
    store<2>();
    store<3>();
  }
};

// Where the parts of the working memory begin, in bytes; two of each that a pair of tiles of queries has.
struct AttendPlaces {
  Index padded, stride, low_stride;  // keys in whole panels; elements from row to row of scores and of weights
  Index keys, values, scores, low, end;

  AttendPlaces(Index length, Index size)
      : padded((length + kPanel - 1) / kPanel * kPanel),
        stride(padded + 16),
        low_stride(padded + 32),
        keys(0),
        values(keys + padded * size * 2),
        scores(values + padded * size * 2),
        low(scores + 2 * 2 * kTileRows * stride * 4),
        end(low + 2 * 2 * kTileRows * low_stride * 2) {}
};

Index amx_attend_scratch(Index length, Index size) { return AttendPlaces(length, size).end; }

// The products of one head, in steps that are done between other things. Queries come in pairs of tiles of rows, the
// last ones moved up as in band().
class HeadProducts {
 public:
  explicit HeadProducts(const Attend& g)
      : g_(g),
        at_(g.length, g.size),
        tile_(g.length < kTileRows ? g.length : kTileRows),
        tiles_((g.length + kTileRows - 1) / kTileRows) {
    const bf16* const k = g.qkv + g.size;
    for (Index key = 0; key < g.length; key += kPanel)
      pack_words(reinterpret_cast<const std::uint32_t*>(k + key * g.stride), g.stride / 2,
                 g.length - key < kPanel ? g.length - key : kPanel, g.size / 2,
                 reinterpret_cast<std::uint32_t*>(keys() + key * g.size));
    bf16* to = values();
    for (Index column = 0; column < g.size; column += kPanel)
      for (Index key = 0; key < at_.padded; key += 2, to += 2 * kPanel) {
        const bf16* even = k + g.size + column + key * g.stride;
        pack_pair(even, key + 1 < g.length ? even + g.stride : nullptr, key < g.length ? kPanel : 0, to);
      }
  }

  Index pairs() const { return (tiles_ + 1) / 2; }
  Index tile() const { return tile_; }

  // Next come the scores of a pair, then the mixtures of one whose weights are known; -1 for none.
  void start(Index scores, Index mixtures) {
    scores_ = scores;
    mixtures_ = mixtures;
    panel_ = step_ = 0;
    left_ = nullptr;
  }
  void step() {
    if (scores_ >= 0)
      score();
    else if (mixtures_ >= 0)
      mix();
  }
  void all() {
    while (scores_ >= 0 || mixtures_ >= 0) step();
  }

  // Four rows of a pair's weights from its scores, from this row of a tile on.
  template <class Beside>
  void weigh(Index pair, Index half, Index row, const Beside& beside) {
    FourBiasedRows from;
    bf16* to[4];
    float* inverse[4];
    for (Index i = 0; i < 4; ++i) {
      const Index in_tile = row + i < tile_ ? row + i : tile_ - 1, number = half * kTileRows + in_tile;
      from.scores[i] = scores(pair) + number * at_.stride;
      if (g_.bias) from.bias[i] = g_.bias - row_of(2 * pair + half) - in_tile;
      to[i] = low(pair) + number * at_.low_stride;
      inverse[i] = &inverse_[pair % 2][number];
    }
    if (g_.bias) return weigh_rows(from, g_.length, at_.padded, to, inverse, beside);
    weigh_rows(static_cast<const FourRows&>(from), g_.length, at_.padded, to, inverse, beside);
  }
  // The first row of a tile that no tile before has.
  Index fresh(Index number) const { return number < tiles_ ? number * kTileRows - row_of(number) : tile_; }

 private:
  static constexpr Index kStepDepth = kTileBytes / 2;

  bf16* keys() const { return reinterpret_cast<bf16*>(g_.scratch + at_.keys); }
  bf16* values() const { return reinterpret_cast<bf16*>(g_.scratch + at_.values); }
  float* scores(Index pair) const {
    return reinterpret_cast<float*>(g_.scratch + at_.scores) + pair % 2 * 2 * kTileRows * at_.stride;
  }
  bf16* low(Index pair) const {
    return reinterpret_cast<bf16*>(g_.scratch + at_.low) + pair % 2 * 2 * kTileRows * at_.low_stride;
  }
  Index row_of(Index number) const {
    const Index row = number * kTileRows;
    return row + tile_ <= g_.length ? row : g_.length - tile_;
  }

  void score() {
    const bf16* const q = g_.qkv + step_ * kStepDepth;
    const bf16* const upper = q + row_of(2 * scores_) * g_.stride;
    const bf16* const lower = q + row_of(2 * scores_ + 1) * g_.stride;
    const bf16* const b = keys() + panel_ * kPanel * g_.size + step_ * kStepDepth * kPanel;
    if (step_ == 0) {
      step_of(upper, lower, g_.stride * 2, b, Scores{left_, at_.stride});
      left_ = scores(scores_) + panel_ * kPanel;
    } else {
      step_of(upper, lower, g_.stride * 2, b, Stay{});
    }
    if (++step_ < g_.size / kStepDepth) return;
    step_ = 0;
    if (++panel_ < at_.padded / kPanel) return;
    Scores{left_, at_.stride}.leave();
    left_ = nullptr;
    panel_ = 0;
    scores_ = -1;
  }

  void mix() {
    const bf16* const upper = low(mixtures_) + step_ * kStepDepth;
    const bf16* const b = values() + panel_ * kPanel * at_.padded + step_ * kStepDepth * kPanel;
    const bf16* const lower = upper + kTileRows * at_.low_stride;
    if (step_ == 0) {
      step_of(upper, lower, at_.low_stride * 2, b, Turn<float>{left_, nullptr});
      if (left_) finish(panel_ - 1);
      left_ = sums_[panel_ % 2];
    } else {
      step_of(upper, lower, at_.low_stride * 2, b, Stay{});
    }
    if (++step_ < at_.padded / kStepDepth) return;
    step_ = 0;
    if (++panel_ < g_.size / kPanel) return;
    store_sums(left_);
    finish(panel_ - 1);
    mixtures_ = -1;
  }

  void finish(Index panel) {
    const float* const inverse = inverse_[mixtures_ % 2];
    for (Index half = 0; half < 2; ++half) {
      const Index number = 2 * mixtures_ + half;
      for (Index row = fresh(number); row < tile_; ++row) {
        const V factor = Vector::set(inverse[half * kTileRows + row]);
        const Index to = (row_of(number) + row) * g_.out_stride + panel * kPanel;
        for (Index c = 0; c < kPanel; c += W) {
          const V x = Vector::mul(Vector::load(sums_[panel % 2] + half * kTileSums + row * kPanel + c), factor);
          if (g_.out_is_bf16)
            store_some(static_cast<bf16*>(g_.out) + to + c, x, W);
          else
            store_some(static_cast<float*>(g_.out) + to + c, x, W);
        }
      }
    }
  }

  const Attend& g_;
  const AttendPlaces at_;
  const Index tile_, tiles_;
  Index scores_ = -1, mixtures_ = -1, panel_ = 0, step_ = 0;
  float* left_ = nullptr;  // where the sums go that are in the tiles
  alignas(64) float sums_[2][2 * kTileSums];
  float inverse_[2][2 * kTileRows];
};

// While a pair's weights are computed in vectors, the tiles compute the scores of the next and the mixtures of the
// last.
void amx_attend(const Attend& g) {
  HeadProducts products(g);
  const Index pairs = products.pairs();
  Tiles::configure(products.tile());
  products.start(0, -1);
  products.all();
  for (Index pair = 0; pair < pairs; ++pair) {
    products.start(pair + 1 < pairs ? pair + 1 : -1, pair - 1);
    for (Index half = 0; half < 2; ++half)
      if (products.fresh(2 * pair + half) < products.tile())
        for (Index row = 0; row < products.tile(); row += 4)
          products.weigh(pair, half, row, [&] { products.step(); });
    products.all();
  }
  products.start(-1, pairs - 1);
  products.all();
  Tiles::release();
}

// The other kernels are those of the vectors.
constexpr Kernels amx_table(const char* name) {
  Kernels all = table(name);
  all.tile = 2 * kTileRows;
  all.reread = 0.4;  // of 2 MiB: 128 rows of 3072 bfloat16, a little less than half
  all.fast_bf16 = true;
  all.gemm_bf16 = amx_gemm<Halves>;
  all.gemm_i8 = amx_gemm<Bytes>;
  all.attend = amx_attend;
  all.attend_scratch = amx_attend_scratch;
  return all;
}

}  // namespace
}  // namespace bertpass::native
