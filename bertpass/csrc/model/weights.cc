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

// Of each layer; what they view is kept.
std::vector<AttentionForm> attention_forms(const ModelConfig& config, const EmbeddingWeights& tables,
                                           std::vector<std::shared_ptr<const void>>& kept) {
  AttentionForm all, local;
  if (tables.distances || positions_of(config) == Positions::alibi) {
    const auto bias = std::make_shared<OwnedDistanceBias>(tables.distances, config.heads, config.max_length);
    all.bias = local.bias = bias->view;
    kept.push_back(bias);
  }
  if (positions_of(config) == Positions::rotary) {
    const auto turned = [&](double base) {
      const auto made = std::make_shared<OwnedRotary>(base, config.rope_factor, config.units / config.heads,
                                                      config.max_length);
      kept.push_back(made);
      return made->view;
    };
    all.rotary = turned(config.rope_theta);
    const bool other = config.rope_local_theta > 0 && config.window > 0;
    local.rotary = other ? turned(config.rope_local_theta) : all.rotary;
  }
  local.window = config.window;
  std::vector<AttentionForm> forms;
  for (Index layer = 0; layer < config.layers; ++layer) forms.push_back(is_local(config, layer) ? local : all);
  return forms;
}

PackedLayers view(const Packed& packed, const ModelConfig& config) {
  PackedLayers layers(packed.data, packed.bytes);
  const LayersShape& shape = layers.shape();
  if (shape.widths.units != config.units || shape.widths.hidden != config.hidden ||
      shape.widths.heads != config.heads || shape.layers != config.layers || shape.activation != config.activation ||
      shape.epsilon != config.epsilon || shape.form.norm_first != norm_first(config) ||
      shape.form.gated != gated(config))
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
               layer.bare ? nullptr : weights.get(layer.name + ".bias", {columns}).data, columns, depth,
               memory.as<char>());
  return Linear(Type::float32, columns, depth, memory.as<char>());
}

Norm read_norm(const Weights& weights, const DenseLayer& layer, float epsilon, Memory& memory) {
  if (layer.norm.empty()) return {};
  const Index columns = layer.outputs;
  memory.grow(2 * columns * 4);
  float *const gamma = memory.as<float>(), *const beta = gamma + columns;
  std::copy_n(weights.get(layer.norm + ".gamma", {columns}).data, columns, gamma);
  if (layer.bare)
    std::fill_n(beta, columns, 0.0f);
  else
    std::copy_n(weights.get(layer.norm + ".beta", {columns}).data, columns, beta);
  return {gamma, beta, columns, epsilon};
}

LayersSource layers_source(const Weights& weights, const std::string& plan, const ModelConfig& config) {
  LayersSource source{{{config.units, config.hidden, config.heads},
                       config.layers,
                       config.epsilon,
                       config.activation,
                       read_plan(plan, config.layers),
                       false, {norm_first(config), gated(config)}},
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

OwnedEncoder read_encoder(const Weights& weights, const Kernels& kernels, const Team& team, const std::string& plan,
                          const ModelConfig& config) {
  OwnedEncoder made;
  Encoder& encoder = made.encoder;
  const EmbeddingWeights tables = embedding_weights(
      config, [&](const std::string& name, const Shape& shape) { return keep(weights, name, shape, made.kept); });
  encoder.tables.units = embedding_width(config);
  encoder.tables.words = tables.words;
  encoder.tables.positions = tables.positions;
  encoder.tables.types = tables.types;
  const auto zeros = std::make_shared<std::vector<float>>(config.units);
  made.kept.push_back(zeros);
  const auto norm = [&](const float* gamma, const float* beta, Index width) {
    return Norm{gamma, gamma && !beta ? zeros->data() : beta, width, config.epsilon};
  };
  encoder.embedding_norm = norm(tables.gamma, tables.beta, embedding_width(config));
  encoder.last_norm = norm(tables.last_gamma, tables.last_beta, config.units);
  if (tables.projection) {
    const auto memory = std::make_shared<Memory>();
    encoder.projection = read_linear(
        weights, {root_of(config) + ".embedding_projection", config.units, config.embedding, Activation::none}, *memory);
    made.kept.push_back(memory);
  }
  encoder.attention = attention_forms(config, tables, made.kept);
  if (weights.packed().data) {
    made.kept.push_back(weights.packed().owner);
    encoder.layers = view(weights.packed(), config);
  } else {
    const LayersSource source = layers_source(weights, plan, config);
    const auto memory = std::make_shared<Memory>(packed_bytes(source.shape));
    pack_layers(team, source.shape, source.layers.data(), memory->as<char>());
    encoder.layers = PackedLayers(memory->as<char>(), memory->bytes());
    made.kept.push_back(memory);
  }
  if (tables.relative) {
    const Norm relative = norm(tables.relative_gamma, tables.relative_beta, config.units);
    const auto keys =
        std::make_shared<OwnedRelativeKeys>(kernels, team, config, encoder.layers, tables.relative, relative);
    for (std::size_t layer = 0; layer < keys->layers.size(); ++layer)
      encoder.attention[layer].relative = &keys->layers[layer];
    made.kept.push_back(keys);
  }
  return made;
}

}  // namespace bertpass::native
