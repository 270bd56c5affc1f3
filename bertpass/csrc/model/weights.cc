#include "model/weights.h"

#include <algorithm>
#include <cmath>

namespace bertpass::native {
namespace {

std::string text(const std::vector<Index>& shape) {
  std::string out;
  for (const Index n : shape) out += (out.empty() ? "" : ", ") + std::to_string(n);
  return "(" + out + ")";
}

std::vector<float> read_table(const Weights& weights, const std::string& name, Index rows, Index columns) {
  const float* data = weights.get(name, {rows, columns});
  return std::vector<float>(data, data + rows * columns);
}

Norm read_norm(const Weights& weights, const std::string& name, Index units, float epsilon) {
  const float* gamma = weights.get(name + ".gamma", {units});
  const float* beta = weights.get(name + ".beta", {units});
  return {std::vector<float>(gamma, gamma + units), std::vector<float>(beta, beta + units), epsilon};
}

// The three projections as one, q, k and v of each head in turn, q scaled by 1 / sqrt(head size).
Linear read_attention(const Weights& weights, const Kernels& kernels, Type type, const std::string& cell, Index units,
                      Index heads) {
  const Index size = units / heads;
  const float scale = 1 / std::sqrt(static_cast<float>(size));
  std::vector<float> joined(3 * units * units), biases(3 * units);
  Index part = 0;
  for (const char* name : {"query", "key", "value"}) {
    const std::string full = cell + ".attention_cell.proj_" + name;
    const float* weight = weights.get(full + ".weight", {units, units});
    const float* bias = weights.get(full + ".bias", {units});
    const float factor = part == 0 ? scale : 1;
    const auto scaled = [factor](float x) { return x * factor; };
    for (Index head = 0; head < heads; ++head) {
      const Index row = (head * 3 + part) * size;
      const float* from = weight + head * size * units;
      std::transform(from, from + size * units, joined.begin() + row * units, scaled);
      std::transform(bias + head * size, bias + (head + 1) * size, biases.begin() + row, scaled);
    }
    ++part;
  }
  return Linear(kernels, type, joined.data(), biases.data(), 3 * units, units);
}

}  // namespace

const float* Weights::get(const std::string& name, const std::vector<Index>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw WeightError("the weights lack '" + name + "'.");
  if (found->second.shape != shape)
    throw WeightError("'" + name + "' has the shape " + text(found->second.shape) + " and the model needs " +
                      text(shape) + ".");
  return found->second.data;
}

Linear read_linear(const Weights& weights, const Kernels& kernels, Type type, const std::string& name, Index columns,
                   Index depth) {
  return Linear(kernels, type, weights.get(name + ".weight", {columns, depth}), weights.get(name + ".bias", {columns}),
                columns, depth);
}

Encoder read_encoder(const Weights& weights, const Kernels& kernels, Type type, const ModelConfig& config) {
  const std::string root = config.family == Family::roberta ? "roberta" : "bert";
  const Index units = config.units, hidden = config.hidden;
  Encoder encoder;
  encoder.widths = {units, hidden, config.heads};
  encoder.type = type;
  encoder.tables.units = units;
  encoder.tables.words = read_table(weights, root + ".word_embed.0.weight", config.vocabulary, units);
  encoder.tables.positions = read_table(weights, root + ".encoder.position_weight", config.max_length, units);
  if (config.token_types)
    encoder.tables.types = read_table(weights, root + ".token_type_embed.0.weight", config.token_types, units);
  encoder.embedding_norm = read_norm(weights, root + ".encoder.layer_norm", units, config.epsilon);
  for (Index number = 0; number < config.layers; ++number) {
    const std::string cell = root + ".encoder.transformer_cells." + std::to_string(number);
    Layer layer;
    layer.qkv = read_attention(weights, kernels, type, cell, units, config.heads);
    layer.proj = read_linear(weights, kernels, type, cell + ".proj", units, units);
    layer.attention_norm = read_norm(weights, cell + ".layer_norm", units, config.epsilon);
    layer.up = read_linear(weights, kernels, type, cell + ".ffn.ffn_1", hidden, units);
    layer.down = read_linear(weights, kernels, type, cell + ".ffn.ffn_2", units, hidden);
    layer.output_norm = read_norm(weights, cell + ".ffn.layer_norm", units, config.epsilon);
    layer.activation = config.activation;
    encoder.layers.push_back(std::move(layer));
  }
  return encoder;
}

}  // namespace bertpass::native
