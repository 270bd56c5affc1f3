#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

  Index to_stride;           // of the next two
  Index to_distance;         // (queries, rows of the distances that occur): queries by the distances as keys
  Index from_distance;       // (length, the same): keys by the distances as queries

  Scratch(Type type, Index queries, Index length, Index head_size, Index distances)
      : stride(stride_of(round_up(length, kPanel), sizeof(float))),
        low_stride(stride_of(length, sizeof(bf16))),
        keys(take(packed_size(head_size, length, type) * size_of(type))),
        values(take(packed_size(length, head_size, type) * size_of(type))),
        scores(take(queries * stride * static_cast<Index>(sizeof(float)))),
        inverse(take(queries * static_cast<Index>(sizeof(float)))),
        low(take(type == Type::bfloat16 ? queries * low_stride * static_cast<Index>(sizeof(bf16)) : 0)),
        to_stride(distances ? stride_of(std::min(round_up(distances, kPanel), round_up(2 * length + kPanel, kPanel)),
                                        sizeof(float))
                            : 0),
        to_distance(take(queries * to_stride * static_cast<Index>(sizeof(float)))),
        from_distance(take(length * to_stride * static_cast<Index>(sizeof(float)))) {}

 private:
  Index take(Index size) {
    const Index here = bytes;
    bytes += round_up(size, kLine);
    return here;
  }
};

// Queries that are taken at once: more of them read keys and values less often, fewer keep the scores near. One core of
// Zen 3, float32, heads of 64, sequences of 512, 2048 and 8192 tokens, GFLOP/s of at most 94:
//   8 queries 43 to 59, 50, 62;  24: 45 to 52, 60, 65;  48: 65, 68, 69;  96: 52 to 65, 68, 68
// With 16 to 384 tokens, and with a window, 8 to 48 were equal within the noise.
Index query_block(const Kernels& kernels) { return std::max<Index>(48, 2 * kernels.tile); }

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

// Queries and keys of one sequence, in place.
void turn(const Kernels& kernels, const Rows& qkv, Index length, Index head_size, const Rotary& rotary) {
  for (Index row = 0; row < length; ++row)
    for (const Index column : {Index{0}, head_size}) {
      const float *cosines = rotary.cosines + row * rotary.half, *sines = rotary.sines + row * rotary.half;
      if (qkv.type == Type::bfloat16)
        kernels.rotate_bf16(qkv.halves(row) + column, cosines, sines, rotary.half);
      else
        kernels.rotate(qkv.floats(row) + column, cosines, sines, rotary.half);
    }
}

// Columns `first` to `end` - 1 of a row of `count` scores stay; the others count for nothing.
void keep_only(float* scores, Index first, Index end, Index count) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  std::fill(scores, scores + first, kNothing);
  std::fill(scores + end, scores + count, kNothing);
}

// The distances that occur in a sequence: their panels of a head, and the scores that they are added to.
struct Distances {
  const char *keys = nullptr, *queries = nullptr;
  Index columns = 0;

  Distances(const RelativeKeys* relative, Index length, Index head, Index head_size, Type type) {
    if (!relative) return;
    row_ = relative->row;
    const Index panel = row_[length - 1] / kPanel;  // rows fall from the first distance to the last
    base_ = panel * kPanel;
    columns = row_[1 - length] + 1 - base_;
    const Index place = head * relative->head_bytes + panel * packed_size(head_size, kPanel, type) * size_of(type);
    keys = relative->keys + place;
    queries = relative->queries + place;
  }

  // scores (rows, keys) of the queries from `first` on; to: (rows, columns), from: (keys, columns).
  void add(const float* to, const float* from, Index stride, Index first, Index rows, Index keys, float* scores,
           Index scores_stride) const {
    const float factor = 1 / std::sqrt(3.0f);
    for (Index i = 0; i < rows; ++i) {
      const float* const own = to + i * stride;
      const std::int32_t* const row = row_ - (first + i);
      float* const score = scores + i * scores_stride;
      for (Index j = 0; j < keys; ++j)
        score[j] = (score[j] + own[row[j] - base_] + from[j * stride + row[j] - base_]) * factor;
    }
  }

 private:
  const std::int32_t* row_ = nullptr;
  Index base_ = 0;
};

// One head of one sequence, of whose tokens the first `seen` are attended to. Queries are taken a few at a time, over
// the keys from the first panel on that one of them attends to: where each block begins follows from its place in the
// sequence alone.
template <class T>
void attend(const Kernels& kernels, const Rows& qkv, Index length, Index seen, Index head, Index head_size,
            const AttentionForm& form, const Rows& out, char* memory) {
  constexpr bool in_bf16 = sizeof(T) == sizeof(bf16);
  const Index block = query_block(kernels), window = form.window;
  const float* const bias = form.bias.of(head);
  const RelativeKeys* const relative = form.relative;
  const Scratch at(qkv.type, block, length, head_size, relative ? relative->rows : 0);
  T* keys = reinterpret_cast<T*>(memory + at.keys);
  T* values = reinterpret_cast<T*>(memory + at.values);
  float* scores = reinterpret_cast<float*>(memory + at.scores);
  float* inverse = reinterpret_cast<float*>(memory + at.inverse);
  bf16* low = in_bf16 ? reinterpret_cast<bf16*>(memory + at.low) : nullptr;
  const T* q = static_cast<const T*>(qkv.data);
  pack_keys(kernels, q + head_size, qkv.stride, seen, head_size, keys);
  pack_values(kernels, q + 2 * head_size, qkv.stride, seen, head_size, values);
  const auto gemm = in_bf16 ? kernels.gemm_bf16 : kernels.gemm_f32;
  const Index panel_of_keys = packed_size(head_size, kPanel, qkv.type);
  const Index panel_of_values = packed_size(seen, kPanel, qkv.type);

  Gemm product{};  // queries by keys
  product.caches = kernels.caches;
  product.a_stride = qkv.stride;
  product.depth = head_size;
  product.residual_stride = -1;
  product.out = scores;
  product.out_stride = at.stride;

  const Distances distances(relative, length, head, head_size, qkv.type);
  Gemm to_distance = product, from_distance = product;  // queries by distances, keys by distances
  if (relative) {
    to_distance.panels = distances.keys;
    from_distance.panels = distances.queries;
    to_distance.columns = from_distance.columns = distances.columns;
    to_distance.out = memory + at.to_distance;
    to_distance.out_stride = from_distance.out_stride = at.to_stride;
    for (Index first = 0; first < length; first += block) {
      from_distance.rows = std::min(block, length - first);
      from_distance.a = q + head_size + first * qkv.stride;
      from_distance.out = reinterpret_cast<float*>(memory + at.from_distance) + first * at.to_stride;
      gemm(from_distance);
    }
  }

  Gemm mixture{};  // weights by values
  mixture.caches = kernels.caches;
  mixture.a = in_bf16 ? static_cast<const void*>(low) : scores;
  mixture.a_stride = in_bf16 ? at.low_stride : at.stride;
  mixture.row_factors = inverse;
  mixture.out_stride = out.stride;
  mixture.out_is_bf16 = out.type == Type::bfloat16;

  for (Index first = 0; first < length; first += block) {
    const Index rows = std::min(block, length - first);
    const Index from = window ? std::max<Index>(0, first - window) / kPanel * kPanel : 0;
    const Index count = (window ? std::min(seen, first + rows + window) : seen) - from;
    product.rows = mixture.rows = rows;
    product.a = q + first * qkv.stride;
    product.panels = keys + from / kPanel * panel_of_keys;
    product.columns = round_up(count, kPanel);  // whole panels: the keys past the last are zeros and not read again
    product.residual = bias ? bias + from - first : nullptr;
    gemm(product);
    if (relative) {
      to_distance.rows = rows;
      to_distance.a = product.a;
      gemm(to_distance);
      distances.add(static_cast<float*>(to_distance.out), reinterpret_cast<float*>(memory + at.from_distance),
                    at.to_stride, first, rows, count, scores, at.stride);
    }
    for (Index row = 0; window && row < rows; ++row) {
      const Index place = first + row - from;  // of the query, among the keys
      keep_only(scores + row * at.stride, std::max<Index>(0, place - window), std::min(count, place + window + 1),
                count);
    }
    kernels.softmax(scores, at.stride, rows, count, low, at.low_stride, inverse);
    mixture.depth = count;
    // Panels of values are as long as the sequence: one at a time where only a part of their depth is read.
    const Index step = window ? kPanel : head_size;
    for (Index column = 0; column < head_size; column += step) {
      mixture.panels = values + column / kPanel * panel_of_values + from * kPanel;
      mixture.columns = std::min(step, head_size - column);
      mixture.out = out.at(first, column);
      gemm(mixture);
    }
  }
}

}  // namespace

bool attends_heads(const Kernels& kernels, Type type, Index head_size) {
  return type == Type::bfloat16 && kernels.attend && head_size % kPanel == 0;
}

void attend_head(const Kernels& kernels, const Index* offsets, Index sequences, Index head, Index head_size,
                 const Rows& qkv, const AttentionForm& form, const Rows& out, char* scratch) {
  for (Index s = 0; s < sequences; ++s) {
    const Index start = offsets[s] - offsets[0], length = offsets[s + 1] - offsets[s];
    if (length == 0) continue;
    const Rows own = qkv.from(start, 0), to = out.from(start, 0);
    if (form.rotary.half) turn(kernels, own, length, head_size, form.rotary);
    const Index seen = form.keys ? form.keys[s] : length;
    if (attends_heads(kernels, qkv.type, head_size) && !form.window && !form.relative && seen == length) {
      kernels.attend({own.halves(), own.stride, length, head_size, to.data, to.stride, to.type == Type::bfloat16,
                      form.bias.of(head), scratch});
      continue;
    }
    const auto one = qkv.type == Type::bfloat16 ? attend<bf16> : attend<float>;
    one(kernels, own, length, seen, head, head_size, form, to, scratch);
  }
}

Index attention_scratch(const Kernels& kernels, Type type, Index longest, Index head_size, bool window,
                        Index distances) {
  Index most = 0;
  const bool heads = attends_heads(kernels, type, head_size);
  if (heads) most = round_up(kernels.attend_scratch(longest, head_size), kLine);
  if (!heads || window || distances)
    most = std::max(most, Scratch(type, query_block(kernels), longest, head_size, distances).bytes);
  return most;
}

void attention(const Kernels& kernels, const Team& team, const Index* offsets, Index sequences, Index heads,
               Index head_size, const Rows& qkv, const AttentionForm& form, const Rows& out, char* scratch,
               Index scratch_of_a_thread) {
  double work = 0;
  for (Index s = 0; s < sequences; ++s) {
    const double length = static_cast<double>(offsets[s + 1] - offsets[s]);
    work += 2 * length * length * static_cast<double>(heads * head_size);
  }
  team.loop(sequences * heads, work, [&](Index task, int thread) {
    const Index* at = offsets + task / heads;
    const Index start = at[0] - offsets[0], head = task % heads;
    AttentionForm of_one = form;
    if (form.keys) of_one.keys += task / heads;
    attend_head(kernels, at, 1, head, head_size, qkv.from(start, head * 3 * head_size), of_one,
                out.from(start, head * head_size), scratch + thread * scratch_of_a_thread);
  });
}

}  // namespace bertpass::native
