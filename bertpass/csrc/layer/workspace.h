// Where the activations of one forward live: one piece of memory that only grows.
#pragma once

#include "ops/rows.h"

namespace bertpass::native {

// The widths that decide how much is needed.
struct Widths {
  Index units = 0, hidden = 0, heads = 0;
  Index head_size() const { return units / heads; }
};

struct Workspace {
  // Give every matrix its place for `tokens` rows, in sequences of at most `longest`.
  void shape(const Kernels& kernels, const Widths& widths, Type type, Index tokens, Index longest, int threads);

  // What a matrix product reads: the residual stream in the type of the weights.
  const Rows& input() const { return low.data ? low : stream; }

  Rows stream;  // (tokens, units) float32: the residual stream
  Rows low;     // the same in bfloat16, without data where the weights are float32
  Rows sum;     // (tokens, units) float32: what a normalisation reads
  Rows qkv;     // (tokens, 3 units) float32: q, k, v of each head in turn
  Rows mixed;   // (tokens, units): what attention gives
  Rows hidden;  // (tokens, hidden): within the feed-forward network; in the place of qkv, which is done by then
  float* scratch = nullptr;  // of attention
  Index scratch_of_a_thread = 0;

 private:
  Memory memory_;
};

}  // namespace bertpass::native
