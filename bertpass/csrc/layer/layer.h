// One transformer layer, normalised after each sum as in BERT (Devlin et al., arXiv:1810.04805).
#pragma once

#include "layer/workspace.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace bertpass::native {

// The weights of one layer as frameworks keep them: float32, matrices (out, in) row after row.
struct LayerWeights {
  const float *query, *query_bias, *key, *key_bias, *value, *value_bias;  // (units, units), (units)
  const float *proj, *proj_bias, *attention_gamma, *attention_beta;       // (units, units), (units)
  const float *up, *up_bias;                                              // (hidden, units), (hidden)
  const float *down, *down_bias, *output_gamma, *output_beta;             // (units, hidden), (units)
  const float* factors;  // of int8: those of qkv, proj, up (units each) and down (hidden), or null; see Linear::pack
};

// How the factors of int8 are named among a model's parameters: after the layer's last normalisation.
inline constexpr const char* kFactors = ".int8_factors";

// A view of packed weights.
class Layer {
 public:
  // Of what pack() has written to `packed`.
  Layer(const LayerTypes& types, const Widths& widths, Activation activation, float epsilon, const void* packed);

  // Its first product reads what this layer writes; nothing where there is none.
  void followed_by(const Layer& next) { next_ = next.qkv_; }
  Reads reads() const { return qkv_.reads(); }

  static Index bytes(const LayerTypes& types, const Widths& widths);
  static void pack(const LayerTypes& types, const Widths& widths, const LayerWeights& weights, void* out);

  // Work on the rows offsets[0] to offsets[sequences] - 1 of work.stream, in place; sequence s has the rows offsets[s]
  // to offsets[s + 1] - 1. bias: of attention.
  void forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets, Index sequences,
               const DistanceBias& bias, const Activations& work) const;

 private:
  // The products for q, k and v and attention, head after head; the result is in work.mixed.
  void attend_by_heads(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                       Index sequences, const Rows& input, const DistanceBias& bias, const Activations& work) const;

  LayerTypes types_;
  Activation activation_;
  Linear qkv_;   // (3 units, units), rows: q, k, v of each head in turn, q already scaled
  Linear proj_;  // (units, units)
  Linear up_;    // (hidden, units)
  Linear down_;  // (units, hidden)
  Linear next_;  // qkv of the layer after this one; empty where there is none
  Norm attention_norm_, output_norm_;
};

}  // namespace bertpass::native
