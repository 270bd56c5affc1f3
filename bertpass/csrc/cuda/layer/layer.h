// One transformer layer: seven kernels, one more each for GELU by erf or a gate, and for rotary positions.
#pragma once

#include <algorithm>

#include "cuda/gemm/gemm.h"
#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

struct Widths {
  int units = 0, hidden = 0, heads = 0;
  int embedding = 0;   // of the tables
  bool gated = false;  // the feed-forward layer's first product has the gate's columns after its own
  int size() const { return units / heads; }
  int inner() const { return gated ? 2 * hidden : hidden; }
  int widest() const { return std::max({inner(), 3 * units, embedding}); }
};

// Where the activations of a batch are: rows of `units` numbers, `wide` rows of Widths::widest().
struct Activations {
  void *states, *mixed, *sums, *wide;
  void* workspace;  // kGemmWorkspace bytes
};

// What the host knows of a batch's bucket, and where the batch itself is on the device.
struct Bucket {
  int rows = 0, tiles = 0;
  const Batch* batch = nullptr;
  const std::int32_t* offsets = nullptr;
  const Tile* tile = nullptr;
};

// In the type of the model; the rows of qkv are those of a head's query, key and value side by side, head after head,
// and those of a gate follow those of up.
struct LayerWeights {
  const void *qkv, *qkv_bias, *proj, *proj_bias, *up, *up_bias, *down, *down_bias;
  Norm attention_norm, output_norm;
};

// What a layer does beside BERT's.
struct LayerForm {
  AttentionForm attention;
  Angles angles;
  bool norm_first = false;  // each half reads what its norm makes of the states; a norm without gamma is not there
};

// How the feed-forward layer's activation function is computed.
struct FeedForward {
  Epilogue epilogue = Epilogue::bias;
  bool own_kernel = true;  // after the product
  Activation activation = Activation::gelu;
};

// exact: GELU by erf in 16 bits too, where the epilogue's tanh form is as near as the rounding of the result.
FeedForward feed_forward(Activation activation, bool gated, Dtype dtype, bool exact);

class Layer {
 public:
  Layer(Dtype dtype, const Widths& widths, const FeedForward& feed_forward, const LayerForm& form,
        const LayerWeights& weights, Gemm& gemm);

  // Replaces the states by this layer's.
  void forward(const Gemm& gemm, const Bucket& bucket, const Activations& memory, cudaStream_t stream) const;

 private:
  Dtype dtype_;
  Widths widths_;
  FeedForward feed_forward_;
  LayerForm form_;
  Norm attention_norm_, output_norm_;
  int qkv_, proj_, up_, down_;  // numbers of the products
};

}  // namespace bertpass::cuda
