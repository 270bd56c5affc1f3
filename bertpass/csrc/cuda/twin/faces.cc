// What only the twins have, for tests.
#include "cuda/twin/block.h"
#include "cuda/twin/runtime.h"

#define BP_TWIN extern "C" __attribute__((visibility("default")))

namespace twin = bertpass::cuda::twin;

BP_TWIN void bertpass_cuda_twin_reverse(int reverse) { twin::reverse_order(reverse != 0); }

BP_TWIN void bertpass_cuda_twin_late(int late, int seed) { twin::run_late(late != 0, static_cast<unsigned>(seed)); }

BP_TWIN void bertpass_cuda_twin_fail(const char* function, int nth, int error) {
  twin::fail(function, nth, static_cast<cudaError_t>(error));
}

BP_TWIN void bertpass_cuda_twin_synchronize() { cudaDeviceSynchronize(); }

// Of a stream that a test may capture.
BP_TWIN void* bertpass_cuda_twin_stream() {
  cudaStream_t made = nullptr;
  cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
  return made;
}

BP_TWIN void bertpass_cuda_twin_capture(void* stream) {
  cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeGlobal);
}
