// Where the activations of one forward live: one piece of memory that only grows.
#pragma once

#include <algorithm>

#include "layer/types.h"
#include "ops/linear.h"
#include "ops/stages.h"

namespace bertpass::native {

// The widths that decide how much is needed.
struct Widths {
  Index units = 0, hidden = 0, heads = 0;
  Index distances = 0;  // rows of RelativeKeys, or 0
  Index head_size() const { return units / heads; }
};

// Which of two forms a layer has in two places.
struct LayerForm {
  bool norm_first = false;  // its halves read what is normalised, and the sums stay as they are
  bool gated = false;       // the feed-forward layer has a second product, which the activated one is multiplied by
};

// The type of attention's products behind a qkv product: never bytes, and bfloat16 beside them only where it is fast.
inline Type attention_type(const Kernels& kernels, Type qkv) {
  return qkv != Type::int8 ? qkv : kernels.fast_bf16 ? Type::bfloat16 : Type::float32;
}

// The type of the rows that a product reads, or that become its bytes: bytes need the whole row first.
inline Type before(const Kernels& kernels, Type product) {
  return product == Type::bfloat16 || (product == Type::int8 && kernels.fast_bf16) ? Type::bfloat16 : Type::float32;
}

// Rows whose type changes from layer to layer, at distances that are large enough for all of them: what one layer
// writes for some sequences stays clear of what another one has still to read for the next ones.
struct Area {
  void* data = nullptr;
  Index row_bytes = 0;
  RowScale* scales = nullptr;

  // The same from this row on.
  Area from(Index row) const {
    return data ? Area{static_cast<char*>(data) + row * row_bytes, row_bytes, scales ? scales + row : nullptr} : *this;
  }
  Rows as(const Reads& reads) const {
    const bool bytes = reads.type == Type::int8;
    const Index stride = row_bytes / size_of(reads.type);
    return {data, stride, reads.type, bytes ? scales : nullptr, bytes ? reads.factors : nullptr};
  }
};

// Views of the activations of a forward.
struct Activations {
  // The residual stream as a product reads it, from a row on; no data for float32, which is the stream itself.
  Rows lowered(const Reads& reads, Index first) const {
    return reads.type == Type::float32 ? Rows{} : low.as(reads).from(first);
  }

  Rows stream;  // (tokens, units) float32: the residual stream; products and normalisations work on it in place
  Area low;     // (tokens, units): the same, or what attention gives, as a product of bfloat16 or bytes reads it
  Area qkv;     // (group, 3 units), in the type of attention's products: q, k, v of each head in turn
  Area mixed;   // (group, units): what attention gives
  Area normed;  // (group, units) float32: the stream normalised, where that is not the stream itself
  Area hidden;  // (group, hidden): within the feed-forward network; in the place of qkv, which is done by then
  Area hidden_low;  // the same in bytes
  Area head;    // (group, 3 head size) for each thread: q, k and v of one head
  char* scratch = nullptr;  // of attention, and of embeddings before it
  Index scratch_of_a_thread = 0;

  Index group = 0;  // rows of what lives within a layer

  Stages* stages = nullptr;  // gets the times of the next forward; null: nobody asks
  void lap(Stage stage) const {
    if (stages) stages->lap(stage);
  }

  bool by_thread = false;  // each thread has a group's rows for itself

  // For a thread that takes the rows from `start` on through all layers alone; the times are those of thread 0.
  Activations of(int thread, Index start) const {
    Activations own = *this;
    const Index row = by_thread ? thread * group : start;
    own.mixed = mixed.from(row);
    own.normed = normed.from(row);
    own.qkv.data = own.hidden.data = static_cast<char*>(qkv.data) + row * std::max(qkv.row_bytes, hidden.row_bytes);
    own.hidden_low = hidden_low.from(row);
    own.head = head.from(thread * group);
    own.scratch = scratch + thread * scratch_of_a_thread;
    if (thread > 0) own.stages = nullptr;
    return own;
  }
};

struct Workspace : Activations {
  // Give every matrix its place: the residual stream for `tokens` rows, what lives within a layer for `group` rows, in
  // sequences of at most `longest`; apart: for each thread, unless all tokens need less. types: of all layers; window:
  // whether attention of some has one. least_scratch: bytes that a thread needs of scratch for anything else.
  void shape(const Kernels& kernels, const Widths& widths, const LayerForm& form, const std::vector<LayerTypes>& types,
             bool window, Index tokens, Index group, Index longest, int threads, bool apart, Index least_scratch = 0);

 private:
  Memory memory_;
};

}  // namespace bertpass::native
