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

enum class Activation { none, gelu, gelu_tanh, relu, tanh };

// out = activation(a b + bias) + residual, for a of (rows, depth) and b of (depth, columns).
//
// b is packed into panels of Kernels::panel columns, the last one filled up with zeros. Element (k, j) of a panel is at
//   float32   k * panel + j
//   bfloat16  (k / 2 * panel + j) * 2 + k % 2, with a zero row after an odd depth: pairs along the depth
// The sum over the depth runs in float32 and in the same order for every row, however many rows there are.
struct Gemm {
  const void* a;  // float or bf16, as the kernel's name says
  Index a_stride;  // from row to row, in elements; so are all strides
  const void* panels;
  Index rows, columns, depth;
  const float* bias;      // (columns), or null
  const float* residual;  // (rows, columns), or null
  Index residual_stride;
  Activation activation;
  void* out;
  Index out_stride;
  bool out_is_bf16;
};

struct Kernels {
  const char* name;
  Index panel;  // columns of a packed panel
  Index tile;   // rows that the matrix product takes at once
  void (*gemm_f32)(const Gemm&);
  void (*gemm_bf16)(const Gemm&);
  // Each row becomes exp(x - max) / sum; what is too small for a normal float is zero.
  void (*softmax)(float* x, Index stride, Index rows, Index columns);
  // out = (x - mean) / sqrt(variance + epsilon) * gamma + beta for one row; x may be out. low: its bfloat16, or null.
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float epsilon, Index columns, float* out,
                     bf16* low);
  // out = a + b + c, or a + b where c is null.
  void (*add)(const float* a, const float* b, const float* c, Index columns, float* out);
  // The mean over the rows.
  void (*mean)(const float* x, Index stride, Index rows, Index columns, float* out);
  // The row divided by its Euclidean length (at least 1e-12).
  void (*normalize)(float* x, Index columns);
};

// The tables; null where the compiler did not target the instruction set (another processor family).
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* avx512_bf16_kernels();

}  // namespace bertpass::native
