// The one source of the vectorised kernels: included once per instruction set, after a header that defines Vector.
// portable.cc says what each computes. Everything here has internal linkage (see kernels.h).
#pragma once

#include "kernels/kernels.h"
#include "kernels/vector_functions.h"
#include "kernels/vector_products.h"
#include "kernels/vector_rows.h"
//
#include "kernels/training.h"  // takes functions from these

namespace bertpass::native {
namespace {

constexpr Kernels table(const char* name) {
  return {name, kTile, 0.25, Vector::fast_bf16,
          gemm<Floats>, gemm<Halves>, gemm<Bytes>,
          pack_words, pack_pair, softmax, layer_norm, quantize<float>, quantize<bf16>, add, mean, normalize,
          rotate<float>, rotate<bf16>,
          drop, attention_weights, attention_gradient, layer_norm_gradient, bert_adam, nullptr, nullptr, {}};
}

}  // namespace
}  // namespace bertpass::native
