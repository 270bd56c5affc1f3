// The contract of the kernels: what each computes and how it is started. None allocates or waits; a launch that fails
// throws CudaError.
//
// Tokens are packed: the rows of a batch one after the other without padding, `offsets` (sequences + 1) says where each
// begins. What changes from batch to batch is in device memory, so that a captured graph serves every batch that fits:
// kernels of the encoder are started for `rows` tokens and leave those past batch->tokens alone.
#pragma once

#include <cstdint>

#include "cuda/device/runtime.h"
#include "schema/config.h"

namespace bertpass::cuda {

using native::Activation;
using native::Pooling;

// Of activations, weights and tables. Sums, softmax and normalisation are float32 in all of them.
enum class Dtype { float32, float16, bfloat16 };

inline int size_of(Dtype dtype) { return dtype == Dtype::float32 ? 4 : 2; }

// A batch as kernels see it.
struct Batch {
  const std::int32_t* ids;    // (sequences, length), padded
  const std::int32_t* types;  // the same, or null for 0 everywhere
  std::int32_t tokens, sequences, length, tiles;
};

// Some queries of one sequence, the work of a block of `attend`; the sequence's tokens are start to start + length.
struct Tile {
  std::int32_t start, length, first, unused;
};

struct Tables {
  const void* words = nullptr;      // (vocabulary, units)
  const void* positions = nullptr;  // (positions, units), or null
  const void* types = nullptr;      // (token_types, units), or null
  std::int32_t vocabulary = 0, token_types = 0;
};

// gamma and beta: float32 (units).
struct Norm {
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float epsilon = 1e-12f;
};

// Widths that every kernel takes: units a multiple of 8 up to kMostUnits.
constexpr int kMostUnits = 2048;

// out (rows, units) = the normalised sum of word, position and type. An id or type outside of its table is taken as the
// nearest one inside: the host checks what it can see.
void embed(Dtype dtype, const Batch* batch, const std::int32_t* offsets, const Tables& tables, const Norm& norm, int units,
           int rows, void* out, cudaStream_t stream);

// out = (x - mean) / sqrt(variance + epsilon) gamma + beta for each row, where batch is null for all rows; out may be x.
void layer_norm(Dtype dtype, const Batch* batch, const void* x, const Norm& norm, int units, int rows, void* out,
                cudaStream_t stream);

// x = activation(x), in place; columns a multiple of 8. Only GELU in both forms, ReLU and SiLU. gated: x has twice the
// columns, and its first half becomes activation(first half) (second half).
void activate(Dtype dtype, Activation activation, bool gated, const Batch* batch, void* x, int columns, int rows,
              cudaStream_t stream);

// Angles of rotary positions: cosines and sines, float32 (positions, size / 2); null where nothing is turned.
struct Angles {
  const float* cosines = nullptr;
  const float* sines = nullptr;
};

// Turns the queries and keys of qkv (rows, heads, 3, size) in place: element i and element i + size / 2 are a point, which
// is turned by the angle of its token's place in its sequence. size / 2 is a multiple of 8.
void rotate(Dtype dtype, const Batch* batch, const std::int32_t* offsets, void* qkv, int heads, int size,
            const Angles& angles, int rows, cudaStream_t stream);

// What a layer's attention is beside the plain one.
struct AttentionForm {
  // What is added to scores, times log2(e): bias[head * stride + key - query]. Null: nothing.
  const float* bias = nullptr;
  std::int32_t stride = 0;
  std::int32_t window = 0;  // how far on either side a token attends; 0: to all
};

// Attention of each head within each sequence, softmax(q k^T / sqrt(size) + bias) v. qkv (rows, heads, 3, size): a head's query,
// key and value stand side by side; out (rows, heads, size). `size` is 32, 64, 96 or 128. Started for `most_tiles` tiles,
// of which batch->tiles are there; a tile has queries_of_tile(dtype) queries, the last one of a sequence fewer.
// Probabilities are rounded to the type of the activations before they meet the values.
void attend(Dtype dtype, const Batch* batch, const Tile* tiles, int most_tiles, const void* qkv, int heads, int size,
            const AttentionForm& form, void* out, cudaStream_t stream);
int queries_of_tile(Dtype dtype);
bool attends(int size);
// Once before the first `attend` on a device.
void prepare_attention(Dtype dtype, int size);

// The heads, in float32 from states of any type. They are started for a batch's own sizes, not for a bucket's.

// out (sequences, length, units): the states, zeros past a sequence's end.
void unpack(Dtype dtype, const std::int32_t* offsets, const void* states, int sequences, int length, int units, float* out,
            cudaStream_t stream);

// out (sequences, units): the first token's state, or the mean over the tokens, of Euclidean length 1 where asked.
void pool(Dtype dtype, const std::int32_t* offsets, const void* states, int sequences, int units, Pooling pooling,
          bool normalize, float* out, cudaStream_t stream);

// out (sequences, length, columns) = states weight^T + bias, the bias past a sequence's end. weight: float32
// (columns, units).
void token_logits(Dtype dtype, const std::int32_t* offsets, const void* states, const float* weight, const float* bias,
                  int sequences, int length, int units, int columns, float* out, cudaStream_t stream);

// out (rows, columns) = activation(x weight^T + bias) in float32, x (rows, depth), weight (columns, depth). Only none,
// tanh, ReLU and GELU.
void dense(const float* x, const float* weight, const float* bias, int rows, int depth, int columns,
           Activation activation, float* out, cudaStream_t stream);

}  // namespace bertpass::cuda
