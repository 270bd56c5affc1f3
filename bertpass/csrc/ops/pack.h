// Matrices into the panels that the matrix product reads; see kernels.h for the layout.
#pragma once

#include "ops/rows.h"

namespace bertpass::native {

// Elements of the panels of a (depth, columns) matrix.
Index packed_size(Index depth, Index columns, Type type);

// Pack a (depth, columns) matrix whose element (k, j) is at b[k * depth_stride + j * column_stride].
void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, float* out);
void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, bf16* out);
void pack(const bf16* b, Index depth_stride, Index column_stride, Index depth, Index columns, bf16* out);

// The same in signed bytes: column j is divided by scales[j], which becomes 1 / 127 of the largest absolute value among
// its elements and the sums of its pairs (see kernels.h); sums[j] becomes the sum of its bytes. scales and sums have
// packed columns (whole panels).
void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, std::int8_t* out,
          float* scales, std::int32_t* sums);

}  // namespace bertpass::native
