// One way to start a kernel, on a GPU and as its twin.
#pragma once

#include "cuda/device/device.h"
#include "cuda/device/runtime.h"

namespace bertpass::cuda {

struct Grid {
  int x = 1, y = 1;
  int threads = 32;
  int shared_bytes = 0;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, const char* name,
            Arguments... arguments) {
#ifdef BERTPASS_CUDA_TWIN
  twin::enqueue(stream, [=] {
    twin::run(grid.x, grid.y, grid.threads, grid.shared_bytes, [&] { kernel(arguments...); });
  });
#else
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
  kernel<<<blocks, static_cast<unsigned>(grid.threads), static_cast<std::size_t>(grid.shared_bytes), stream>>>(
      static_cast<Parameters>(arguments)...);
#endif
  check(cudaGetLastError(), name);
}

// Once for each kernel whose blocks take more shared memory than 48 KB, before its first launch.
template <class... Parameters>
void allow_shared(void (*kernel)(Parameters...), int bytes) {
  if (bytes > 48 << 10)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
          "cudaFuncSetAttribute");
}

}  // namespace bertpass::cuda
