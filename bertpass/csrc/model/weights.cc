#include "model/weights.h"

#include <algorithm>
#include <cstring>

#include "encoder/distances.h"

namespace bertpass::native {
namespace {

std::string text(const Shape& shape) {
  std::string out;
  for (const Index n : shape) out += (out.empty() ? "" : ", ") + std::to_string(n);
  return "(" + out + ")";
}

// A tensor that stays: its own memory where it has an owner, else a copy.
const float* keep(const Weights& weights, const std::string& name, const Shape& shape,
                  std::vector<std::shared_ptr<const void>>& kept) {
  const Tensor& tensor = weights.get(name, shape);
  if (tensor.owner) {
    kept.push_back(tensor.owner);
    return tensor.data;
  }
  const auto copy = std::make_shared<std::vector<float>>(tensor.data, tensor.data + size_of(shape));
  kept.push_back(copy);
  return copy->data();
}

LayerWeights read_layer(const Weights& weights, const ModelConfig& config, Index number) {
  LayerWeights found = layer_weights(config, number, [&](const std::string& name, const Shape& shape) {
    return weights.get(name, shape).data;
  });
  const std::string factors = cell_of(config, number) + ".ffn.layer_norm" + kFactors;
  if (weights.has(factors)) found.factors = weights.get(factors, {3 * config.units + config.hidden}).data;
  return found;
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

const Tensor& Weights::get(const std::string& name, const Shape& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw WeightError("the weights lack '" + name + "'.");
  if (found->second.shape != shape)
    throw WeightError("'" + name + "' has the shape " + text(found->second.shape) + " and the model needs " +
                      text(shape) + ".");
  return found->second;
}

Linear read_linear(const Weights& weights, const DenseLayer& layer, Memory& memory) {
  const Index columns = layer.outputs, depth = layer.inputs;
  memory.grow(Linear::bytes(Type::float32, columns, depth));
  Linear::pack(Type::float32, weights.get(layer.weight(), {columns, depth}).data,
               weights.get(layer.name + ".bias", {columns}).data, columns, depth, memory.as<char>());
  return Linear(Type::float32, columns, depth, memory.as<char>());
}

Norm read_norm(const Weights& weights, const DenseLayer& layer, float epsilon, Memory& memory) {
  if (layer.norm.empty()) return {};
  const Index columns = layer.outputs;
  memory.grow(2 * columns * 4);
  float *const gamma = memory.as<float>(), *const beta = gamma + columns;
  std::copy_n(weights.get(layer.norm + ".gamma", {columns}).data, columns, gamma);
  std::copy_n(weights.get(layer.norm + ".beta", {columns}).data, columns, beta);
  return {gamma, beta, columns, epsilon};
}

LayersSource layers_source(const Weights& weights, const std::string& plan, const ModelConfig& config) {
  LayersSource source{{{config.units, config.hidden, config.heads},
                       config.layers,
                       config.epsilon,
                       config.activation,
                       read_plan(plan, config.layers)},
                      {}};
  for (Index number = 0; number < config.layers; ++number)
    source.layers.push_back(read_layer(weights, config, number));
  // The same arrays under the names of every layer are kept once.
  source.shape.shared = config.layers > 1 && of_one_type(source.shape.types) &&
                        std::all_of(source.layers.begin(), source.layers.end(), [&](const LayerWeights& layer) {
                          return std::memcmp(&layer, &source.layers.front(), sizeof layer) == 0;
                        });
  return source;
}

OwnedEncoder read_encoder(const Weights& weights, const Team& team, const std::string& plan,
                          const ModelConfig& config) {
  OwnedEncoder made;
  Encoder& encoder = made.encoder;
  const EmbeddingWeights tables = embedding_weights(
      config, [&](const std::string& name, const Shape& shape) { return keep(weights, name, shape, made.kept); });
  encoder.tables.units = embedding_width(config);
  encoder.tables.words = tables.words;
  encoder.tables.positions = tables.positions;
  encoder.tables.types = tables.types;
  encoder.embedding_norm = {tables.gamma, tables.beta, embedding_width(config), config.epsilon};
  if (tables.projection) {
    const auto memory = std::make_shared<Memory>();
    encoder.projection = read_linear(
        weights, {root_of(config) + ".embedding_projection", config.units, config.embedding, Activation::none}, *memory);
    made.kept.push_back(memory);
  }
  if (tables.distances) {
    const auto bias = std::make_shared<OwnedDistanceBias>(tables.distances, config.heads, config.max_length);
    encoder.bias = bias->view;
    made.kept.push_back(bias);
  }
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
