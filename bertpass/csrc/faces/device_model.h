// A model on a GPU for operators of other frameworks: a file of `bertpass pack --unpacked`, computed by
// libbertpass_cuda.so through its C interface (bertpass/include/bertpass_cuda.h), which is opened when the first model
// is loaded.
#pragma once

#include <bertpass_cuda.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace bertpass::faces {

// The text is a sentence.
struct FaceError : std::runtime_error {
  FaceError(bertpass_cuda_status status, const std::string& sentence)
      : std::runtime_error(sentence), status(status) {}
  bertpass_cuda_status status;
};

struct DeviceOptions {
  std::string file;
  std::string dtype = "float16";
  int device = 0;
  bool graphs = true;  // replay captured graphs; not where the caller captures the forward itself
};

// One batch as bertpass_cuda_forward takes it.
struct DeviceBatch {
  const std::int32_t *ids, *types, *lengths;
  std::int32_t rows, length;
  bool on_device;  // ids and types
};

class CudaLibrary;

// Safe in several threads at once. All functions throw FaceError.
class DeviceModel {
 public:
  // The model that is loaded with these options already, else a new one. Algorithms of matrix products are measured
  // where BERTPASS_CUDA_MEASUREMENTS names a file to keep them in; BERTPASS_CUBLASLT names libcublasLt.so.
  static std::shared_ptr<DeviceModel> shared(const DeviceOptions& options);

  explicit DeviceModel(const DeviceOptions& options);
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
  // A context that nobody uses, of at least this size.
  Context take(std::int32_t rows, std::int32_t tokens);

  const CudaLibrary& library_;
  const bool graphs_;
  bertpass_cuda_model* model_ = nullptr;
  bool twin_ = false;  // its memory is the host's
  std::mutex lock_;
  std::vector<Context> free_;
};

}  // namespace bertpass::faces
