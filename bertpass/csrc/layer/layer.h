// One transformer layer, normalised after each sum as in BERT (Devlin et al., arXiv:1810.04805), or before each half.
#pragma once

#include "layer/workspace.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "schema/parameters.h"

namespace bertpass::native {

// A view of packed weights.
class Layer {
 public:
  // Of what pack() has written to `packed`. number: from 0; where norms come first, layer 0 reads what the embeddings'
  // norm gives.
  Layer(const LayerTypes& types, const Widths& widths, const LayerForm& form, Activation activation, float epsilon,
        Index number, const void* packed);

  // Its first product reads what this layer writes; nothing where there is none.
  void followed_by(const Layer& next) { next_ = next.qkv_; }
  Reads reads() const { return qkv_.reads(); }

  static Index bytes(const LayerTypes& types, const Widths& widths, const LayerForm& form);
  static void pack(const LayerTypes& types, const Widths& widths, const LayerForm& form, const LayerWeights& weights,
                   void* out);

  // Work on the rows offsets[0] to offsets[sequences] - 1 of work.stream, in place; sequence s has the rows offsets[s]
  // to offsets[s + 1] - 1.
  void forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets, Index sequences,
               const AttentionForm& attention, const Activations& work) const;

  // The layer's keys and queries of distances, in the form of RelativeKeys, related_bytes() each. table: their
  // embeddings, float32 (widths.distances, units), which the norm is applied to.
  void relate(const Kernels& kernels, const Team& team, const Widths& widths, const float* table, const Norm& norm,
              char* keys, char* queries) const;
  Index related_bytes(const Kernels& kernels, const Widths& widths) const;

 private:
  // The products for q, k and v and attention, head after head; the result is in work.mixed.
  void attend_by_heads(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                       Index sequences, const Rows& input, const AttentionForm& attention,
                       const Activations& work) const;
  // The stream normalised, as a product reads it; itself unchanged.
  Rows normalised(const Kernels& kernels, const Team& team, const Norm& norm, const Linear& product, Index first,
                  Index rows, const Activations& work) const;

  LayerTypes types_;
  bool norm_first_;
  Activation activation_;
  Linear qkv_;   // (3 units, units), rows: q, k, v of each head in turn, q already scaled
  Linear proj_;  // (units, units)
  Linear up_;    // (hidden, units); gated: half of the columns of each panel, the other half what they are multiplied by
  Linear down_;  // (units, hidden)
  Linear next_;  // qkv of the layer after this one; empty where there is none
  Norm attention_norm_, output_norm_;  // of the sums, or of what attention and the feed-forward layer read
};

}  // namespace bertpass::native
