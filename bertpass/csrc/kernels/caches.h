// The cache sizes of this processor, found when they are asked for.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {

// As glibc has them from the processor (CPUID leaf 4, on AMD leaf 0x8000001D): no file is read, and it is the same in a
// container. The defaults of Caches where the system says nothing, or something that cannot be.
Caches caches_of_processor();

}  // namespace bertpass::native
