// The activation function of the feed-forward layer, where the matrix product's own epilogue does not have it.
#include <type_traits>

#include "cuda/kernels/dispatch.h"

namespace bertpass::cuda {
namespace {

constexpr int kThreads = 256;

struct Gelu {
  BP_DEVICE static float of(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
};
struct GeluTanh {
  BP_DEVICE static float of(float x) {
    return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
  }
};
struct Relu {
  BP_DEVICE static float of(float x) { return fmaxf(x, 0.0f); }
};

struct Silu {
  BP_DEVICE static float of(float x) { return x / (1.0f + expf(-x)); }
};

// A thread has eight numbers; the last blocks of a bucket may have nothing to do.
template <class T, class Function, bool kGated>
BP_KERNEL(kThreads)
activation_kernel(const Batch* batch, T* x, int columns) {
  std::int64_t at = (static_cast<std::int64_t>(block_x()) * kThreads + thread()) * 8;
  if (at >= static_cast<std::int64_t>(batch->tokens) * columns) return;
  if constexpr (kGated) at += at / columns * columns;  // rows are twice as wide
  float y[8];
  [[maybe_unused]] float factor[8];
  load8(x + at, y);
  if constexpr (kGated) load8(x + at + columns, factor);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    y[i] = Function::of(y[i]);
    if constexpr (kGated) y[i] *= factor[i];
  }
  store8(x + at, y);
}

}  // namespace

void activate(Dtype dtype, Activation activation, bool gated, const Batch* batch, void* x, int columns, int rows,
              cudaStream_t stream) {
  const std::int64_t groups = static_cast<std::int64_t>(rows) * columns / 8;
  const Grid grid{static_cast<int>((groups + kThreads - 1) / kThreads), 1, kThreads, 0};
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto start = [&](auto function) {
      using Function = decltype(function);
      launch(gated ? activation_kernel<T, Function, true> : activation_kernel<T, Function, false>, grid, stream,
             "activate", batch, static_cast<T*>(x), columns);
    };
    switch (activation) {
      case Activation::gelu: return start(Gelu{});
      case Activation::gelu_tanh: return start(GeluTanh{});
      case Activation::relu: return start(Relu{});
      case Activation::silu: return start(Silu{});
      default: throw CudaError("the CUDA engine has no kernel of this activation function.");
    }
  });
}

}  // namespace bertpass::cuda
