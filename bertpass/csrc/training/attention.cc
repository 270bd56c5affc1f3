#include "training/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/memory.h"
#include "ops/pack.h"
#include "ops/pool.h"

namespace bertpass::native {
namespace {

// One head of one sequence.
struct Head {
  Index start, length, size;
  Index stride, out_stride;  // of the rows of q, k and v, and of the output
  Index column;              // of the head in the output
  const float *q, *k, *v;
  Dropout dropout;
};

// Takes pieces of a thread's memory, each on a cache line.
class Pieces {
 public:
  explicit Pieces(Memory& memory) : memory_(memory) {}

  void reserve(Index floats, Index pieces) { memory_.grow(floats * Index{sizeof(float)} + pieces * kLine); }

  float* take(Index floats) {
    float* here = memory_.as<float>() + used_;
    used_ += round_up(floats, kLine / Index{sizeof(float)});
    return here;
  }

 private:
  Memory& memory_;
  Index used_ = 0;
};

// The queries (in the gradient: the keys) that are worked on at once: their scores stay in the nearest cache.
Index block_of(const Kernels& kernels) { return std::max<Index>(8, 2 * kernels.tile); }

Gemm product(const float* a, Index a_stride, const float* panels, Index columns, Index depth, float* out,
             Index out_stride) {
  Gemm g{};
  g.a = a;
  g.a_stride = a_stride;
  g.panels = panels;
  g.columns = columns;
  g.depth = depth;
  g.out = out;
  g.out_stride = out_stride;
  return g;
}

// Rows become the columns of panels of the depth `size`, multiplied by `factor`.
void pack_across(const Kernels& kernels, const float* rows, Index stride, Index length, Index size, float factor,
                 float* out) {
  for (Index first = 0; first < length; first += kPanel, out += size * kPanel) {
    kernels.pack_words(reinterpret_cast<const std::uint32_t*>(rows + first * stride), stride,
                       std::min(kPanel, length - first), size, reinterpret_cast<std::uint32_t*>(out));
    if (factor != 1) std::transform(out, out + size * kPanel, out, [=](float x) { return x * factor; });
  }
}

void forward(const Kernels& kernels, const Head& head, Memory& memory, float* out, float* logarithms, Index heads) {
  const Index length = head.length, size = head.size, block = block_of(kernels), whole = round_up(length, kPanel);
  const Index stride = stride_of(whole, sizeof(float)), width = round_up(size, kPanel);
  Pieces pieces(memory);
  pieces.reserve(whole * size + length * width + block * stride, 3);
  float *keys = pieces.take(whole * size), *values = pieces.take(length * width), *scores = pieces.take(block * stride);
  pack_across(kernels, head.k, head.stride, length, size, 1 / std::sqrt(static_cast<float>(size)), keys);
  pack(head.v, head.stride, 1, length, size, values);
  Gemm score = product(head.q, head.stride, keys, whole, size, scores, stride);
  Gemm mixture = product(scores, stride, values, size, length, out, head.out_stride);
  for (Index first = 0; first < length; first += block) {
    score.rows = mixture.rows = std::min(block, length - first);
    score.a = head.q + first * head.stride;
    kernels.gemm_f32(score);
    for (Index i = 0; i < score.rows; ++i)
      logarithms[(first + i) * heads] = kernels.attention_weights(
          scores + i * stride, head.dropout, static_cast<std::uint32_t>((first + i) * length), length);
    mixture.out = out + first * head.out_stride;
    kernels.gemm_f32(mixture);
  }
}

// Everything is done key by key, with the queries as columns: gradients of keys and values are then products of whole
// rows, and that of the queries is the product of the transposed keys with panels that are filled on the way.
void backward(const Kernels& kernels, const Head& head, Memory& memory, const float* out, const float* logarithms,
              Index heads, const float* gradient, float* q_gradient) {
  const Index length = head.length, size = head.size, units = head.out_stride, block = block_of(kernels);
  const Index whole = round_up(length, kPanel), width = round_up(size, kPanel);
  const Index stride = stride_of(whole, sizeof(float));
  const float scale = 1 / std::sqrt(static_cast<float>(size));
  Pieces pieces(memory);
  pieces.reserve(2 * (whole * size + length * width) + 2 * size * stride + 2 * block * stride + whole * length + 2 * whole,
                 11);
  float *queries_across = pieces.take(whole * size), *gradients_across = pieces.take(whole * size);
  float *queries = pieces.take(length * width), *gradients = pieces.take(length * width);
  float *keys = pieces.take(size * stride), *across = pieces.take(size * stride);  // (size, length): one row a column
  float *scores = pieces.take(block * stride), *weights = pieces.take(block * stride);
  float* panels = pieces.take(whole * length);
  float *logarithm = pieces.take(whole), *share = pieces.take(whole);

  pack_across(kernels, head.q, head.stride, length, size, scale, queries_across);
  pack_across(kernels, gradient, units, length, size, 1, gradients_across);
  pack(head.q, head.stride, 1, length, size, queries);
  pack(gradient, units, 1, length, size, gradients);
  for (Index i = 0; i < length; ++i) {
    logarithm[i] = logarithms[i * heads];
    share[i] = 0;
    for (Index d = 0; d < size; ++d) {
      share[i] += out[i * units + d] * gradient[i * units + d];
      keys[d * stride + i] = head.k[i * head.stride + d];
    }
  }
  Gemm score = product(head.k, head.stride, queries_across, whole, size, scores, stride);
  Gemm weight = product(head.v, head.stride, gradients_across, whole, size, weights, stride);
  Gemm value = product(scores, stride, gradients, size, length, nullptr, head.stride);
  Gemm key = product(weights, stride, queries, size, length, nullptr, head.stride);
  for (Index first = 0; first < length; first += block) {
    score.rows = weight.rows = value.rows = key.rows = std::min(block, length - first);
    score.a = head.k + first * head.stride;
    weight.a = head.v + first * head.stride;
    kernels.gemm_f32(score);
    kernels.gemm_f32(weight);
    for (Index j = 0; j < score.rows; ++j)
      kernels.attention_gradient(scores + j * stride, weights + j * stride, logarithm, share, scale, head.dropout,
                                 static_cast<std::uint32_t>(first + j), static_cast<std::uint32_t>(length), length,
                                 panels + (first + j) * kPanel, length * kPanel);
    float* row = q_gradient + first * head.stride;
    key.out = row + units;
    value.out = row + 2 * units;
    kernels.gemm_f32(value);
    kernels.gemm_f32(key);
  }
  Gemm query = product(keys, stride, panels, length, length, across, stride);
  query.rows = size;
  kernels.gemm_f32(query);
  for (Index i = 0; i < length; ++i)
    for (Index d = 0; d < size; ++d) q_gradient[i * head.stride + d] = across[d * stride + i];
}

// The threads of MXNet's engine share the pool.
Pool<std::vector<Memory>>& memories() {
  static Pool<std::vector<Memory>> pool;
  return pool;
}

template <class Body>
void each_head(const Team& team, const AttentionShape& shape, const Drops& drops, const float* qkv, double cost,
               const Body& body) {
  const Pool<std::vector<Memory>>::Lease lease(memories());
  std::vector<Memory>& memory = *lease;
  if (memory.size() < static_cast<std::size_t>(team.threads())) memory.resize(team.threads());
  const Index units = shape.units();
  double work = 0;
  for (Index s = 0; s < shape.sequences; ++s) {
    const double length = shape.offsets[s + 1] - shape.offsets[s];
    work += cost * length * length * static_cast<double>(units);
  }
  team.loop(shape.sequences * shape.heads, work, [&](Index task, int thread) {
    const Index sequence = task / shape.heads, number = task % shape.heads, start = shape.offsets[sequence];
    const float* q = qkv + start * 3 * units + number * shape.head_size;
    const Head head{start,     shape.offsets[sequence + 1] - start, shape.head_size,   3 * units, units,
                    number * shape.head_size, q,                    q + units, q + 2 * units, drops.stream(task)};
    if (head.length) body(head, number, memory[thread]);
  });
}

}  // namespace

void attention_forward(const Kernels& kernels, const Team& team, const AttentionShape& shape, const Drops& drops,
                       const float* qkv, float* out, float* logarithms) {
  const Index units = shape.units(), used = shape.offsets[shape.sequences];
  std::fill(out + used * units, out + shape.rows * units, 0.0f);
  std::fill(logarithms + used * shape.heads, logarithms + shape.rows * shape.heads, 0.0f);
  each_head(team, shape, drops, qkv, 2, [&](const Head& head, Index number, Memory& memory) {
    forward(kernels, head, memory, out + head.start * units + head.column, logarithms + head.start * shape.heads + number,
            shape.heads);
  });
}

void attention_backward(const Kernels& kernels, const Team& team, const AttentionShape& shape, const Drops& drops,
                        const float* qkv, const float* out, const float* logarithms, const float* gradient,
                        float* qkv_gradient) {
  const Index units = shape.units(), used = shape.offsets[shape.sequences];
  std::fill(qkv_gradient + used * 3 * units, qkv_gradient + shape.rows * 3 * units, 0.0f);
  each_head(team, shape, drops, qkv, 5, [&](const Head& head, Index number, Memory& memory) {
    const Index at = head.start * units + head.column;
    backward(kernels, head, memory, out + at, logarithms + head.start * shape.heads + number, shape.heads, gradient + at,
             qkv_gradient + head.start * 3 * units + head.column);
  });
}

}  // namespace bertpass::native
