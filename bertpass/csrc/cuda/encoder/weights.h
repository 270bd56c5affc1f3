// A model's weights in device memory.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/layer/layer.h"
#include "schema/heads.h"
#include "schema/parameters.h"

namespace bertpass::cuda {

using native::HeadLayout;
using native::ModelConfig;
using native::WeightError;

// Float32 in host memory of somebody else, row after row.
struct HostTensor {
  const float* data = nullptr;
  std::int64_t size = 0;
};
using HostTensors = std::map<std::string, HostTensor>;  // by the names of bertpass/model/parameters.py

// A dense layer of a head, float32.
struct HeadWeights {
  const float *weight, *bias;  // (outputs, inputs), (outputs)
  Norm norm;                   // after the activation function; without gamma: none
};

// Made by the thread whose current device it is for; waits for its copies. Throws WeightError where a tensor is missing,
// of another size or has a number that the type does not have, CudaError where there is not enough memory.
class Weights {
 public:
  Weights(const ModelConfig& config, Dtype dtype, const HostTensors& tensors);

  Tables tables;
  Norm embedding_norm, last_norm;  // the last without gamma: none
  const void *projection = nullptr, *projection_bias = nullptr;  // (units, embedding), (units); null: none
  std::vector<LayerWeights> layers;
  std::vector<LayerForm> forms;   // of each layer
  std::vector<HeadWeights> head;  // of each of the head's layers
  std::size_t bytes() const { return bytes_; }

 private:
  // Zeros where there are no values.
  const void* upload(Dtype dtype, const float* values, std::int64_t count);
  const float* upload(const float* values, std::int64_t count) {
    return static_cast<const float*>(upload(Dtype::float32, values, count));
  }
  Norm norm(const float* gamma, const float* beta, std::int64_t units, const ModelConfig& config);
  LayerWeights layer(const native::LayerWeights& from, const ModelConfig& config, Dtype dtype);
  void add_forms(const ModelConfig& config, const float* distances);

  std::vector<DeviceMemory> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace bertpass::cuda
