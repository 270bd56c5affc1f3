// The two forms of attention: on tensor cores, and in float32.
#pragma once

#include "cuda/device/device.h"
#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

constexpr int kTensorQueries = 64, kPlainQueries = 16;

// As `attend`, in float32 throughout; size a multiple of 32 up to 128.
void attend_plain(const Batch* batch, const Tile* tiles, int most_tiles, const float* qkv, int heads, int size,
                  const AttentionForm& form, float* out, cudaStream_t stream);

// Which keys a tile's queries attend to, and what is added to their scores; kPlain: all keys, and nothing. Within the
// kernels of both types.
template <bool kPlain>
struct Distances {
  const float* bias = nullptr;  // of this head, or null
  int window = 0, length = 0;

  BP_DEVICE Distances(const AttentionForm& form, int head, int length)
      : bias(kPlain || !form.bias ? nullptr : form.bias + static_cast<std::int64_t>(head) * form.stride),
        window(kPlain ? 0 : form.window),
        length(length) {}

  // The keys that queries first to last attend to are among begin to end - 1.
  BP_DEVICE int begin(int first) const { return window && first > window ? first - window : 0; }
  BP_DEVICE int end(int last) const { return window && last + window + 1 < length ? last + window + 1 : length; }

  // The score with the bias, minus infinity for a key that the query does not attend to. Queries past the sequence's end
  // are its last one.
  BP_DEVICE float score(float product, int query, int key) const {
    if (key >= length) return -INFINITY;
    if (kPlain) return product;
    const int distance = key - (query < length ? query : length - 1);
    if (window && (distance > window || -distance > window)) return -INFINITY;
    return bias ? product + bias[distance] : product;
  }

  // What is taken off the scores of a query whose largest so far is `top`: with a window there may be none yet.
  BP_DEVICE static float taken(float top) { return !kPlain && top == -INFINITY ? 0.0f : top; }
};

}  // namespace bertpass::cuda
