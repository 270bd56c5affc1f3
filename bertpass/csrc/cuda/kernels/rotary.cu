// Rotary positions: one warp a token.
#include "cuda/kernels/dispatch.h"
#include "cuda/kernels/row.h"

namespace bertpass::cuda {
namespace {

constexpr int kMostThreads = 128;

// A lane turns eight points of one head's query or key at a time.
template <class T>
BP_KERNEL(kMostThreads)
rotate_kernel(const Batch* batch, const std::int32_t* offsets, T* qkv, int heads, int size, Angles angles) {
  const int token = row_of_warp();
  if (token >= batch->tokens) return;
  const int half = size / 2, groups = half / 8;
  const std::int64_t place = token - offsets[sequence_of(offsets, batch->sequences, token)];
  T* const row = qkv + static_cast<std::int64_t>(token) * heads * 3 * size;
  for (int i = lane(); i < heads * 2 * groups; i += kWarp) {
    const int part = i / groups, column = i % groups * 8;  // the query of head 0, its key, the query of head 1, ...
    T* const first = row + (part / 2 * 3 + part % 2) * size + column;
    float x[8], y[8], cosine[8], sine[8], to_x[8], to_y[8];
    load8(first, x);
    load8(first + half, y);
    load8(angles.cosines + place * half + column, cosine);
    load8(angles.sines + place * half + column, sine);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      to_x[k] = x[k] * cosine[k] - y[k] * sine[k];
      to_y[k] = y[k] * cosine[k] + x[k] * sine[k];
    }
    store8(first, to_x);
    store8(first + half, to_y);
  }
}

}  // namespace

void rotate(Dtype dtype, const Batch* batch, const std::int32_t* offsets, void* qkv, int heads, int size,
            const Angles& angles, int rows, cudaStream_t stream) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(rotate_kernel<T>, grid_of_rows(rows), stream, "rotate", batch, offsets, static_cast<T*>(qkv), heads, size,
           angles);
  });
}

}  // namespace bertpass::cuda
