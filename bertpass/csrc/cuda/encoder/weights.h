// A model's weights in device memory.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/layer/layer.h"
#include "model/config.h"

namespace bertpass::cuda {

using native::HeadKind;
using native::ModelConfig;
using native::WeightError;

// Float32 in host memory of somebody else, row after row.
struct HostTensor {
  const float* data = nullptr;
  std::int64_t size = 0;
};
using HostTensors = std::map<std::string, HostTensor>;  // by the names of bertpass/model/parameters.py

// One or two dense layers of a head, float32; null where the head has none.
struct HeadWeights {
  const float *first = nullptr, *first_bias = nullptr;  // (units, units): the pooler, or a classifier's first layer
  const float *last = nullptr, *last_bias = nullptr;    // (labels, units)
  Activation activation = Activation::tanh;             // between them
  int labels = 0;
};

// Made by the thread whose current device it is for; waits for its copies. Throws WeightError where a tensor is missing
// or of another size, CudaError where there is not enough memory.
class Weights {
 public:
  Weights(const ModelConfig& config, Dtype dtype, const HostTensors& tensors);

  Tables tables;
  Norm embedding_norm;
  std::vector<LayerWeights> layers;
  HeadWeights head;
  std::size_t bytes() const { return bytes_; }

 private:
  const HostTensor& get(const HostTensors& tensors, const std::string& name, std::int64_t size) const;
  const void* upload(Dtype dtype, const float* values, std::int64_t count);
  LayerWeights layer(const HostTensors& tensors, const std::string& cell, const ModelConfig& config, Dtype dtype);
  void read_head(const HostTensors& tensors, const ModelConfig& config);

  std::vector<DeviceMemory> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace bertpass::cuda
