// What only the twins have, for tests.
#include "cuda/twin/block.h"

extern "C" __attribute__((visibility("default"))) void bertpass_cuda_twin_reverse(int reverse) {
  bertpass::cuda::twin::reverse_order(reverse != 0);
}
