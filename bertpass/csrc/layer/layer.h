// One transformer layer, normalised after each sum as in BERT (Devlin et al., arXiv:1810.04805).
#pragma once

#include "layer/workspace.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace bertpass::native {

struct Layer {
  Linear qkv;   // (3 units, units), rows: q, k, v of each head in turn, q already scaled
  Linear proj;  // (units, units)
  Norm attention_norm;
  Linear up;    // (hidden, units)
  Linear down;  // (units, hidden)
  Norm output_norm;
  Activation activation = Activation::gelu;

  // Work on the rows offsets[0] to offsets[sequences] - 1 of work.stream, in place; sequence s has the rows offsets[s]
  // to offsets[s + 1] - 1.
  void forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets, Index sequences,
               const Workspace& work) const;
};

}  // namespace bertpass::native
