#include "cuda/encoder/weights.h"

#include <algorithm>

#include "cuda/device/rounding.h"

namespace bertpass::cuda {
namespace {

// Rows of query, key and value of (units, depth) each, head by head: those of one head stand side by side.
std::vector<float> interleaved(const float* const (&parts)[3], int heads, int size, int depth) {
  std::vector<float> out(static_cast<std::size_t>(3) * heads * size * depth);
  const std::size_t block = static_cast<std::size_t>(size) * depth;
  for (int head = 0; head < heads; ++head)
    for (int part = 0; part < 3; ++part)
      std::copy_n(parts[part] + head * block, block, out.data() + (head * 3 + part) * block);
  return out;
}

}  // namespace

const HostTensor& Weights::get(const HostTensors& tensors, const std::string& name, std::int64_t size) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw WeightError("the weights lack '" + name + "'.");
  if (found->second.size != size)
    throw WeightError("'" + name + "' has " + std::to_string(found->second.size) + " numbers and the model needs " +
                      std::to_string(size) + ".");
  return found->second;
}

const void* Weights::upload(Dtype dtype, const float* values, std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(dtype);
  memory_.push_back(device_memory(bytes));
  bytes_ += bytes;
  void* const to = memory_.back().get();
  if (dtype == Dtype::float32) {
    check(cudaMemcpy(to, values, bytes, cudaMemcpyHostToDevice), "copying weights to the device");
    return to;
  }
  std::vector<std::uint16_t> low(count);
  std::transform(values, values + count, low.begin(), dtype == Dtype::float16 ? half_bits : bfloat16_bits);
  check(cudaMemcpy(to, low.data(), bytes, cudaMemcpyHostToDevice), "copying weights to the device");
  return to;
}

LayerWeights Weights::layer(const HostTensors& tensors, const std::string& cell, const ModelConfig& config, Dtype dtype) {
  const int units = static_cast<int>(config.units), hidden = static_cast<int>(config.hidden);
  const int heads = static_cast<int>(config.heads);
  const auto values = [&](const std::string& name, std::int64_t size) { return get(tensors, cell + name, size).data; };
  const auto put = [&](const std::string& name, std::int64_t size) { return upload(dtype, values(name, size), size); };
  const auto norm = [&](const std::string& name) {
    return Norm{static_cast<const float*>(upload(Dtype::float32, values(name + ".gamma", units), units)),
                static_cast<const float*>(upload(Dtype::float32, values(name + ".beta", units), units)), config.epsilon};
  };
  const auto joined = [&](const char* kind, int depth) {
    const float* parts[3];
    const char* names[] = {"query", "key", "value"};
    for (int i = 0; i < 3; ++i)
      parts[i] = values(std::string(".attention_cell.proj_") + names[i] + kind, std::int64_t{1} * units * depth);
    const std::vector<float> all = interleaved(parts, heads, units / heads, depth);
    return upload(dtype, all.data(), static_cast<std::int64_t>(all.size()));
  };
  const std::int64_t square = std::int64_t{1} * units * units, wide = std::int64_t{1} * units * hidden;
  LayerWeights w{};
  w.qkv = joined(".weight", units);
  w.qkv_bias = joined(".bias", 1);
  w.proj = put(".proj.weight", square);
  w.proj_bias = put(".proj.bias", units);
  w.attention_norm = norm(".layer_norm");
  w.up = put(".ffn.ffn_1.weight", wide);
  w.up_bias = put(".ffn.ffn_1.bias", hidden);
  w.down = put(".ffn.ffn_2.weight", wide);
  w.down_bias = put(".ffn.ffn_2.bias", units);
  w.output_norm = norm(".ffn.layer_norm");
  return w;
}

// The layers of each kind of head are those of bertpass/model/config.py, as for the CPU engine in model/head.cc.
void Weights::read_head(const HostTensors& tensors, const ModelConfig& config) {
  const std::int64_t units = config.units;
  const auto put = [&](const std::string& name, std::int64_t size) {
    return static_cast<const float*>(upload(Dtype::float32, get(tensors, name, size).data, size));
  };
  const bool roberta = config.family == native::Family::roberta, bert = config.family == native::Family::bert;
  const bool classifies = config.head == HeadKind::classifier;
  std::string first, last;
  if (config.head == HeadKind::pooled) first = roberta ? "roberta.pooler" : "bert.pooler";
  if (classifies) first = bert ? "bert.pooler" : roberta ? "classifier.1" : "pre_classifier";
  if (classifies) last = roberta ? "classifier.3" : "classifier.1";
  if (config.head == HeadKind::qa) last = "span_classifier";
  if (config.head == HeadKind::tokens) last = "tag_classifier";
  head.labels = config.head == HeadKind::qa ? 2 : static_cast<int>(config.labels);
  head.activation = classifies && !bert && !roberta ? Activation::relu : Activation::tanh;
  if (!first.empty()) {
    head.first = put(first + ".weight", units * units);
    head.first_bias = put(first + ".bias", units);
  }
  if (!last.empty()) {
    head.last = put(last + ".weight", units * head.labels);
    head.last_bias = put(last + ".bias", head.labels);
  }
}

Weights::Weights(const ModelConfig& config, Dtype dtype, const HostTensors& tensors) {
  const std::string root = config.family == native::Family::roberta ? "roberta" : "bert";
  const auto put = [&](Dtype type, const std::string& name, std::int64_t size) {
    return upload(type, get(tensors, root + name, size).data, size);
  };
  tables.words = put(dtype, ".word_embed.0.weight", config.vocabulary * config.units);
  tables.positions = put(dtype, ".encoder.position_weight", config.max_length * config.units);
  if (config.token_types) tables.types = put(dtype, ".token_type_embed.0.weight", config.token_types * config.units);
  tables.vocabulary = static_cast<std::int32_t>(config.vocabulary);
  tables.token_types = static_cast<std::int32_t>(config.token_types);
  embedding_norm = {static_cast<const float*>(put(Dtype::float32, ".encoder.layer_norm.gamma", config.units)),
                    static_cast<const float*>(put(Dtype::float32, ".encoder.layer_norm.beta", config.units)),
                    config.epsilon};
  for (native::Index number = 0; number < config.layers; ++number)
    layers.push_back(layer(tensors, root + ".encoder.transformer_cells." + std::to_string(number), config, dtype));
  read_head(tensors, config);
}

}  // namespace bertpass::cuda
