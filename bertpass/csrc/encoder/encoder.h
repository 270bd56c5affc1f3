// Embeddings and layers over the packed tokens of a batch.
#pragma once

#include <vector>

#include "encoder/ragged.h"
#include "layer/layer.h"

namespace bertpass::native {

struct Encoder {
  Widths widths;
  Type type = Type::float32;
  Tables tables;
  Norm embedding_norm;
  std::vector<Layer> layers;

  // ids and types (or null): (sequences, length), padded. The token states are in work.stream afterwards.
  void forward(const Kernels& kernels, const Team& team, const std::int32_t* ids, const std::int32_t* types,
               Index length, const Ragged& ragged, Workspace& work) const;
};

}  // namespace bertpass::native
