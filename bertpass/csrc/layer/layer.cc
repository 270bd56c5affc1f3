#include "layer/layer.h"

#include "ops/attention.h"

namespace bertpass::native {

void Layer::forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                    Index sequences, Workspace& work) const {
  const Index rows = offsets[sequences];
  qkv.apply(team, work.input(), rows, Activation::none, {}, work.qkv);
  attention(kernels, team, offsets, sequences, widths.heads, widths.head_size(), work.qkv, work.mixed, work.scratch,
            work.scratch_of_a_thread);
  proj.apply(team, work.mixed, rows, Activation::none, work.stream, work.sum);
  attention_norm.apply(kernels, team, work.sum, rows, work.stream, work.low);
  up.apply(team, work.input(), rows, activation, {}, work.hidden);
  down.apply(team, work.hidden, rows, Activation::none, work.stream, work.sum);
  output_norm.apply(kernels, team, work.sum, rows, work.stream, work.low);
}

}  // namespace bertpass::native
