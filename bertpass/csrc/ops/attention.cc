#include "ops/attention.h"

#include <algorithm>

#include "ops/pack.h"

namespace bertpass::native {
namespace {

// Where one thread keeps what belongs to one head of one sequence, as distances from the start of its memory.
struct Scratch {
  Index bytes = 0;
  Index stride, low_stride;  // of scores and low
  Index keys, values;        // packed
  Index scores;              // (queries, length) float32
  Index inverse;             // (queries), one over the sums of the weights
  Index low;                 // (queries, length): the weights in bfloat16, where the products are

  Scratch(Type type, Index queries, Index length, Index head_size)
      : stride(stride_of(round_up(length, kPanel), sizeof(float))),
        low_stride(stride_of(length, sizeof(bf16))),
        keys(take(packed_size(head_size, length, type) * size_of(type))),
        values(take(packed_size(length, head_size, type) * size_of(type))),
        scores(take(queries * stride * static_cast<Index>(sizeof(float)))),
        inverse(take(queries * static_cast<Index>(sizeof(float)))),
        low(take(type == Type::bfloat16 ? queries * low_stride * static_cast<Index>(sizeof(bf16)) : 0)) {}

 private:
  Index take(Index size) {
    const Index here = bytes;
    bytes += round_up(size, kLine);
    return here;
  }
};

Index query_block(const Kernels& kernels) { return std::max<Index>(8, 2 * kernels.tile); }

// The keys are rows, and become the columns of the panels.
template <class T>
void pack_keys(const Kernels& kernels, const T* from, Index stride, Index length, Index head_size, T* out) {
  constexpr Index group = sizeof(std::uint32_t) / sizeof(T);
  if (head_size % group || stride % group) return pack(from, 1, stride, head_size, length, out);
  for (Index first = 0; first < length; first += kPanel, out += head_size * kPanel)
    kernels.pack_words(reinterpret_cast<const std::uint32_t*>(from + first * stride), stride / group,
                       std::min(kPanel, length - first), head_size / group, reinterpret_cast<std::uint32_t*>(out));
}

void pack_values(const Kernels&, const float* from, Index stride, Index length, Index head_size, float* out) {
  pack(from, stride, 1, length, head_size, out);
}

void pack_values(const Kernels& kernels, const bf16* from, Index stride, Index length, Index head_size, bf16* out) {
  for (Index column = 0; column < head_size; column += kPanel)
    for (Index k = 0; k < length; k += 2, out += 2 * kPanel) {
      const bf16* even = from + k * stride + column;
      kernels.pack_pair(even, k + 1 < length ? even + stride : nullptr, std::min(kPanel, head_size - column), out);
    }
}

template <class T>
void attend(const Kernels& kernels, const Rows& qkv, Index start, Index length, Index head, Index head_size,
            const float* bias, const Rows& out, char* memory) {
  constexpr bool in_bf16 = sizeof(T) == sizeof(bf16);
  const Index block = query_block(kernels);
  const Scratch at(qkv.type, block, length, head_size);
  T* keys = reinterpret_cast<T*>(memory + at.keys);
  T* values = reinterpret_cast<T*>(memory + at.values);
  float* scores = reinterpret_cast<float*>(memory + at.scores);
  float* inverse = reinterpret_cast<float*>(memory + at.inverse);
  bf16* low = in_bf16 ? reinterpret_cast<bf16*>(memory + at.low) : nullptr;
  const T* q = static_cast<const T*>(qkv.at(start, head * 3 * head_size));
  pack_keys(kernels, q + head_size, qkv.stride, length, head_size, keys);
  pack_values(kernels, q + 2 * head_size, qkv.stride, length, head_size, values);
  const auto gemm = in_bf16 ? kernels.gemm_bf16 : kernels.gemm_f32;

  Gemm product{};  // queries by keys
  product.caches = kernels.caches;
  product.a_stride = qkv.stride;
  product.panels = keys;
  product.columns = round_up(length, kPanel);  // whole panels: the keys past the length are zeros and not read again
  product.depth = head_size;
  product.residual_stride = -1;
  product.out = scores;
  product.out_stride = at.stride;

  Gemm mixture{};  // weights by values
  mixture.caches = kernels.caches;
  mixture.a = in_bf16 ? static_cast<const void*>(low) : scores;
  mixture.a_stride = in_bf16 ? at.low_stride : at.stride;
  mixture.panels = values;
  mixture.columns = head_size;
  mixture.depth = length;
  mixture.row_factors = inverse;
  mixture.out_stride = out.stride;
  mixture.out_is_bf16 = out.type == Type::bfloat16;

  for (Index first = 0; first < length; first += block) {
    product.rows = mixture.rows = std::min(block, length - first);
    product.a = q + first * qkv.stride;
    product.residual = bias ? bias - first : nullptr;
    gemm(product);
    kernels.softmax(scores, at.stride, product.rows, length, low, at.low_stride, inverse);
    mixture.out = out.at(start + first, head * head_size);
    gemm(mixture);
  }
}

}  // namespace

bool attends_heads(const Kernels& kernels, Type type, Index head_size) {
  return type == Type::bfloat16 && kernels.attend && head_size % kPanel == 0;
}

void attend_head(const Kernels& kernels, const Index* offsets, Index sequences, Index head_size, const Rows& qkv,
                 const float* bias, const Rows& out, char* scratch) {
  for (Index s = 0; s < sequences; ++s) {
    const Index start = offsets[s] - offsets[0], length = offsets[s + 1] - offsets[s];
    if (length > 0)
      kernels.attend({qkv.halves(start), qkv.stride, length, head_size, out.row(start), out.stride,
                      out.type == Type::bfloat16, bias, scratch});
  }
}

Index attention_scratch(const Kernels& kernels, Type type, Index longest, Index head_size) {
  if (attends_heads(kernels, type, head_size)) return round_up(kernels.attend_scratch(longest, head_size), kLine);
  return Scratch(type, query_block(kernels), longest, head_size).bytes;
}

void attention(const Kernels& kernels, const Team& team, const Index* offsets, Index sequences, Index heads,
               Index head_size, const Rows& qkv, const DistanceBias& bias, const Rows& out, char* scratch,
               Index scratch_of_a_thread) {
  double work = 0;
  for (Index s = 0; s < sequences; ++s) {
    const double length = static_cast<double>(offsets[s + 1] - offsets[s]);
    work += 2 * length * length * static_cast<double>(heads * head_size);
  }
  team.loop(sequences * heads, work, [&](Index task, int thread) {
    const Index* at = offsets + task / heads;
    const Index start = at[0] - offsets[0], length = at[1] - at[0];
    if (length == 0) return;
    const Index head = task % heads;
    char* const own = scratch + thread * scratch_of_a_thread;
    if (attends_heads(kernels, qkv.type, head_size))
      return attend_head(kernels, at, 1, head_size, qkv.from(start, head * 3 * head_size), bias.of(head),
                         out.from(start, head * head_size), own);
    const auto one = qkv.type == Type::bfloat16 ? attend<bf16> : attend<float>;
    one(kernels, qkv, start, length, head, head_size, bias.of(head), out, own);
  });
}

}  // namespace bertpass::native
