// A model on a GPU for operators of other frameworks, computed by libbertpass_cuda.so.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "faces/cuda_library.h"

namespace bertpass::faces {

// One batch as bertpass_cuda_forward takes it.
struct DeviceBatch {
  const std::int32_t *ids, *types, *lengths;
  std::int32_t rows, length;
  bool on_device;  // ids and types
};

// Safe in several threads at once. All functions throw FaceError.
class DeviceModel {
 public:
  // The memory of the tensors and of the configuration's words is not needed afterwards. `measure`, `measurements` and
  // `cublaslt` of the configuration are set here: algorithms of matrix products are measured where
  // BERTPASS_CUDA_MEASUREMENTS names a file to keep them in; BERTPASS_CUBLASLT names libcublasLt.so. `graphs`: replay
  // captured graphs. A stream that is being captured is refused either way.
  DeviceModel(bertpass_cuda_config config, const std::vector<bertpass_cuda_tensor>& tensors, bool graphs);
  ~DeviceModel();
  DeviceModel(const DeviceModel&) = delete;
  DeviceModel& operator=(const DeviceModel&) = delete;

  std::vector<bertpass_cuda_shape> output_shapes(std::int32_t rows, std::int32_t length) const;

  // Starts the batch on the stream and returns. outputs: float32 memory of output_shapes() on the device.
  void forward(const DeviceBatch& batch, float* const* outputs, void* stream);

  // Numbers of the device on the host; waits for what is on the stream.
  std::vector<std::int32_t> read(const std::int32_t* data, std::int32_t count, void* stream) const;

 private:
  struct Context {
    bertpass_cuda_context* made;
    std::int32_t rows, tokens;
  };
  // A context that nobody uses, of at least this size: a new one, or the next that is given back where there are many.
  Context take(std::int32_t rows, std::int32_t tokens);

  const CudaLibrary& library_;
  const int device_;
  const bool graphs_;
  bertpass_cuda_model* model_ = nullptr;
  std::mutex lock_;
  std::condition_variable given_back_;
  std::vector<Context> free_;
  int made_ = 0;
};

}  // namespace bertpass::faces
