// Where the activations of one forward live: one piece of memory that only grows.
#pragma once

#include "layer/types.h"
#include "ops/linear.h"
#include "ops/stages.h"

namespace bertpass::native {

// The widths that decide how much is needed.
struct Widths {
  Index units = 0, hidden = 0, heads = 0;
  Index head_size() const { return units / heads; }
};

// The type of attention's products behind a qkv product: never bytes, and bfloat16 beside them only where it is fast.
inline Type attention_type(const Kernels& kernels, Type qkv) {
  return qkv != Type::int8 ? qkv : kernels.fast_bf16 ? Type::bfloat16 : Type::float32;
}

// The type of the rows that a product reads, or that become its bytes: bytes need the whole row first.
inline Type before(Type product) { return product == Type::bfloat16 ? Type::bfloat16 : Type::float32; }

// Rows whose type changes from layer to layer, at distances that are large enough for all of them: what one layer writes
// for some sequences stays clear of what another one has still to read for the next ones.
struct Area {
  void* data = nullptr;
  Index row_bytes = 0;
  RowScale* scales = nullptr;

  Rows as(const Reads& reads) const {
    const bool bytes = reads.type == Type::int8;
    return {data, row_bytes / size_of(reads.type), reads.type, bytes ? scales : nullptr, bytes ? reads.factors : nullptr};
  }
};

struct Workspace {
  // Give every matrix its place: the residual stream for `tokens` rows, what lives within a layer for `group` rows, in
  // sequences of at most `longest`. types: of all layers.
  void shape(const Kernels& kernels, const Widths& widths, const std::vector<LayerTypes>& types, Index tokens,
             Index group, Index longest, int threads);

  // The residual stream as a product reads it, from a row on; no data for float32, which is the stream itself.
  Rows lowered(const Reads& reads, Index first) const {
    return reads.type == Type::float32 ? Rows{} : low.as(reads).from(first);
  }

  Rows stream;  // (tokens, units) float32: the residual stream
  Area low;     // (tokens, units): the same, or what attention gives, as a product of bfloat16 or bytes reads it
  Rows sum;     // (group, units) float32: what a normalisation reads
  Area qkv;     // (group, 3 units), in the type of attention's products: q, k, v of each head in turn
  Area mixed;   // (group, units): what attention gives
  Area hidden;  // (group, hidden): within the feed-forward network; in the place of qkv, which is done by then
  Area hidden_low;  // the same in bytes
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
