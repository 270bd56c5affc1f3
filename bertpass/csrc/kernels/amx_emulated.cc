// The code of the AMX kernels on emulated tiles, with AVX2 for the rest: for tests, on processors without AMX.
#include "kernels/kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include "kernels/amx_tiles_emulated.h"
#include "kernels/vector_avx2.h"
//
#include "kernels/vectorised.h"  // needs Vector
//
#include "kernels/amx_attention.h"  // needs Tiles and vectorised.h

namespace bertpass::native {
namespace {
constexpr Kernels kTable = amx_table("amx_emulated");
}
const Kernels* amx_emulated_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* amx_emulated_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
