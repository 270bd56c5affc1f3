// Embeddings and layers over the packed tokens of a batch.
#pragma once

#include <optional>
#include <vector>

#include "encoder/packed.h"
#include "encoder/ragged.h"

namespace bertpass::native {

// Views only, and a form for each layer.
struct Encoder {
  Tables tables;
  Norm embedding_norm;
  std::optional<Linear> projection;  // of the embeddings, whose width is not that of the layers
  PackedLayers layers;
  Norm last_norm;                        // of the token states; without gamma: none
  std::vector<AttentionForm> attention;  // of each layer, or none where all are plain

  // ids and types (or null): the caller's, as `ragged` says. The token states are in work.stream afterwards.
  void forward(const Kernels& kernels, const Team& team, const std::int32_t* ids, const std::int32_t* types,
               const Ragged& ragged, Workspace& work) const;

 private:
  // The first `count` of normalised embeddings at the width of the layers; low gets the same as the first product
  // reads it, where it has data.
  void project(const Kernels& kernels, const Rows& rows, Index count, const Rows& out, const Rows& low) const;
};

// Packed token states (tokens, units) into the caller's array of them; zeros after each sequence's end where it is
// padded.
void unpack(const Team& team, const Rows& states, const Ragged& ragged, Index units, float* out);

}  // namespace bertpass::native
