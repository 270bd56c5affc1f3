#include "cuda/layer/layer.h"

namespace bertpass::cuda {

FeedForward feed_forward(Activation activation, bool gated, Dtype dtype, bool exact) {
  if (gated || activation == Activation::silu) return {Epilogue::bias, true, activation};
  if (activation == Activation::relu) return {Epilogue::bias_relu, false, activation};
  if (dtype == Dtype::float32 || (exact && activation == Activation::gelu)) return {Epilogue::bias, true, activation};
  return {Epilogue::bias_gelu_tanh, false, activation};
}

Layer::Layer(Dtype dtype, const Widths& widths, const FeedForward& feed_forward, const LayerForm& form,
             const LayerWeights& weights, Gemm& gemm)
    : dtype_(dtype),
      widths_(widths),
      feed_forward_(feed_forward),
      form_(form),
      attention_norm_(weights.attention_norm),
      output_norm_(weights.output_norm),
      qkv_(gemm.add({3 * widths.units, widths.units, Epilogue::bias, false}, weights.qkv, weights.qkv_bias)),
      proj_(gemm.add({widths.units, widths.units, Epilogue::bias, true}, weights.proj, weights.proj_bias)),
      up_(gemm.add({widths.inner(), widths.units, feed_forward.epilogue, false}, weights.up, weights.up_bias)),
      down_(gemm.add({widths.units, widths.hidden, Epilogue::bias, true, widths.gated ? widths.inner() : 0},
                     weights.down, weights.down_bias)) {}

void Layer::forward(const Gemm& gemm, const Bucket& bucket, const Activations& m, cudaStream_t stream) const {
  const int rows = bucket.rows, units = widths_.units;
  const bool first = form_.norm_first;
  const auto normalise = [&](const void* x, const Norm& norm, void* out) {
    layer_norm(dtype_, bucket.batch, x, norm, units, rows, out, stream);
  };
  const bool normed = first && attention_norm_.gamma;
  if (normed) normalise(m.states, attention_norm_, m.mixed);
  gemm.run(qkv_, rows, normed ? m.mixed : m.states, nullptr, m.wide, m.workspace, stream);
  if (form_.angles.cosines)
    rotate(dtype_, bucket.batch, bucket.offsets, m.wide, widths_.heads, widths_.size(), form_.angles, rows, stream);
  attend(dtype_, bucket.batch, bucket.tile, bucket.tiles, m.wide, widths_.heads, widths_.size(), form_.attention, m.mixed,
         stream);
  gemm.run(proj_, rows, m.mixed, m.states, m.sums, m.workspace, stream);
  void* const read = first ? m.mixed : m.states;
  normalise(m.sums, first ? output_norm_ : attention_norm_, read);
  gemm.run(up_, rows, read, nullptr, m.wide, m.workspace, stream);
  if (feed_forward_.own_kernel)
    activate(dtype_, feed_forward_.activation, widths_.gated, bucket.batch, m.wide, widths_.hidden, rows, stream);
  if (first) return gemm.run(down_, rows, m.wide, m.sums, m.states, m.workspace, stream);
  gemm.run(down_, rows, m.wide, m.states, m.sums, m.workspace, stream);
  normalise(m.sums, output_norm_, m.states);
}

}  // namespace bertpass::cuda
