#include "model/head.h"

#include <algorithm>

namespace bertpass::native {

Head::Head(const Weights& weights, const Kernels& kernels, const ModelConfig& config)
    : kernels_(&kernels), units_(config.units), layout_(head_layout(config)) {
  Index widest = units_;
  for (const DenseLayer& layer : layout_.layers) {
    layers_.push_back(read_linear(weights, layer, memory_.emplace_back()));
    widest = std::max(widest, layer.outputs);
  }
  stride_ = stride_of(widest, sizeof(float));
  if (layout_.takes != Takes::tokens) return;
  Memory zero(units_ * 4), between(between_bytes(1));
  std::fill_n(zero.as<float>(), units_, 0.0f);
  past_.resize(layout_.layers.back().outputs);
  through(Team(1), {zero.as<float>(), units_, Type::float32, nullptr}, 1, past_.data(), between.as<float>());
}

void Head::forward(const Team& team, const Rows& states, const Ragged& ragged, float* const* outputs,
                   Memory& scratch) const {
  if (layout_.states) unpack(team, states, ragged, units_, *outputs++);
  if (layout_.takes == Takes::tokens) return write_tokens(team, states, ragged, *outputs, scratch);
  if (layout_.takes != Takes::nothing) write_vectors(team, states, ragged, *outputs, scratch);
}

void Head::through(const Team& team, const Rows& rows, Index count, float* out, float* between) const {
  Rows from = rows;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const DenseLayer& layer = layout_.layers[i];
    const bool last = i + 1 == layers_.size();
    const Rows to = last ? Rows{out, layer.outputs, Type::float32, nullptr}
                         : Rows{between + static_cast<Index>(i % 2) * count * stride_, stride_, Type::float32, nullptr};
    layers_[i].apply(*kernels_, team, from, count, layer.activation, {}, to);
    from = to;
  }
}

void Head::write_tokens(const Team& team, const Rows& states, const Ragged& ragged, float* out,
                        Memory& scratch) const {
  const Index tokens = ragged.tokens(), width = static_cast<Index>(past_.size());
  const Index results = ragged.padded() ? tokens * width : 0;
  scratch.grow(results * 4 + between_bytes(tokens));
  float *const between = scratch.as<float>(), *const found = between + between_bytes(tokens) / 4;
  through(team, states, tokens, ragged.padded() ? found : out, between);
  for (Index s = 0; s < ragged.sequences() && ragged.padded(); ++s) {
    float* to = out + ragged.place(s) * width;
    to = std::copy(found + ragged.start(s) * width, found + ragged.start(s + 1) * width, to);
    for (Index t = ragged.length(s); t < ragged.room(s); ++t) to = std::copy(past_.begin(), past_.end(), to);
  }
}

void Head::write_vectors(const Team& team, const Rows& states, const Ragged& ragged, float* out,
                         Memory& scratch) const {
  const Index count = ragged.sequences();
  Rows vectors{out, units_, Type::float32, nullptr};
  if (!layers_.empty()) {
    scratch.grow(count * stride_ * 4 + between_bytes(count));
    vectors = {scratch.as<float>(), stride_, Type::float32, nullptr};
  }
  const bool mean = layout_.takes == Takes::mean;
  team.loop(count, static_cast<double>((mean ? ragged.tokens() : count) * units_), [&](Index s, int) {
    const Index rows = mean ? ragged.length(s) : 1;
    kernels_->mean(states.floats(ragged.start(s)), states.stride, rows, units_, vectors.floats(s));
    if (layout_.normalize) kernels_->normalize(vectors.floats(s), units_);
  });
  if (!layers_.empty()) through(team, vectors, count, out, scratch.as<float>() + count * stride_);
}

}  // namespace bertpass::native
