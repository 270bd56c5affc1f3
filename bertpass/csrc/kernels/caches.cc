#include "kernels/caches.h"

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace bertpass::native {

#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
namespace {

// What the system says of a cache, in bytes; `otherwise` where that is nothing or cannot be one core's cache.
Index told(int name, Index least, Index most, Index otherwise) {
  const Index bytes = sysconf(name);
  return bytes >= least && bytes <= most ? bytes : otherwise;
}

}  // namespace
#endif

Caches caches_of_processor() {
  Caches found;
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
  constexpr Index kKiB = 1024, kMiB = 1024 * kKiB;
  found.first = told(_SC_LEVEL1_DCACHE_SIZE, 8 * kKiB, kMiB, found.first);
  found.second = told(_SC_LEVEL2_CACHE_SIZE, 2 * found.first, 64 * kMiB, found.second);
#endif
  return found;
}

}  // namespace bertpass::native
