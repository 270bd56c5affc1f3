#include "ops/pack.h"

#include <algorithm>
#include <cstring>

#include "kernels/bf16.h"

namespace bertpass::native {
namespace {

// Panels whose columns lie apart: a few rows at a time, so that reads and writes both stay in the cache.
void pack_apart(const float* b, Index depth_stride, Index column_stride, Index depth, Index used, Index panel,
                float* out) {
  constexpr Index kRows = 16;
  for (Index first = 0; first < depth; first += kRows) {
    const Index last = std::min(depth, first + kRows);
    for (Index j = 0; j < used; ++j)
      for (Index k = first; k < last; ++k) out[k * panel + j] = b[k * depth_stride + j * column_stride];
  }
}

}  // namespace

Index packed_size(Index depth, Index columns, Index panel, Type type) {
  return round_up(columns, panel) * (type == Type::float32 ? depth : round_up(depth, 2));
}

void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, Index panel,
          float* out) {
  for (Index column = 0; column < columns; column += panel, out += depth * panel) {
    const Index used = std::min(panel, columns - column);
    const float* from = b + column * column_stride;
    if (column_stride == 1)
      for (Index k = 0; k < depth; ++k) std::memcpy(out + k * panel, from + k * depth_stride, used * sizeof(float));
    else
      pack_apart(from, depth_stride, column_stride, depth, used, panel, out);
    if (used < panel)
      for (Index k = 0; k < depth; ++k) std::fill(out + k * panel + used, out + (k + 1) * panel, 0.0f);
  }
}

void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, Index panel, bf16* out) {
  const Index pairs = (depth + 1) / 2;
  for (Index column = 0; column < columns; column += panel, out += pairs * 2 * panel) {
    std::fill(out, out + pairs * 2 * panel, bf16{0});
    for (Index j = 0; j < std::min(panel, columns - column); ++j)
      for (Index k = 0; k < depth; ++k)
        out[(k / 2 * panel + j) * 2 + k % 2] = narrow(b[k * depth_stride + (column + j) * column_stride]);
  }
}

}  // namespace bertpass::native
