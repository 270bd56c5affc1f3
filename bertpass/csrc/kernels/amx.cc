// The kernels for AVX-512 with AMX tiles of bfloat16 and of bytes; setup.py gives this file its compiler flags.
#include "kernels/kernels.h"

#if defined(__AVX512BF16__)
#include "kernels/amx_tiles.h"
#include "kernels/vector_avx512.h"
//
#include "kernels/vectorised.h"  // needs Vector
//
#include "kernels/amx_attention.h"  // needs Tiles and vectorised.h

namespace bertpass::native {
namespace {
constexpr Kernels kTable = amx_table("amx");
}
const Kernels* amx_kernels() { return &kTable; }
}  // namespace bertpass::native
#else
namespace bertpass::native {
const Kernels* amx_kernels() { return nullptr; }
}  // namespace bertpass::native
#endif
