// Where the activations of one forward live: one piece of memory that only grows.
#pragma once

#include "ops/rows.h"
#include "ops/stages.h"

namespace bertpass::native {

// The widths that decide how much is needed.
struct Widths {
  Index units = 0, hidden = 0, heads = 0;
  Index head_size() const { return units / heads; }
};

struct Workspace {
  // Give every matrix its place: the residual stream for `tokens` rows, what lives within a layer for `group` rows, in
  // sequences of at most `longest`. type: that of the weights.
  void shape(const Kernels& kernels, const Widths& widths, Type type, Index tokens, Index group, Index longest,
             int threads);

  Rows stream;  // (tokens, units) float32: the residual stream
  Rows low;     // the same in the type of the weights, without data where that is float32
  Rows sum;     // (group, units) float32: what a normalisation reads
  Rows qkv;     // (group, 3 units), in the type of attention's products: q, k, v of each head in turn
  Rows mixed;   // (group, units): what attention gives
  Rows hidden;  // (group, hidden): within the feed-forward network; in the place of qkv, which is done by then
  Rows hidden_low;  // the same in bytes, with data where the weights are int8
  char* scratch = nullptr;  // of attention
  Index scratch_of_a_thread = 0;

  Stages* stages = nullptr;  // gets the times of the next forward; null: nobody asks
  void lap(Stage stage) const {
    if (stages) stages->lap(stage);
  }

 private:
  Memory memory_;
};

}  // namespace bertpass::native
