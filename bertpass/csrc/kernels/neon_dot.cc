// The kernels for NEON with dot products of bytes; setup.py gives this file its compiler flags.
#include "kernels/kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "kernels/vector_neon.h"
//
#include "kernels/vectorised.h"  // needs Vector

namespace bertpass::native {
namespace {
constexpr Kernels kTable = table("neon_dot");
}
const Kernels* neon_dot_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* neon_dot_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
