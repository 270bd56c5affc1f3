#include "cuda/layer/layer.h"

namespace bertpass::cuda {

FeedForward feed_forward(Activation activation, Dtype dtype, bool exact) {
  if (activation == Activation::relu) return {Epilogue::bias_relu, false, activation};
  if (dtype == Dtype::float32 || (exact && activation == Activation::gelu)) return {Epilogue::bias, true, activation};
  return {Epilogue::bias_gelu_tanh, false, activation};
}

Layer::Layer(Dtype dtype, const Widths& widths, const FeedForward& feed_forward, const LayerWeights& weights, Gemm& gemm)
    : dtype_(dtype),
      widths_(widths),
      feed_forward_(feed_forward),
      attention_norm_(weights.attention_norm),
      output_norm_(weights.output_norm),
      qkv_(gemm.add({3 * widths.units, widths.units, Epilogue::bias, false}, weights.qkv, weights.qkv_bias)),
      proj_(gemm.add({widths.units, widths.units, Epilogue::bias, true}, weights.proj, weights.proj_bias)),
      up_(gemm.add({widths.hidden, widths.units, feed_forward.epilogue, false}, weights.up, weights.up_bias)),
      down_(gemm.add({widths.units, widths.hidden, Epilogue::bias, true}, weights.down, weights.down_bias)) {}

void Layer::forward(const Gemm& gemm, const Bucket& bucket, const Activations& m, cudaStream_t stream) const {
  const int rows = bucket.rows, units = widths_.units;
  gemm.run(qkv_, rows, m.states, nullptr, m.wide, m.workspace, stream);
  attend(dtype_, bucket.batch, bucket.tile, bucket.tiles, m.wide, widths_.heads, widths_.size(), m.mixed, stream);
  gemm.run(proj_, rows, m.mixed, m.states, m.sums, m.workspace, stream);
  layer_norm(dtype_, bucket.batch, m.sums, attention_norm_, units, rows, m.states, stream);
  gemm.run(up_, rows, m.states, nullptr, m.wide, m.workspace, stream);
  if (feed_forward_.own_kernel)
    activate(dtype_, feed_forward_.activation, bucket.batch, m.wide, widths_.hidden, rows, stream);
  gemm.run(down_, rows, m.wide, m.states, m.sums, m.workspace, stream);
  layer_norm(dtype_, bucket.batch, m.sums, output_norm_, units, rows, m.states, stream);
}

}  // namespace bertpass::cuda
