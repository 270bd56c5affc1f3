#include "cuda/encoder/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "cuda/device/rounding.h"
#include "schema/distances.h"
#include "schema/interleave.h"

namespace bertpass::cuda {
namespace {

constexpr float kMostHalf = 65504;  // the largest number of float16
constexpr float kLog2E = 1.44269504f;

const float* get(const HostTensors& tensors, const std::string& name, const native::Shape& shape) {
  const std::int64_t size = native::size_of(shape);
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw WeightError("the weights lack '" + name + "'.");
  if (found->second.size != size)
    throw WeightError("'" + name + "' has " + std::to_string(found->second.size) + " numbers and the model needs " +
                      std::to_string(size) + ".");
  return found->second.data;
}

// Throws where a number would become infinity.
void need_half(const std::string& name, const float* values, std::int64_t count) {
  const float* const found =
      std::find_if(values, values + count, [](float value) { return std::abs(value) > kMostHalf; });
  if (found != values + count)
    throw WeightError("'" + name + "' has the number " + std::to_string(*found) +
                      ", which float16 does not have; use dtype='bfloat16'.");
}

}  // namespace

const void* Weights::upload(Dtype dtype, const float* values, std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(dtype);
  std::vector<float> zeros;
  if (!values) {
    zeros.resize(count);
    values = zeros.data();
  }
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

Norm Weights::norm(const float* gamma, const float* beta, std::int64_t units, const ModelConfig& config) {
  if (!gamma) return {};
  return {upload(gamma, units), upload(beta, units), config.epsilon};
}

LayerWeights Weights::layer(const native::LayerWeights& from, const ModelConfig& config, Dtype dtype) {
  const std::int64_t units = config.units, hidden = config.hidden;
  const auto joined = [&](const std::array<const void*, 3>& parts, std::int64_t depth) {
    std::vector<float> all(3 * units * depth);
    native::interleave(parts, config.heads, sizeof(float) * units / config.heads * depth, all.data());
    return upload(dtype, all.data(), static_cast<std::int64_t>(all.size()));
  };
  // The second part under the first one, where there is a gate.
  const auto with_gate = [&](const float* first, const float* second, std::int64_t count) {
    if (!from.gate || !first) return upload(dtype, first, from.gate ? 2 * count : count);
    std::vector<float> all(first, first + count);
    all.insert(all.end(), second, second + count);
    return upload(dtype, all.data(), 2 * count);
  };
  LayerWeights w{};
  w.qkv = joined({from.query, from.key, from.value}, units);
  w.qkv_bias = from.query_bias ? joined({from.query_bias, from.key_bias, from.value_bias}, 1)
                               : upload(dtype, nullptr, 3 * units);
  w.proj = upload(dtype, from.proj, units * units);
  w.proj_bias = upload(dtype, from.proj_bias, units);
  w.attention_norm = norm(from.attention_gamma, from.attention_beta, units, config);
  w.up = with_gate(from.up, from.gate, units * hidden);
  w.up_bias = with_gate(from.up_bias, from.gate_bias, hidden);
  w.down = upload(dtype, from.down, units * hidden);
  w.down_bias = upload(dtype, from.down_bias, units);
  w.output_norm = norm(from.output_gamma, from.output_beta, units, config);
  return w;
}

void Weights::add_forms(const ModelConfig& config, const float* distances) {
  LayerForm all, local;
  all.norm_first = native::norm_first(config);
  const std::int64_t length = config.max_length, size = config.units / config.heads;
  if (distances || native::positions_of(config) == native::Positions::alibi) {
    const std::int64_t stride = 2 * length - 1;
    std::vector<float> bias(config.heads * stride);
    native::bias_by_distance(distances, config.heads, length, stride, bias.data() + length - 1);
    for (float& value : bias) value *= kLog2E;
    all.attention.bias = upload(bias.data(), static_cast<std::int64_t>(bias.size())) + length - 1;
    all.attention.stride = static_cast<std::int32_t>(stride);
  }
  const auto turned = [&](double base) {
    std::vector<float> cosines(length * (size / 2)), sines(cosines.size());
    native::rotary_angles(base, config.rope_factor, size, length, cosines.data(), sines.data());
    const auto count = static_cast<std::int64_t>(cosines.size());
    return Angles{upload(cosines.data(), count), upload(sines.data(), count)};
  };
  if (config.rope_theta > 0) all.angles = turned(config.rope_theta);
  local = all;
  if (config.rope_local_theta > 0 && config.window > 0) local.angles = turned(config.rope_local_theta);
  local.attention.window = static_cast<std::int32_t>(config.window);
  for (native::Index layer = 0; layer < config.layers; ++layer)
    forms.push_back(native::is_local(config, layer) ? local : all);
}

Weights::Weights(const ModelConfig& config, Dtype dtype, const HostTensors& tensors) {
  const OutsideCaptures guard;
  const std::int64_t units = config.units, narrow = native::embedding_width(config);
  const auto read = [&](const std::string& name, const native::Shape& shape) { return get(tensors, name, shape); };
  const auto read_low = [&](const std::string& name, const native::Shape& shape) {
    const float* const found = get(tensors, name, shape);
    if (dtype == Dtype::float16) need_half(name, found, native::size_of(shape));
    return found;
  };
  const native::EmbeddingWeights from = native::embedding_weights(config, read_low);
  tables.words = upload(dtype, from.words, config.vocabulary * narrow);
  if (from.positions) tables.positions = upload(dtype, from.positions, config.max_length * narrow);
  if (from.types) tables.types = upload(dtype, from.types, config.token_types * narrow);
  tables.vocabulary = static_cast<std::int32_t>(config.vocabulary);
  tables.token_types = static_cast<std::int32_t>(config.token_types);
  embedding_norm = norm(from.gamma, from.beta, narrow, config);
  last_norm = norm(from.last_gamma, from.last_beta, units, config);
  if (from.projection) {
    projection = upload(dtype, from.projection, units * narrow);
    projection_bias = upload(dtype, from.projection_bias, units);
  }
  add_forms(config, from.distances);
  native::LayerWeights before{};
  for (native::Index number = 0; number < config.layers; ++number) {
    const native::LayerWeights layer_from = native::layer_weights(config, number, read_low);
    const bool same = number && std::memcmp(&layer_from, &before, sizeof before) == 0;  // ALBERT's, which are one layer's
    layers.push_back(same ? layers.back() : layer(layer_from, config, dtype));
    before = layer_from;
  }
  for (const native::DenseLayer& one : native::head_layout(config).layers) {
    const native::Shape vector{one.outputs};
    const auto own = [&](const std::string& name, bool there) { return there ? read(name, vector) : nullptr; };
    const float* const weight = read(one.name + ".weight", {one.outputs, one.inputs});
    head.push_back({upload(weight, one.outputs * one.inputs), upload(own(one.name + ".bias", !one.bare), one.outputs),
                    norm(own(one.norm + ".gamma", !one.norm.empty()), own(one.norm + ".beta", !one.norm.empty() && !one.bare),
                         one.outputs, config)});
  }
  // A copy from memory that is not pinned returns when it has been staged, and nothing orders it before other streams.
  check(cudaDeviceSynchronize(), "copying weights to the device");
}

}  // namespace bertpass::cuda
