#include "cuda/encoder/weights.h"

#include <algorithm>
#include <array>

#include "cuda/device/rounding.h"
#include "schema/interleave.h"

namespace bertpass::cuda {
namespace {

const float* get(const HostTensors& tensors, const std::string& name, const native::Shape& shape) {
  const std::int64_t size = native::size_of(shape);
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw WeightError("the weights lack '" + name + "'.");
  if (found->second.size != size)
    throw WeightError("'" + name + "' has " + std::to_string(found->second.size) + " numbers and the model needs " +
                      std::to_string(size) + ".");
  return found->second.data;
}

}  // namespace

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

LayerWeights Weights::layer(const native::LayerWeights& from, const ModelConfig& config, Dtype dtype) {
  const std::int64_t units = config.units, hidden = config.hidden;
  const auto joined = [&](const std::array<const void*, 3>& parts, std::int64_t depth) {
    std::vector<float> all(3 * units * depth);
    native::interleave(parts, config.heads, sizeof(float) * units / config.heads * depth, all.data());
    return upload(dtype, all.data(), static_cast<std::int64_t>(all.size()));
  };
  LayerWeights w{};
  w.qkv = joined({from.query, from.key, from.value}, units);
  w.qkv_bias = joined({from.query_bias, from.key_bias, from.value_bias}, 1);
  w.proj = upload(dtype, from.proj, units * units);
  w.proj_bias = upload(dtype, from.proj_bias, units);
  w.attention_norm = {upload(from.attention_gamma, units), upload(from.attention_beta, units), config.epsilon};
  w.up = upload(dtype, from.up, units * hidden);
  w.up_bias = upload(dtype, from.up_bias, hidden);
  w.down = upload(dtype, from.down, units * hidden);
  w.down_bias = upload(dtype, from.down_bias, units);
  w.output_norm = {upload(from.output_gamma, units), upload(from.output_beta, units), config.epsilon};
  return w;
}

Weights::Weights(const ModelConfig& config, Dtype dtype, const HostTensors& tensors) {
  const std::int64_t units = config.units;
  const auto read = [&](const std::string& name, const native::Shape& shape) { return get(tensors, name, shape); };
  const native::EmbeddingWeights from = native::embedding_weights(config, read);
  tables.words = upload(dtype, from.words, config.vocabulary * units);
  tables.positions = upload(dtype, from.positions, config.max_length * units);
  if (from.types) tables.types = upload(dtype, from.types, config.token_types * units);
  tables.vocabulary = static_cast<std::int32_t>(config.vocabulary);
  tables.token_types = static_cast<std::int32_t>(config.token_types);
  embedding_norm = {upload(from.gamma, units), upload(from.beta, units), config.epsilon};
  for (native::Index number = 0; number < config.layers; ++number)
    layers.push_back(layer(native::layer_weights(config, number, read), config, dtype));
  for (const native::DenseLayer& one : native::head_layout(config).layers)
    head.push_back({upload(read(one.name + ".weight", {one.outputs, one.inputs}), one.outputs * one.inputs),
                    upload(read(one.name + ".bias", {one.outputs}), one.outputs)});
}

}  // namespace bertpass::cuda
