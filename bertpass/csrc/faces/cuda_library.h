// libbertpass_cuda.so (bertpass/include/bertpass_cuda.h), opened when its functions are first needed.
#pragma once

#include <bertpass_cuda.h>

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

// An environment variable, empty where it is not set.
std::string variable(const char* name);

// The library that BERTPASS_CUDA names, else the one beside the library that this code is part of.
class CudaLibrary {
 public:
  // Throws FaceError where it is not there, does not load or is of another version; the next call tries again.
  static const CudaLibrary& open();

  // Whether there is a file to be opened.
  static bool is_there();

  // Throws FaceError with the library's own sentence for any status but BERTPASS_CUDA_OK.
  void need(bertpass_cuda_status status) const;

  // Device memory on the host, after what is on the stream; waits once. Throws FaceError.
  void fetch(const std::vector<bertpass_cuda_copy>& copies, int device, void* stream) const;

  decltype(&bertpass_cuda_load) load;
  decltype(&bertpass_cuda_free) free;
  decltype(&bertpass_cuda_output_shapes) output_shapes;
  decltype(&bertpass_cuda_context_create) context_create;
  decltype(&bertpass_cuda_context_free) context_free;
  decltype(&bertpass_cuda_forward) forward;

 private:
  CudaLibrary();

  template <class Function>
  void find(const char* name, Function& function) const;

  std::string path_;
  void* handle_ = nullptr;  // open until the process ends
  decltype(&bertpass_cuda_error) error_ = nullptr;
  decltype(&bertpass_cuda_fetch) fetch_ = nullptr;
};

}  // namespace bertpass::faces
