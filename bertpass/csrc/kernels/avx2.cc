// The kernels for AVX2 and FMA; setup.py gives this file its compiler flags.
#include "kernels/kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include "kernels/vector_avx2.h"
//
#include "kernels/vectorised.h"  // needs Vector

namespace bertpass::native {
namespace {
constexpr Kernels kTable = table("avx2");
}
const Kernels* avx2_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
