// The kernels for AVX-512 with bfloat16 products; setup.py gives this file its compiler flags.
#include "kernels/kernels.h"

#if defined(__AVX512BF16__)
#include "kernels/vector_avx512.h"
//
#include "kernels/vectorised.h"  // needs Vector

namespace bertpass::native {
namespace {
constexpr Kernels kTable = table("avx512_bf16");
}
const Kernels* avx512_bf16_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* avx512_bf16_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
