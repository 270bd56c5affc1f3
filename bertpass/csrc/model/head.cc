#include "model/head.h"

#include <algorithm>
#include <cmath>

namespace bertpass::native {
namespace {

constexpr Index kBlock = 64;   // tokens whose results a thread has at once,
constexpr Index kRange = 8;    // in so many panels of columns

// log(1 + max(x, 0)), so many times.
float log_of(float x, int logs) {
  if (!(x > 0)) return 0;
  for (int i = 0; i < logs; ++i) x = std::log1p(x);
  return x;
}

}  // namespace

Head::Head(const Weights& weights, const Kernels& kernels, const ModelConfig& config)
    : kernels_(&kernels), units_(config.units), layout_(head_layout(config)) {
  Index widest = units_;
  for (const DenseLayer& layer : layout_.layers) {
    layers_.push_back(read_linear(weights, layer, memory_.emplace_back()));
    norms_.push_back(read_norm(weights, layer, config.epsilon, memory_.emplace_back()));
    if (&layer != &layout_.layers.back()) widest = std::max(widest, layer.outputs);
  }
  stride_ = stride_of(widest, sizeof(float));
  if (layout_.takes != Takes::tokens || layout_.over != Over::nothing) return;
  Memory zero(units_ * 4), between(between_bytes(1));
  std::fill_n(zero.as<float>(), units_, 0.0f);
  past_.resize(layout_.layers.back().outputs);
  through(Team(1), {zero.as<float>(), units_, Type::float32, nullptr}, 1, past_.data(), between.as<float>());
}

void Head::forward(const Team& team, const Rows& states, const Ragged& ragged, float* const* outputs,
                   Memory& scratch) const {
  if (layout_.states) unpack(team, states, ragged, units_, *outputs++);
  if (layout_.over != Over::nothing) return write_over(team, states, ragged, *outputs, scratch);
  if (layout_.takes == Takes::tokens) return write_tokens(team, states, ragged, *outputs, scratch);
  if (layout_.takes != Takes::nothing) write_vectors(team, states, ragged, *outputs, scratch);
}

Rows Head::inside(const Team& team, const Rows& rows, Index count, float* between) const {
  Rows from = rows;
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
    const Rows to{between + static_cast<Index>(i % 2) * count * stride_, stride_, Type::float32, nullptr};
    layers_[i].apply(*kernels_, team, from, count, layout_.layers[i].activation, {}, to);
    if (norms_[i].columns) norms_[i].apply(*kernels_, team, to, count, to, {});
    from = to;
  }
  return from;
}

void Head::through(const Team& team, const Rows& rows, Index count, float* out, float* between) const {
  const Rows to{out, layout_.layers.back().outputs, Type::float32, nullptr};
  const Rows from = inside(team, rows, count, between);
  layers_.back().apply(*kernels_, team, from, count, layout_.layers.back().activation, {}, to);
  if (norms_.back().columns) norms_.back().apply(*kernels_, team, to, count, to, {});
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

void Head::write_over(const Team& team, const Rows& states, const Ragged& ragged, float* out,
                      Memory& scratch) const {
  const Index tokens = ragged.tokens(), width = layout_.layers.back().outputs, depth = layout_.layers.back().inputs;
  const Index panels = (width + kPanel - 1) / kPanel, most = kRange * kPanel;
  scratch.grow(between_bytes(tokens) + team.threads() * kBlock * most * 4);
  const Rows from = inside(team, states, tokens, scratch.as<float>());
  float* const blocks = scratch.as<float>() + between_bytes(tokens) / 4;
  const bool largest = layout_.over == Over::max;
  const double work = static_cast<double>(tokens) * static_cast<double>(width) * static_cast<double>(depth);
  team.loop((panels + kRange - 1) / kRange, work, [&](Index range, int thread) {
    const Index first = range * kRange, last = std::min(panels, first + kRange), column = first * kPanel;
    const Index columns = std::min(last * kPanel, width) - column;
    const Rows found{blocks + thread * kBlock * most, most, Type::float32, nullptr};
    const auto of = [&](Index s) { return out + s * width + column; };
    for (Index s = 0; s < ragged.sequences(); ++s) std::fill_n(of(s), columns, 0.0f);
    for (Index start = 0, s = 0; start < tokens; start += kBlock) {
      const Index rows = std::min(kBlock, tokens - start);
      layers_.back().apply_panels(*kernels_, from.from(start), rows, first, last, found, nullptr);
      for (Index row = 0; row < rows; ++row) {
        while (start + row >= ragged.start(s + 1)) ++s;
        const float* const x = found.floats(row);
        float* const to = of(s);
        if (largest)
          for (Index j = 0; j < columns; ++j) to[j] = std::max(to[j], x[j]);
        else
          for (Index j = 0; j < columns; ++j) to[j] += log_of(x[j], layout_.logs);
      }
    }
    for (Index s = 0; s < ragged.sequences() && largest; ++s)
      for (Index j = 0; j < columns; ++j) of(s)[j] = log_of(of(s)[j], layout_.logs);
  });
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
