#include "layer/layer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/attention.h"

namespace bertpass::native {
namespace {

// Where the parts of a packed layer begin, in bytes: matrices, then the two normalisations.
struct Parts {
  Index qkv = 0, proj, up, down, norms, end;

  Parts(Type type, const Widths& w)
      : proj(qkv + Linear::bytes(type, 3 * w.units, w.units)),
        up(proj + Linear::bytes(type, w.units, w.units)),
        down(up + Linear::bytes(type, w.hidden, w.units)),
        norms(down + Linear::bytes(type, w.units, w.hidden)),
        end(norms + round_up(4 * w.units * static_cast<Index>(sizeof(float)), kLine)) {}
};

// The three projections as one, q, k and v of each head in turn, q scaled by 1 / sqrt(head size).
void pack_attention(Type type, const Widths& widths, const LayerWeights& weights, void* out) {
  const Index units = widths.units, size = widths.head_size();
  std::vector<float> joined(3 * units * units), biases(3 * units);
  const float* matrices[] = {weights.query, weights.key, weights.value};
  const float* vectors[] = {weights.query_bias, weights.key_bias, weights.value_bias};
  for (Index part = 0; part < 3; ++part) {
    const float factor = part == 0 ? 1 / std::sqrt(static_cast<float>(size)) : 1;
    const auto scaled = [factor](float x) { return x * factor; };
    for (Index head = 0; head < widths.heads; ++head) {
      const Index row = (head * 3 + part) * size;
      const float* from = matrices[part] + head * size * units;
      std::transform(from, from + size * units, joined.begin() + row * units, scaled);
      std::transform(vectors[part] + head * size, vectors[part] + (head + 1) * size, biases.begin() + row, scaled);
    }
  }
  Linear::pack(type, joined.data(), biases.data(), 3 * units, units, out);
}

}  // namespace

Layer::Layer(Type type, const Widths& widths, Activation activation, float epsilon, const void* packed)
    : activation_(activation == Activation::gelu && type != Type::float32 ? Activation::gelu_coarse : activation) {
  const Parts at(type, widths);
  const char* start = static_cast<const char*>(packed);
  const Index units = widths.units, hidden = widths.hidden;
  qkv_ = Linear(type, 3 * units, units, start + at.qkv);
  proj_ = Linear(type, units, units, start + at.proj);
  up_ = Linear(type, hidden, units, start + at.up);
  down_ = Linear(type, units, hidden, start + at.down);
  const float* norms = reinterpret_cast<const float*>(start + at.norms);
  attention_norm_ = {norms, norms + units, units, epsilon};
  output_norm_ = {norms + 2 * units, norms + 3 * units, units, epsilon};
}

Index Layer::bytes(Type type, const Widths& widths) { return Parts(type, widths).end; }

void Layer::pack(Type type, const Widths& widths, const LayerWeights& weights, void* out) {
  const Parts at(type, widths);
  char* start = static_cast<char*>(out);
  const Index units = widths.units, hidden = widths.hidden;
  pack_attention(type, widths, weights, start + at.qkv);
  Linear::pack(type, weights.proj, weights.proj_bias, units, units, start + at.proj);
  Linear::pack(type, weights.up, weights.up_bias, hidden, units, start + at.up);
  Linear::pack(type, weights.down, weights.down_bias, units, hidden, start + at.down);
  float* norm = reinterpret_cast<float*>(start + at.norms);
  for (const float* vector :
       {weights.attention_gamma, weights.attention_beta, weights.output_gamma, weights.output_beta})
    norm = std::copy(vector, vector + units, norm);
}

void Layer::forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                    Index sequences, const Workspace& work) const {
  const Index rows = offsets[sequences] - offsets[0];
  const bool bytes = work.low.type == Type::int8;
  const Rows stream = work.stream.from(offsets[0]), low = work.low.from(offsets[0]);
  const Rows& input = low.data ? low : stream;  // what a matrix product reads: in the type of the weights
  qkv_.apply(kernels, team, input, rows, Activation::none, {}, work.qkv);
  work.lap(Stage::qkv);
  attention(kernels, team, offsets, sequences, widths.heads, widths.head_size(), work.qkv, work.mixed, work.scratch,
            work.scratch_of_a_thread);
  work.lap(Stage::attention);
  if (bytes) {
    quantize(kernels, team, work.mixed, rows, widths.units, low);  // qkv has read what was there
    work.lap(Stage::quantize);
  }
  proj_.apply(kernels, team, bytes ? low : work.mixed, rows, Activation::none, stream, work.sum);
  work.lap(Stage::projection);
  attention_norm_.apply(kernels, team, work.sum, rows, stream, low);
  work.lap(Stage::norm);
  up_.apply(kernels, team, input, rows, activation_, {}, work.hidden);
  work.lap(Stage::up);
  if (bytes) {
    quantize(kernels, team, work.hidden, rows, widths.hidden, work.hidden_low);
    work.lap(Stage::quantize);
  }
  down_.apply(kernels, team, bytes ? work.hidden_low : work.hidden, rows, Activation::none, stream, work.sum);
  work.lap(Stage::down);
  output_norm_.apply(kernels, team, work.sum, rows, stream, low);
  work.lap(Stage::norm);
}

}  // namespace bertpass::native
