#include "layer/layer.h"

#include "ops/attention.h"

namespace bertpass::native {

void Layer::forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                    Index sequences, const Workspace& work) const {
  const Index rows = offsets[sequences] - offsets[0];
  const Rows stream = work.stream.from(offsets[0]), low = work.low.from(offsets[0]);
  const Rows& input = low.data ? low : stream;  // what a matrix product reads: in the type of the weights
  qkv.apply(team, input, rows, Activation::none, {}, work.qkv);
  attention(kernels, team, offsets, sequences, widths.heads, widths.head_size(), work.qkv, work.mixed, work.scratch,
            work.scratch_of_a_thread);
  proj.apply(team, work.mixed, rows, Activation::none, stream, work.sum);
  attention_norm.apply(kernels, team, work.sum, rows, stream, low);
  up.apply(team, input, rows, activation, {}, work.hidden);
  down.apply(team, work.hidden, rows, Activation::none, stream, work.sum);
  output_norm.apply(kernels, team, work.sum, rows, stream, low);
}

}  // namespace bertpass::native
