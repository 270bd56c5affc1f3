// Attention in float32, for parity rather than speed: a warp has four queries, its lanes the keys of a tile, and then the
// columns of the values.
#include <type_traits>

#include "cuda/kernels/attention.h"
#include "cuda/kernels/dispatch.h"

namespace bertpass::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kOwn = kPlainQueries / kWarps;  // queries of a warp
constexpr int kKeys = kWarp;                  // of a tile

template <int kSize>
constexpr int kBytes = 4 * (2 * kKeys * (kSize + 1) + kThreads);  // keys, values, a weight for each thread

template <int kSize, bool kPlain>
BP_KERNEL(kThreads)
plain_attention_kernel(const Batch* batch, const Tile* tiles, const float* qkv, int heads, float scale,
                       AttentionForm form, float* out) {
  constexpr int kStride = kSize + 1;  // lanes that read a column touch all banks
  if (block_x() >= batch->tiles) return;
  const Tile tile = tiles[block_x()];
  const int head = block_y();
  const std::int64_t stride = static_cast<std::int64_t>(heads) * 3 * kSize;
  const float* const first = qkv + tile.start * stride + head * 3 * kSize;
  float* const keys = shared<float>();
  float* const values = keys + kKeys * kStride;
  float* const weights = values + kKeys * kStride + warp() * kWarp;  // of one query and the keys of a tile
  const int own = tile.first + warp() * kOwn;  // first query of this warp
  float mixed[kOwn][kSize / kWarp], most[kOwn], sum[kOwn];
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    most[r] = -INFINITY;
    sum[r] = 0;
#pragma unroll
    for (int c = 0; c < kSize / kWarp; ++c) mixed[r][c] = 0;
  }
  const Distances<kPlain> distances(form, head, tile.length);
  const int end = distances.end(tile.first + kPlainQueries - 1);
  for (int start = distances.begin(tile.first); start < end; start += kKeys) {
    for (int i = thread(); i < kKeys * kSize; i += kThreads) {
      const int row = i / kSize, column = i % kSize;
      const bool there = start + row < tile.length;
      const float* const from = first + (start + row) * stride + column;
      keys[row * kStride + column] = there ? from[kSize] : 0.0f;
      values[row * kStride + column] = there ? from[2 * kSize] : 0.0f;
    }
    sync_block();
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      if (own + r >= tile.length) continue;  // the same for the whole warp
      const float* const query = first + (own + r) * stride;
      float score = 0;
#pragma unroll 8
      for (int c = 0; c < kSize; ++c) score += query[c] * keys[lane() * kStride + c];
      score = distances.score(score * scale, own + r, start + lane());
      const float top = fmaxf(most[r], warp_max(score)), taken = distances.taken(top);
      const float shrink = exp2f(most[r] - taken), weight = exp2f(score - taken);
      sync_warp();  // the query before has been read
      weights[lane()] = weight;
      sync_warp();
      most[r] = top;
      sum[r] = sum[r] * shrink + warp_sum(weight);
#pragma unroll
      for (int c = 0; c < kSize / kWarp; ++c) mixed[r][c] *= shrink;
      for (int j = 0; j < kKeys; ++j) {
#pragma unroll
        for (int c = 0; c < kSize / kWarp; ++c) mixed[r][c] += weights[j] * values[j * kStride + c * kWarp + lane()];
      }
    }
    sync_block();
  }
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    if (own + r >= tile.length) continue;
    float* const to = out + (static_cast<std::int64_t>(tile.start + own + r) * heads + head) * kSize;
#pragma unroll
    for (int c = 0; c < kSize / kWarp; ++c) to[c * kWarp + lane()] = mixed[r][c] / sum[r];
  }
}

}  // namespace

void attend_plain(const Batch* batch, const Tile* tiles, int most_tiles, const float* qkv, int heads, int size,
                  const AttentionForm& form, float* out, cudaStream_t stream) {
  const float scale = 1.44269504f / std::sqrt(static_cast<float>(size));
  const auto start = [&](auto number) {
    constexpr int kSize = decltype(number)::value;
    const bool plain = !form.bias && !form.window;
    launch(plain ? plain_attention_kernel<kSize, true> : plain_attention_kernel<kSize, false>,
           {most_tiles, heads, kThreads, kBytes<kSize>}, stream, "attend", batch, tiles, qkv, heads, scale, form, out);
  };
  switch (size) {
    case 32: return start(std::integral_constant<int, 32>{});
    case 64: return start(std::integral_constant<int, 64>{});
    case 96: return start(std::integral_constant<int, 96>{});
    default: return start(std::integral_constant<int, 128>{});
  }
}

}  // namespace bertpass::cuda
