// The kernels for NEON, which every processor of ARMv8-A has.
#include "kernels/kernels.h"

#if defined(__aarch64__)
#include "kernels/vector_neon.h"
//
#include "kernels/vectorised.h"  // needs Vector

namespace bertpass::native {
namespace {
constexpr Kernels kTable = table("neon");
}
const Kernels* neon_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
