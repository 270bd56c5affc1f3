// Device memory on the host, for callers whose inputs are on the device.
#pragma once

#include <cstddef>
#include <vector>

#include "cuda/device/runtime.h"

namespace bertpass::cuda {

struct Copy {
  void* to;          // on the host
  const void* from;  // on the device
  std::size_t bytes;
};

// Copies after what is on the stream, and waits for all of it once. Throws CudaError.
void fetch(const std::vector<Copy>& copies, int device, cudaStream_t stream);

}  // namespace bertpass::cuda
