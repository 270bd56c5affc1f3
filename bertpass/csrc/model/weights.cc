#include "model/weights.h"

#include <algorithm>

namespace bertpass::native {
namespace {

std::string text(const std::vector<Index>& shape) {
  std::string out;
  for (const Index n : shape) out += (out.empty() ? "" : ", ") + std::to_string(n);
  return "(" + out + ")";
}

std::string root_of(const ModelConfig& config) { return config.family == Family::roberta ? "roberta" : "bert"; }

// A tensor that stays: its own memory where it has an owner, else a copy.
const float* keep(const Weights& weights, const std::string& name, const std::vector<Index>& shape,
                  std::vector<std::shared_ptr<const void>>& kept) {
  const Tensor& tensor = weights.get(name, shape);
  if (tensor.owner) {
    kept.push_back(tensor.owner);
    return tensor.data;
  }
  Index size = 1;
  for (const Index n : shape) size *= n;
  const auto copy = std::make_shared<std::vector<float>>(tensor.data, tensor.data + size);
  kept.push_back(copy);
  return copy->data();
}

LayerWeights layer_weights(const Weights& weights, const std::string& cell, Index units, Index hidden) {
  const auto matrix = [&](const char* name, Index rows, Index columns) {
    return weights.get(cell + name + ".weight", {rows, columns}).data;
  };
  const auto vector = [&](const char* name, Index size) { return weights.get(cell + name, {size}).data; };
  LayerWeights w;
  w.query = matrix(".attention_cell.proj_query", units, units);
  w.query_bias = vector(".attention_cell.proj_query.bias", units);
  w.key = matrix(".attention_cell.proj_key", units, units);
  w.key_bias = vector(".attention_cell.proj_key.bias", units);
  w.value = matrix(".attention_cell.proj_value", units, units);
  w.value_bias = vector(".attention_cell.proj_value.bias", units);
  w.proj = matrix(".proj", units, units);
  w.proj_bias = vector(".proj.bias", units);
  w.attention_gamma = vector(".layer_norm.gamma", units);
  w.attention_beta = vector(".layer_norm.beta", units);
  w.up = matrix(".ffn.ffn_1", hidden, units);
  w.up_bias = vector(".ffn.ffn_1.bias", hidden);
  w.down = matrix(".ffn.ffn_2", units, hidden);
  w.down_bias = vector(".ffn.ffn_2.bias", units);
  w.output_gamma = vector(".ffn.layer_norm.gamma", units);
  w.output_beta = vector(".ffn.layer_norm.beta", units);
  const std::string factors = cell + ".ffn.layer_norm" + kFactors;
  w.factors = weights.has(factors) ? weights.get(factors, {3 * units + hidden}).data : nullptr;
  return w;
}

PackedLayers view(const Packed& packed, const ModelConfig& config) {
  PackedLayers layers(packed.data, packed.bytes);
  const LayersShape& shape = layers.shape();
  if (shape.widths.units != config.units || shape.widths.hidden != config.hidden ||
      shape.widths.heads != config.heads || shape.layers != config.layers || shape.activation != config.activation ||
      shape.epsilon != config.epsilon)
    throw WeightError("the packed layers do not belong to this model.");
  return layers;
}

}  // namespace

const Tensor& Weights::get(const std::string& name, const std::vector<Index>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw WeightError("the weights lack '" + name + "'.");
  if (found->second.shape != shape)
    throw WeightError("'" + name + "' has the shape " + text(found->second.shape) + " and the model needs " +
                      text(shape) + ".");
  return found->second;
}

Linear read_linear(const Weights& weights, const std::string& name, Index columns, Index depth, Memory& memory) {
  memory.grow(Linear::bytes(Type::float32, columns, depth));
  Linear::pack(Type::float32, weights.get(name + ".weight", {columns, depth}).data,
               weights.get(name + ".bias", {columns}).data, columns, depth, memory.as<char>());
  return Linear(Type::float32, columns, depth, memory.as<char>());
}

LayersSource layers_source(const Weights& weights, const std::string& plan, const ModelConfig& config) {
  LayersSource source{{{config.units, config.hidden, config.heads},
                       config.layers,
                       config.epsilon,
                       config.activation,
                       read_plan(plan, config.layers)},
                      {}};
  const std::string cells = root_of(config) + ".encoder.transformer_cells.";
  for (Index number = 0; number < config.layers; ++number)
    source.layers.push_back(layer_weights(weights, cells + std::to_string(number), config.units, config.hidden));
  return source;
}

OwnedEncoder read_encoder(const Weights& weights, const Team& team, const std::string& plan,
                          const ModelConfig& config) {
  const std::string root = root_of(config);
  const Index units = config.units;
  OwnedEncoder made;
  Encoder& encoder = made.encoder;
  const auto kept = [&](const std::string& name, const std::vector<Index>& shape) {
    return keep(weights, root + name, shape, made.kept);
  };
  encoder.tables.units = units;
  encoder.tables.words = kept(".word_embed.0.weight", {config.vocabulary, units});
  encoder.tables.positions = kept(".encoder.position_weight", {config.max_length, units});
  if (config.token_types) encoder.tables.types = kept(".token_type_embed.0.weight", {config.token_types, units});
  encoder.embedding_norm = {kept(".encoder.layer_norm.gamma", {units}), kept(".encoder.layer_norm.beta", {units}),
                            units, config.epsilon};
  if (weights.packed().data) {
    made.kept.push_back(weights.packed().owner);
    encoder.layers = view(weights.packed(), config);
    return made;
  }
  const LayersSource source = layers_source(weights, plan, config);
  const auto memory = std::make_shared<Memory>(packed_bytes(source.shape));
  pack_layers(team, source.shape, source.layers.data(), memory->as<char>());
  encoder.layers = PackedLayers(memory->as<char>(), memory->bytes());
  made.kept.push_back(memory);
  return made;
}

}  // namespace bertpass::native
