// The kernels for AVX-512 (F, BW, DQ, VL); setup.py gives this file its compiler flags.
#include "kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "kernels/vector_avx512.h"
//
#include "kernels/vectorised.h"  // needs Vector

namespace bertpass::native {
namespace {
constexpr Kernels kTable = table("avx512");
}
const Kernels* avx512_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
