// The weights by GluonNLP's names (bertpass/model/parameters.py), and the parts of a model made from them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "model/config.h"

namespace bertpass::native {

// Memory of somebody else: float32, row after row.
struct Tensor {
  const float* data = nullptr;
  std::vector<Index> shape;
};

class Weights {
 public:
  explicit Weights(std::map<std::string, Tensor> tensors) : tensors_(std::move(tensors)) {}

  // The data of a tensor of this shape; WeightError where there is none.
  const float* get(const std::string& name, const std::vector<Index>& shape) const;

 private:
  std::map<std::string, Tensor> tensors_;
};

// NAME.weight (columns, depth) and NAME.bias (columns).
Linear read_linear(const Weights& weights, const Kernels& kernels, Type type, const std::string& name, Index columns,
                   Index depth);

Encoder read_encoder(const Weights& weights, const Kernels& kernels, Type type, const ModelConfig& config);

}  // namespace bertpass::native
