// The contract of the kernels: what each instruction set has to provide. The loops of portable.cc say what is computed;
// vectorised.h is the same once more in vectors. No kernel allocates, starts threads or throws.
//
// A file of an instruction set is compiled with flags that other processors cannot run, so nothing in it may have
// external linkage but its table: it includes no header with inline functions that the linker could share.
#pragma once

#include <cstdint>

namespace bertpass::native {

using Index = std::int64_t;
using bf16 = std::uint16_t;  // the upper half of a float, rounded to nearest even

// gelu_coarse is gelu within 1e-4, for results that are rounded to bfloat16 or bytes. silu is x / (1 + exp(-x)).
enum class Activation { none, gelu, gelu_tanh, relu, tanh, gelu_coarse, silu };

// For gelu_coarse: the normal distribution's function is about 1/2 + x p(x^2) on [-kPhiEnd, kPhiEnd]. p is the one for
// which the largest error of x times it is least and which gives no more than zero at the lower end; fitted by us.
constexpr float kPhiEnd = 4.25f;
constexpr float kPhi[8] = {0.398410618f,   -0.0654382929f,  0.00924968906f,  -0.000938415353f,
                           6.52587405e-05f, -2.91951642e-06f, 7.49957394e-08f, -8.3544921e-10f};

// Columns of a packed panel. The same for every instruction set, so that packed weights can move between processors.
constexpr Index kPanel = 32;

// The data caches of one core, in bytes. Sizes of blocks follow from them; the bits of a result never do. The defaults
// are the least that servers with AVX2 have.
struct Caches {
  Index first = 32 * 1024, second = 512 * 1024;
};

// How a row of unsigned bytes stands for numbers: scale (u - zero).
struct RowScale {
  float scale;
  std::int32_t zero;
};

// out = activation(a b + bias) + residual, for a of (rows, depth) and b of (depth, columns). Where it is gated, a panel
// gives half as many columns: those of its first half activated, times those of its second half; all panels are whole,
// there is no residual, and out has columns / 2.
//
// b is packed into panels of kPanel columns, the last one filled up with zeros, the depth filled up with zeros to whole
// groups. Element (k, j) of a panel is at (k / group * kPanel + j) * group + k % group, with groups of
//   float32 1, bfloat16 2, int8 4.
// float32 and bfloat16: the sum over the depth runs in float32 and in the same order for every row, however many rows
// there are. int8: a holds unsigned bytes with a scale and a zero point per row, b signed bytes with a scale per column;
// the sum is exact. The bytes of b make pairs (elements k and k + 1 of a column, k even) whose sums are at most 128,
// either sign: two products with them fit into 16 bits. Reads a up to the end of the last group, which may lie past the
// depth.
struct Gemm {
  const void* a;  // float, bf16 or std::uint8_t, as the kernel's name says
  Index a_stride;  // from row to row, in elements; so are all strides
  const void* panels;
  Index rows, columns, depth;
  const RowScale* row_scales;        // int8: (rows)
  const float* column_scales;        // int8: (columns)
  const std::int32_t* column_sums;   // int8: (columns), of b
  const float* row_factors;  // (rows), what the sums are multiplied by before the bias; or null
  const float* bias;         // (columns), or null
  const float* residual;     // (rows, columns), or null; may be out
  Index residual_stride;     // -1: element (i, j) is that at j - i, a bias by distance
  Activation activation;
  bool gated;
  void* out;
  Index out_stride;
  bool out_is_bf16;
  const void* next;  // panels that are read after these, for a kernel that fetches ahead; or null
  Caches caches;
};

// Which elements dropout keeps: those whose bits(counter), a number that looks random, are at least `limit`; they are
// multiplied by `scale`, the others by zero. The bits are Wellons' hash "lowbias32" (nullprogram.com, "Prospecting for
// Hash Functions") with a second key between its rounds: nothing is stored, and the gradient sees the same elements.
constexpr std::uint32_t kMixFirst = 0x7feb352d, kMixSecond = 0x846ca68b;

struct Dropout {
  std::uint32_t first = 0, second = 0;  // the two keys
  std::int32_t limit = INT32_MIN;       // keeps all
  float scale = 1;                      // one over the share that is kept
};

// BERT's Adam: the optimiser of Devlin et al. 2018, which has no bias correction and decays weights beside the
// gradient.
struct BertAdam {
  float rate, decay, first, second, epsilon;  // first, second: how much of the averages is kept
  float gradient_scale;
};

// Attention of one head of one sequence in bfloat16: out = softmax(q k^T + bias) v. qkv: the first row's q, then k and
// v, of `size` elements each, a multiple of kPanel. bias: of query i and key j it is bias[j - i]; may be null, and is
// read up to kPanel elements after the last one.
struct Attend {
  const bf16* qkv;
  Index stride, length, size;
  void* out;
  Index out_stride;
  bool out_is_bf16;
  const float* bias;
  char* scratch;  // attend_scratch(length, size) bytes, on a cache line
};

struct Kernels {
  const char* name;
  Index tile;      // rows that the matrix product takes at once
  double reread;   // the part of the second-level cache that rows may fill which it reads again for each panel
  bool fast_bf16;  // products of bfloat16 are faster than those of float32
  void (*gemm_f32)(const Gemm&);
  void (*gemm_bf16)(const Gemm&);
  void (*gemm_i8)(const Gemm&);
  // One panel whose columns are `used` rows of 32-bit words (floats, or pairs of bfloat16): word w of row j goes to
  // out[w * kPanel + j]; zeros past the rows.
  void (*pack_words)(const std::uint32_t* rows, Index stride, Index used, Index words, std::uint32_t* out);
  // One group of a panel of bfloat16 from two rows of `used` columns, the second null past the end.
  void (*pack_pair)(const bf16* even, const bf16* odd, Index used, bf16* out);
  // Each row becomes exp(x - max), in place or in bfloat16 in `low` where given; what is too small for a normal float
  // is zero. inverse: one over the sum of each row.
  void (*softmax)(float* x, Index stride, Index rows, Index columns, bf16* low, Index low_stride, float* inverse);
  // out = (x - mean) / sqrt(variance + epsilon) * gamma + beta for one row; x may be out. low: its bfloat16, or null.
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float epsilon, Index columns, float* out,
                     bf16* low);
  // The row in unsigned bytes between its least and its largest element (and zero), once each element is multiplied by
  // its factor, where there are factors.
  RowScale (*quantize)(const float* x, const float* factors, Index columns, std::uint8_t* out);
  RowScale (*quantize_bf16)(const bf16* x, const float* factors, Index columns, std::uint8_t* out);
  // out = a + b + c, or a + b where c is null.
  void (*add)(const float* a, const float* b, const float* c, Index columns, float* out);
  // The mean over the rows.
  void (*mean)(const float* x, Index stride, Index rows, Index columns, float* out);
  // The row divided by its Euclidean length (at least 1e-12).
  void (*normalize)(float* x, Index columns);
  // Elements i and half + i of a row of 2 half, x and y, become x cosines[i] - y sines[i] and y cosines[i] + x sines[i].
  void (*rotate)(float* x, const float* cosines, const float* sines, Index half);
  void (*rotate_bf16)(bf16* x, const float* cosines, const float* sines, Index half);

  // For training (training.h). Element j of a row has the counter `counter` + j, or + j `step`.
  // out = dropout(x); x may be out.
  void (*drop)(const float* x, const Dropout& dropout, std::uint32_t counter, Index columns, float* out);
  // The row becomes dropout(softmax(x)). Returns the logarithm of the sum of exp(x).
  float (*attention_weights)(float* x, const Dropout& dropout, std::uint32_t counter, Index columns);
  // One key's row over the queries j. scores: in, of the key, already scaled; out, the weights after dropout. gradient:
  // in, of these weights; out, that of the unscaled scores, which goes to panels of `panel` elements each as well.
  // logarithms: what attention_weights gave for each query; shares: of each query, the product of its output and the
  // output's gradient.
  void (*attention_gradient)(float* scores, float* gradient, const float* logarithms, const float* shares, float scale,
                             const Dropout& dropout, std::uint32_t counter, std::uint32_t step, Index columns,
                             float* panels, Index panel);
  // The gradient of layer_norm's x for one row; those of gamma and beta are added to what is there.
  void (*layer_norm_gradient)(const float* x, const float* gamma, const float* gradient, float epsilon, Index columns,
                              float* out, float* gamma_gradient, float* beta_gradient);
  // One step of the weights; mean and square are the averages of gradients and of their squares.
  void (*bert_adam)(const BertAdam& adam, const float* gradient, Index count, float* weights, float* mean,
                    float* square);

  // Attention of whole heads, and the bytes of working memory that it needs; null where products do as well.
  void (*attend)(const Attend&);
  Index (*attend_scratch)(Index length, Index size);

  Caches caches;  // those of this processor, once select_kernels() has given the table
};

// The tables; null where the compiler did not target the instruction set (another processor family).
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* avx512_bf16_kernels();
const Kernels* amx_kernels();
const Kernels* amx_emulated_kernels();
const Kernels* neon_kernels();
const Kernels* neon_dot_kernels();
const Kernels* neon_bf16_kernels();

}  // namespace bertpass::native
