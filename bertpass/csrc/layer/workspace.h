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
  // Give every matrix its place: the residual stream for `tokens` rows, what lives within a layer for `group` rows, in
  // sequences of at most `longest`.
  void shape(const Kernels& kernels, const Widths& widths, Type type, Index tokens, Index group, Index longest,
             int threads);

  Rows stream;  // (tokens, units) float32: the residual stream
  Rows low;     // the same in bfloat16, without data where the weights are float32
  Rows sum;     // (group, units) float32: what a normalisation reads
  Rows qkv;     // (group, 3 units) float32: q, k, v of each head in turn
  Rows mixed;   // (group, units): what attention gives
  Rows hidden;  // (group, hidden): within the feed-forward network; in the place of qkv, which is done by then
  float* scratch = nullptr;  // of attention
  Index scratch_of_a_thread = 0;

 private:
  Memory memory_;
};

}  // namespace bertpass::native
