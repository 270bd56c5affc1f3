// Attention for float16 and bfloat16 on tensor cores, with a running softmax: scores are never in memory.
//
// A block has kQueries queries of one head of one sequence, 16 for each warp, and goes over the keys in tiles: while one
// tile is computed the next one's keys and values are copied into shared memory. Within a warp a query's row is shared by
// the four lanes of a quad (device/tensor_core.h), so its maximum and its sum take two shuffles.
#include "cuda/device/tensor_core.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/dispatch.h"

namespace bertpass::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kQueries = 16 * kWarps;
static_assert(kQueries == kTensorQueries);

template <int kSize>
struct Layout {
  static constexpr int kKeys = kSize <= 64 ? 64 : 32;  // of a tile
  static constexpr int kStride = kSize + 8;  // numbers of a row in shared memory: eight rows touch all banks once
  static constexpr int kTileNumbers = kKeys * kStride;
  static constexpr int kBytes = 2 * (kQueries * kStride + 4 * kTileNumbers);  // queries, and two tiles of keys and values
};

// `count` rows of `kSize` numbers, `stride` apart, into shared memory; zeros for the rows from `valid` on.
template <class T, int kSize>
BP_DEVICE void copy_rows(T* to, const T* from, std::int64_t stride, int count, int valid) {
  constexpr int kChunks = kSize / 8;
  for (int i = thread(); i < count * kChunks; i += kThreads) {
    const int row = i / kChunks, column = i % kChunks * 8;
    const bool there = row < valid;
    copy16_later(to + row * Layout<kSize>::kStride + column, from + (there ? row * stride + column : 0), there);
  }
}

template <class T, int kSize, bool kPlain>
BP_KERNEL(kThreads)
attention_kernel(const Batch* batch, const Tile* tiles, const T* qkv, int heads, float scale, AttentionForm form, T* out) {
  using L = Layout<kSize>;
  if (block_x() >= batch->tiles) return;
  const Tile tile = tiles[block_x()];
  const int head = block_y();
  const std::int64_t stride = static_cast<std::int64_t>(heads) * 3 * kSize;
  const T* const first = qkv + tile.start * stride + head * 3 * kSize;  // the sequence's first query of this head
  T* const queries = shared<T>();
  T* const keys = queries + kQueries * L::kStride;
  T* const values = keys + 2 * L::kTileNumbers;
  const Distances<kPlain> distances(form, head, tile.length);
  const int first_round = distances.begin(tile.first) / L::kKeys;
  const int rounds = (distances.end(tile.first + kQueries - 1) + L::kKeys - 1) / L::kKeys;
  const auto copy_tile = [&](int round) {
    const T* const from = first + round * L::kKeys * stride;
    const int valid = tile.length - round * L::kKeys, buffer = round % 2 * L::kTileNumbers;
    copy_rows<T, kSize>(keys + buffer, from + kSize, stride, L::kKeys, valid);
    copy_rows<T, kSize>(values + buffer, from + 2 * kSize, stride, L::kKeys, valid);
  };
  copy_rows<T, kSize>(queries, first + tile.first * stride, stride, kQueries, tile.length - tile.first);
  copy_tile(first_round);
  copies_commit();

  std::uint32_t q[kSize / 16][4];
  float mixed[kSize / 8][4];  // the weighted sum of the values so far
#pragma unroll
  for (int n = 0; n < kSize / 8; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) mixed[n][i] = 0;
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};  // of rows lane / 4 and lane / 4 + 8; the sum of this lane's part

  for (int round = first_round; round < rounds; ++round) {
    if (round + 1 < rounds) copy_tile(round + 1);
    copies_commit();
    copies_wait<1>();
    sync_block();
    if (round == first_round)
#pragma unroll
      for (int d = 0; d < kSize / 16; ++d)
        load_matrices(queries + (16 * warp() + lane() % 16) * L::kStride + d * 16 + lane() / 16 * 8, q[d]);
    const T* const k = keys + round % 2 * L::kTileNumbers;
    const T* const v = values + round % 2 * L::kTileNumbers;

    float scores[L::kKeys / 8][4];
#pragma unroll
    for (int n = 0; n < L::kKeys / 8; n += 2) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = scores[n + 1][i] = 0;
#pragma unroll
      for (int d = 0; d < kSize / 16; ++d) {
        std::uint32_t b[4];  // keys 8 n to 8 n + 15
        load_matrices(k + (n * 8 + lane() / 16 * 8 + lane() % 8) * L::kStride + d * 16 + lane() / 8 % 2 * 8, b);
        multiply<T>(scores[n], q[d], b[0], b[1]);
        multiply<T>(scores[n + 1], q[d], b[2], b[3]);
      }
    }

    // In powers of two: exp(x / sqrt(size)) = 2^(x scale). Keys past the end count nothing; each tile has one within.
    const int query = tile.first + 16 * warp() + lane() / 4, key = round * L::kKeys + lane() % 4 * 2;
    float top[2] = {most[0], most[1]};
#pragma unroll
    for (int n = 0; n < L::kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = distances.score(scores[n][i] * scale, query + 8 * (i / 2), key + n * 8 + i % 2);
        top[i / 2] = fmaxf(top[i / 2], scores[n][i]);
      }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = fmaxf(top[r], shuffle_xor(top[r], 1));
      top[r] = fmaxf(top[r], shuffle_xor(top[r], 2));
      const float shrink = exp2f(most[r] - distances.taken(top[r]));
      most[r] = top[r];
      sum[r] *= shrink;
#pragma unroll
      for (int n = 0; n < kSize / 8; ++n) {
        mixed[n][2 * r] *= shrink;
        mixed[n][2 * r + 1] *= shrink;
      }
    }
#pragma unroll
    for (int n = 0; n < L::kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = exp2f(scores[n][i] - distances.taken(most[i / 2]));
        sum[i / 2] += scores[n][i];
      }

#pragma unroll
    for (int n = 0; n < L::kKeys / 8; n += 2) {  // sixteen keys at a time
      const std::uint32_t p[4] = {pack2<T>(scores[n][0], scores[n][1]), pack2<T>(scores[n][2], scores[n][3]),
                                  pack2<T>(scores[n + 1][0], scores[n + 1][1]),
                                  pack2<T>(scores[n + 1][2], scores[n + 1][3])};
#pragma unroll
      for (int d = 0; d < kSize / 8; d += 2) {
        std::uint32_t b[4];  // columns 8 d to 8 d + 15
        load_transposed(v + (n * 8 + lane() % 16) * L::kStride + d * 8 + lane() / 16 * 8, b);
        multiply<T>(mixed[d], p, b[0], b[1]);
        multiply<T>(mixed[d + 1], p, b[2], b[3]);
      }
    }
    sync_block();  // the next round but one writes into these keys and values
  }
  copies_wait<0>();

  // Through shared memory, so that rows are written sixteen bytes at a time. A warp's rows of the queries are its own.
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += shuffle_xor(sum[r], 1);
    sum[r] += shuffle_xor(sum[r], 2);
    const float inverse = 1.0f / sum[r];
    T* const row = queries + (16 * warp() + lane() / 4 + 8 * r) * L::kStride + lane() % 4 * 2;
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n)
      *reinterpret_cast<std::uint32_t*>(row + n * 8) = pack2<T>(mixed[n][2 * r] * inverse, mixed[n][2 * r + 1] * inverse);
  }
  sync_warp();
  constexpr int kChunks = kSize / 8;
  for (int i = lane(); i < 16 * kChunks; i += kWarp) {
    const int row = 16 * warp() + i / kChunks, column = i % kChunks * 8;
    if (tile.first + row < tile.length)
      *reinterpret_cast<uint4*>(out + (static_cast<std::int64_t>(tile.start + tile.first + row) * heads + head) * kSize +
                                column) = *reinterpret_cast<const uint4*>(queries + row * L::kStride + column);
  }
}

template <class Work>
void with_size(int size, const Work& work) {
  switch (size) {
    case 32: return work(std::integral_constant<int, 32>{});
    case 64: return work(std::integral_constant<int, 64>{});
    case 96: return work(std::integral_constant<int, 96>{});
    default: return work(std::integral_constant<int, 128>{});
  }
}

template <class Work>
void with_16_bits(Dtype dtype, const Work& work) {
  if (dtype == Dtype::float16) return work(TypeTag<Half>{});
  return work(TypeTag<Bfloat16>{});
}

}  // namespace

bool attends(int size) { return size == 32 || size == 64 || size == 96 || size == 128; }

int queries_of_tile(Dtype dtype) { return dtype == Dtype::float32 ? kPlainQueries : kTensorQueries; }

void prepare_attention(Dtype dtype, int size) {
  if (dtype == Dtype::float32) return;
  with_16_bits(dtype, [&](auto tag) {
    with_size(size, [&](auto number) {
      constexpr int kSize = decltype(number)::value;
      using T = typename decltype(tag)::type;
      allow_shared(attention_kernel<T, kSize, true>, Layout<kSize>::kBytes);
      allow_shared(attention_kernel<T, kSize, false>, Layout<kSize>::kBytes);
    });
  });
}

void attend(Dtype dtype, const Batch* batch, const Tile* tiles, int most_tiles, const void* qkv, int heads, int size,
            const AttentionForm& form, void* out, cudaStream_t stream) {
  if (dtype == Dtype::float32)
    return attend_plain(batch, tiles, most_tiles, static_cast<const float*>(qkv), heads, size, form,
                        static_cast<float*>(out), stream);
  const bool plain = !form.bias && !form.window;
  const float scale = 1.44269504f / std::sqrt(static_cast<float>(size));
  with_16_bits(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_size(size, [&](auto number) {
      constexpr int kSize = decltype(number)::value;
      launch(plain ? attention_kernel<T, kSize, true> : attention_kernel<T, kSize, false>,
             {most_tiles, heads, kThreads, Layout<kSize>::kBytes}, stream, "attend", batch, tiles,
             static_cast<const T*>(qkv), heads, scale, form, static_cast<T*>(out));
    });
  });
}

}  // namespace bertpass::cuda
