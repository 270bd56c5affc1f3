#include "ops/attention.h"

#include <algorithm>

#include "ops/pack.h"

namespace bertpass::native {
namespace {

Index query_block(const Kernels& kernels) { return std::max<Index>(8, 2 * kernels.tile); }

}  // namespace

Index attention_scratch(const Kernels& kernels, Index longest, Index head_size) {
  return packed_size(head_size, longest, kernels.panel, Type::float32) +
         packed_size(longest, head_size, kernels.panel, Type::float32) +
         query_block(kernels) * stride_of(longest, sizeof(float)) + 2 * kLine;
}

void attention(const Kernels& kernels, const Team& team, const Index* offsets, Index sequences, Index heads,
               Index head_size, const Rows& qkv, const Rows& out, float* scratch, Index scratch_of_a_thread) {
  const Index block = query_block(kernels);
  double work = 0;
  for (Index s = 0; s < sequences; ++s) {
    const double length = static_cast<double>(offsets[s + 1] - offsets[s]);
    work += 2 * length * length * static_cast<double>(heads * head_size);
  }
  team.loop(sequences * heads, work, [&](Index task, int thread) {
    const Index* at = offsets + task / heads;
    const Index start = at[0] - offsets[0], length = at[1] - at[0], head = task % heads;
    if (length == 0) return;
    const float* q = qkv.floats(start) + head * 3 * head_size;
    const Index line = kLine / static_cast<Index>(sizeof(float));
    float* keys = scratch + thread * scratch_of_a_thread;
    float* values = keys + round_up(packed_size(head_size, length, kernels.panel, Type::float32), line);
    float* scores = values + round_up(packed_size(length, head_size, kernels.panel, Type::float32), line);
    pack(q + head_size, 1, qkv.stride, head_size, length, kernels.panel, keys);
    pack(q + 2 * head_size, qkv.stride, 1, length, head_size, kernels.panel, values);

    Gemm product{};  // queries by keys
    product.a_stride = qkv.stride;
    product.panels = keys;
    product.columns = length;
    product.depth = head_size;
    product.out = scores;
    product.out_stride = stride_of(length, sizeof(float));

    Gemm mixture{};  // weights by values
    mixture.a = scores;
    mixture.a_stride = product.out_stride;
    mixture.panels = values;
    mixture.columns = head_size;
    mixture.depth = length;
    mixture.out_stride = out.stride;
    mixture.out_is_bf16 = out.type == Type::bfloat16;

    for (Index first = 0; first < length; first += block) {
      product.rows = mixture.rows = std::min(block, length - first);
      product.a = q + first * qkv.stride;
      kernels.gemm_f32(product);
      kernels.softmax(scores, product.out_stride, product.rows, length);
      const Index row = start + first, column = head * head_size;
      mixture.out = mixture.out_is_bf16 ? static_cast<void*>(out.halves(row) + column)
                                        : static_cast<void*>(out.floats(row) + column);
      kernels.gemm_f32(mixture);
    }
  });
}

}  // namespace bertpass::native
