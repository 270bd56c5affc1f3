// Embeddings and layers over the packed tokens of a batch.
#pragma once

#include "encoder/packed.h"
#include "encoder/ragged.h"

namespace bertpass::native {

// Views only.
struct Encoder {
  Tables tables;
  Norm embedding_norm;
  PackedLayers layers;

  // ids and types (or null): (sequences, length), padded. The token states are in work.stream afterwards.
  void forward(const Kernels& kernels, const Team& team, const std::int32_t* ids, const std::int32_t* types,
               Index length, const Ragged& ragged, Workspace& work) const;
};

// Packed token states (tokens, units) into a padded batch (sequences, length, units), zeros after each sequence's end.
void unpack(const Team& team, const Rows& states, const Ragged& ragged, Index length, Index units, float* out);

}  // namespace bertpass::native
