// How attention knows of distances, in numbers: rows of tables, slopes, angles.
#pragma once

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

// What is added to scores, out[head * stride + distance] for the distances 1 - length to length - 1. table:
// (kDistanceBuckets, heads); null: ALiBi, minus the distance times a slope of each head (Press et al., arXiv:2108.12409).
void bias_by_distance(const float* table, Index heads, Index length, Index stride, float* out);

// Cosine and sine, (length, size / 2) each, of the angles of rotary positions: place / (base factor)^(2 i / size) /
// factor^(2 / size) for the pair i of a head (Su et al., arXiv:2104.09864; the factor: see bertpass/model/positions.py).
void rotary_angles(double base, double factor, Index size, Index length, float* cosines, float* sines);

}  // namespace bertpass::native
