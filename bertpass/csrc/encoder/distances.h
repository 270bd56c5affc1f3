// How attention knows of distances (schema/distances.h), as the CPU engine keeps it.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/packed.h"
#include "ops/attention.h"
#include "schema/config.h"

namespace bertpass::native {

// A bias for each head and distance, made once.
struct OwnedDistanceBias {
  std::vector<float> values;
  DistanceBias view;

  OwnedDistanceBias(const OwnedDistanceBias&) = delete;  // the view is of its own memory
  // table: as bias_by_distance takes it. length: the longest sequence.
  OwnedDistanceBias(const float* table, Index heads, Index length);
};

// Angles of rotary positions, made once.
struct OwnedRotary {
  std::vector<float> cosines, sines;
  Rotary view;

  OwnedRotary(const OwnedRotary&) = delete;
  OwnedRotary(double base, double factor, Index size, Index length);
};

// DeBERTa's keys and queries of distances for each layer, made once.
struct OwnedRelativeKeys {
  std::vector<RelativeKeys> layers;

  OwnedRelativeKeys(const OwnedRelativeKeys&) = delete;  // the views are of its own memory
  // table: (relative_rows(config), units), which the norm is applied to.
  OwnedRelativeKeys(const Kernels& kernels, const Team& team, const ModelConfig& config, const PackedLayers& packed,
                    const float* table, const Norm& norm);

 private:
  std::vector<std::int32_t> rows_;
  std::vector<Memory> memory_;
};

}  // namespace bertpass::native
