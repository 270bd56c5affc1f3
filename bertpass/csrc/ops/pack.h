// Matrices into the panels that the matrix product reads; see kernels.h for the layout.
#pragma once

#include "ops/rows.h"

namespace bertpass::native {

// Elements of the panels of a (depth, columns) matrix.
Index packed_size(Index depth, Index columns, Index panel, Type type);

// Pack a (depth, columns) matrix whose element (k, j) is at b[k * depth_stride + j * column_stride].
void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, Index panel, float* out);
void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, Index panel, bf16* out);

}  // namespace bertpass::native
