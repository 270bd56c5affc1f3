// How attention knows of distances: a bias by a table of few rows or by slopes, and angles.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/packed.h"
#include "ops/attention.h"
#include "schema/config.h"

namespace bertpass::native {

// The row of a table of kDistanceBuckets rows that belongs to a distance, that of the key less that of the query. Half
// of the rows are for keys after the query. Distances below 8 have a row each, those up to 128 a row for each factor of
// the square root of two, larger ones the last: Raffel et al., arXiv:1910.10683, section 2.1, in whole numbers.
Index bucket_of_distance(Index distance);

// The row of DeBERTa's embeddings of distances that belongs to a distance, here that of the query less that of the key:
// 2 buckets rows, or where buckets is 0 2 most. Up to half of the buckets each distance is one, then up to `most` they
// are ranges by the logarithm: He et al., arXiv:2006.03654, in the form of transformers' make_log_bucket_position.
Index relative_row(Index distance, Index buckets, Index most);

// A bias for each head and distance, made once.
struct OwnedDistanceBias {
  std::vector<float> values;
  DistanceBias view;

  OwnedDistanceBias(const OwnedDistanceBias&) = delete;  // the view is of its own memory
  // ALiBi: minus the distance times a slope of each head (Press et al., arXiv:2108.12409).
  OwnedDistanceBias(Index heads, Index length);
  // table: (kDistanceBuckets, heads). length: the longest sequence.
  OwnedDistanceBias(const float* table, Index heads, Index length);
};

// Angles of rotary positions, made once: place / (base factor)^(2 i / size) / factor^(2 / size) for the pair i of a head
// (Su et al., arXiv:2104.09864; the factor: see bertpass/model/positions.py).
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
