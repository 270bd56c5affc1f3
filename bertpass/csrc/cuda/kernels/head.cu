// From packed token states to a model's outputs, in float32.
#include <type_traits>

#include "cuda/kernels/dispatch.h"
#include "cuda/kernels/row.h"

namespace bertpass::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kDenseRows = 8;

// Where a token of the padded batch stands among the packed ones; -1 for padding.
BP_DEVICE int packed_at(const std::int32_t* offsets, int at, int length) {
  const int sequence = at / length, token = offsets[sequence] + at % length;
  return token < offsets[sequence + 1] ? token : -1;
}

template <class T>
BP_KERNEL(kThreads)
unpack_kernel(const std::int32_t* offsets, const T* states, int rows, int length, int units, float* out) {
  const int at = block_x() * kWarps + warp();
  if (at >= rows) return;
  const int token = packed_at(offsets, at, length);
  for (int column = lane() * 8; column < units; column += kWarp * 8) {
    float x[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (token >= 0) load8(states + static_cast<std::int64_t>(token) * units + column, x);
    store8(out + static_cast<std::int64_t>(at) * units + column, x);
  }
}

// The sum over all threads of the block.
BP_DEVICE float block_sum(float value) {
  float* const parts = shared<float>();
  value = warp_sum(value);
  if (lane() == 0) parts[warp()] = value;
  sync_block();
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += parts[w];
  return sum;
}

template <class T>
BP_KERNEL(kThreads)
pool_kernel(const std::int32_t* offsets, const T* states, int units, bool mean, bool normalize, float* out) {
  const int start = offsets[block_x()], length = offsets[block_x() + 1] - start;
  const int tokens = mean ? length : 1;
  float* const to = out + static_cast<std::int64_t>(block_x()) * units;
  float squares = 0;
  for (int column = thread() * 8; column < units; column += kThreads * 8) {
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll 4
    for (int t = 0; t < tokens; ++t) {
      float x[8];
      load8(states + static_cast<std::int64_t>(start + t) * units + column, x);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum[i] += x[i];
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      sum[i] /= static_cast<float>(tokens);
      squares += sum[i] * sum[i];
    }
    store8(to + column, sum);
  }
  if (!normalize) return;
  const float scale = 1.0f / fmaxf(sqrtf(block_sum(squares)), 1e-12f);
  for (int column = thread() * 8; column < units; column += kThreads * 8) {  // what this thread wrote
    float x[8];
    load8(to + column, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= scale;
    store8(to + column, x);
  }
}

template <class T, int kGroups>
BP_KERNEL(kThreads)
token_logits_kernel(const std::int32_t* offsets, const T* states, const float* weight, const float* bias, int rows,
                    int length, int units, int columns, float* out) {
  const int at = block_x() * kWarps + warp();
  if (at >= rows) return;
  const int token = packed_at(offsets, at, length);
  float* const to = out + static_cast<std::int64_t>(at) * columns;
  if (token < 0) {
    for (int c = lane(); c < columns; c += kWarp) to[c] = bias[c];
    return;
  }
  Row<kGroups> row;
  read_row(states + static_cast<std::int64_t>(token) * units, units, row);
  for (int c = 0; c < columns; ++c) {
    float sum = 0;
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
      if (row.has(g, units)) {
        float w[8];
        load8(weight + static_cast<std::int64_t>(c) * units + row.column(g), w);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += row.x[g][i] * w[i];
      }
    sum = warp_sum(sum);
    if (lane() == 0) to[c] = sum + bias[c];
  }
}

// A warp has one column of kDenseRows rows.
BP_KERNEL(kThreads)
dense_kernel(const float* x, const float* weight, const float* bias, int rows, int depth, int columns,
             Activation activation, float* out) {
  const int column = block_y() * kWarps + warp(), first = block_x() * kDenseRows;
  if (column >= columns) return;
  float sums[kDenseRows] = {};
  for (int k = lane(); k < depth; k += kWarp) {
    const float w = weight[static_cast<std::int64_t>(column) * depth + k];
#pragma unroll
    for (int r = 0; r < kDenseRows; ++r)
      if (first + r < rows) sums[r] += w * x[static_cast<std::int64_t>(first + r) * depth + k];
  }
#pragma unroll
  for (int r = 0; r < kDenseRows; ++r) {
    float y = warp_sum(sums[r]) + bias[column];
    if (activation == Activation::tanh) y = tanhf(y);
    if (activation == Activation::relu) y = fmaxf(y, 0.0f);
    if (activation == Activation::gelu) y = 0.5f * y * (1.0f + erff(y * 0.70710678f));
    if (lane() == 0 && first + r < rows) out[static_cast<std::int64_t>(first + r) * columns + column] = y;
  }
}

int parts(int count, int of) { return (count + of - 1) / of; }

}  // namespace

void unpack(Dtype dtype, const std::int32_t* offsets, const void* states, int sequences, int length, int units, float* out,
            cudaStream_t stream) {
  const int rows = sequences * length;
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(unpack_kernel<T>, {parts(rows, kWarps), 1, kThreads, 0}, stream, "unpack", offsets,
           static_cast<const T*>(states), rows, length, units, out);
  });
}

void pool(Dtype dtype, const std::int32_t* offsets, const void* states, int sequences, int units, Pooling pooling,
          bool normalize, float* out, cudaStream_t stream) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(pool_kernel<T>, {sequences, 1, kThreads, kWarps * 4}, stream, "pool", offsets, static_cast<const T*>(states),
           units, pooling == Pooling::mean, normalize, out);
  });
}

void token_logits(Dtype dtype, const std::int32_t* offsets, const void* states, const float* weight, const float* bias,
                  int sequences, int length, int units, int columns, float* out, cudaStream_t stream) {
  const int rows = sequences * length;
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_groups(units, [&](auto groups) {
      launch(token_logits_kernel<T, decltype(groups)::value>, {parts(rows, kWarps), 1, kThreads, 0}, stream,
             "token_logits", offsets, static_cast<const T*>(states), weight, bias, rows, length, units, columns, out);
    });
  });
}

void dense(const float* x, const float* weight, const float* bias, int rows, int depth, int columns,
           Activation activation, float* out, cudaStream_t stream) {
  launch(dense_kernel, {parts(rows, kDenseRows), parts(columns, kWarps), kThreads, 0}, stream, "dense", x, weight, bias,
         rows, depth, columns, activation, out);
}

}  // namespace bertpass::cuda
