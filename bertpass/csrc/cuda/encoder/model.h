// A model on a device: weights, products and heads. Nothing in it changes in a forward, so that any number of contexts in
// any number of threads share it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda/encoder/weights.h"

namespace bertpass::cuda {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0, multiprocessors = 0;
  std::size_t memory = 0;
  int driver = 0, runtime = 0;  // as CUDA counts: 1000 major + 10 minor
};

// CudaError where there is no such device or no driver.
DeviceInfo device_info(int device);

struct ModelOptions {
  Dtype dtype = Dtype::float16;
  int device = 0;
  bool exact_gelu = false;
  bool measure = true;       // algorithms of the matrix products, see Algorithms
  std::string measurements;  // their file; empty keeps them in memory
  std::string cublaslt;      // path of the library, or empty
};

// How much a forward may take: rows, and tokens of all rows, padding included.
struct Limits {
  int sequences = 0, tokens = 0;
};

class Model {
 public:
  // Throws WeightError where the weights do not fit, and CudaError where the device cannot compute this model: no such
  // device, a head size or width that its kernels do not have, bfloat16 below compute capability 8.0, no memory.
  Model(const ModelConfig& config, const ModelOptions& options, const HostTensors& tensors);

  const ModelConfig& config() const { return config_; }
  const ModelOptions& options() const { return options_; }
  const DeviceInfo& device() const { return device_; }
  const Widths& widths() const { return widths_; }
  const Weights& weights() const { return *weights_; }
  Gemm& gemm() const { return *gemm_; }

  // Embeddings and all layers; the states are in memory.states afterwards.
  void encode(const Bucket& bucket, const Activations& memory, cudaStream_t stream) const;

  // Shapes of the outputs for a batch padded to `length`.
  std::vector<std::vector<std::int64_t>> output_shapes(std::int64_t sequences, std::int64_t length) const {
    return native::output_shapes(head_.outputs, sequences, length);
  }

  // outputs: device memory of output_shapes(), float32, every element is written. between: (2, sequences, units) float32.
  void head(const Bucket& bucket, const void* states, int sequences, int length, float* const* outputs, float* between,
            cudaStream_t stream) const;

 private:
  ModelConfig config_;
  ModelOptions options_;
  HeadLayout head_;
  DeviceInfo device_;
  Widths widths_;
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Gemm> gemm_;
  int projection_ = -1;  // number of its product; -1: none
  std::vector<Layer> layers_;
};

}  // namespace bertpass::cuda
