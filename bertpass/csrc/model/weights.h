// The weights by GluonNLP's names (bertpass/model/parameters.py), and the parts of a model made from them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "schema/heads.h"

namespace bertpass::native {

// Memory of somebody else: float32, row after row. Where there is an owner it keeps the memory for as long as it lives.
struct Tensor {
  const float* data = nullptr;
  std::vector<Index> shape;
  std::shared_ptr<const void> owner;
};

// Layers that were packed before (encoder/packed.h).
struct Packed {
  const void* data = nullptr;
  Index bytes = 0;
  std::shared_ptr<const void> owner;
};

class Weights {
 public:
  explicit Weights(std::map<std::string, Tensor> tensors, Packed packed = {})
      : tensors_(std::move(tensors)), packed_(std::move(packed)) {}

  bool has(const std::string& name) const { return tensors_.count(name) > 0; }
  // A tensor of this shape; WeightError where there is none.
  const Tensor& get(const std::string& name, const std::vector<Index>& shape) const;
  const Packed& packed() const { return packed_; }

 private:
  std::map<std::string, Tensor> tensors_;
  Packed packed_;
};

// A dense layer of a head, packed in float32 into `memory`.
Linear read_linear(const Weights& weights, const DenseLayer& layer, Memory& memory);
// The normalisation of its results, copied into `memory`; without columns where it has none.
Norm read_norm(const Weights& weights, const DenseLayer& layer, float epsilon, Memory& memory);

// What its layers need, views of the weights; plan as in layer/types.h. Throws WeightError, PlanError.
struct LayersSource {
  LayersShape shape;
  std::vector<LayerWeights> layers;
};
LayersSource layers_source(const Weights& weights, const std::string& plan, const ModelConfig& config);

// An encoder and what it views: the tables where they are, if these have an owner, else a copy; the layers packed.
struct OwnedEncoder {
  Encoder encoder;
  std::vector<std::shared_ptr<const void>> kept;
};

// plan: as in layer/types.h; ignored where the layers are packed already. Throws WeightError, PackedError, PlanError.
OwnedEncoder read_encoder(const Weights& weights, const Kernels& kernels, const Team& team, const std::string& plan,
                          const ModelConfig& config);

}  // namespace bertpass::native
