// The kernels for NEON with dot products of bytes and of bfloat16; setup.py gives this file its compiler flags.
#include "kernels/kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#include "kernels/vector_neon.h"
//
#include "kernels/vectorised.h"  // needs Vector

namespace bertpass::native {
namespace {
constexpr Kernels kTable = table("neon_bf16");
}
const Kernels* neon_bf16_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* neon_bf16_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
