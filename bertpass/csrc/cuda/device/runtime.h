// The part of the CUDA runtime that the host code calls, and its errors as exceptions.
#pragma once

#include <stdexcept>
#include <string>

#ifdef BERTPASS_CUDA_TWIN
#include "cuda/twin/runtime.h"
#else
#include <cuda_runtime_api.h>
#endif

namespace bertpass::cuda {

// The device, its driver or a library on it failed or is not there; the text is a sentence.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// After such an error every later call of the process fails.
struct LostError : CudaError {
  using CudaError::CudaError;
};

inline bool is_lost(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable: return true;
    default: return false;
  }
}

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the runtime keeps it, and the next kernel's start would report it again
  const std::string said = std::string(what) + " failed: " + cudaGetErrorString(status) + ".";
  if (is_lost(status)) throw LostError(said);
  throw CudaError(said);
}

// Lets this thread allocate while another one captures in the global mode, whose capture that would break otherwise.
class OutsideCaptures {
 public:
  OutsideCaptures() { check(cudaThreadExchangeStreamCaptureMode(&mode_), "cudaThreadExchangeStreamCaptureMode"); }
  ~OutsideCaptures() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  OutsideCaptures(const OutsideCaptures&) = delete;
  OutsideCaptures& operator=(const OutsideCaptures&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;  // the thread's own one in between
};

// Makes a device the current one of this thread and gives back the former.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    if (before_ != device) check(cudaSetDevice(device), "cudaSetDevice");
    changed_ = before_ != device;
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

// Owners of what the runtime makes. They hold nothing until set.
template <class Handle, cudaError_t (*kDestroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_) kDestroy(handle_);
  }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using DeviceMemory = Owned<void*, cudaFree>;
using PinnedMemory = Owned<void*, cudaFreeHost>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using StreamOwner = Owned<cudaStream_t, cudaStreamDestroy>;
using GraphExec = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;

inline DeviceMemory device_memory(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), ("cudaMalloc of " + std::to_string(bytes) + " bytes").c_str());
  return DeviceMemory(memory);
}

inline PinnedMemory pinned_memory(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bytes), ("cudaMallocHost of " + std::to_string(bytes) + " bytes").c_str());
  return PinnedMemory(memory);
}

// flags: cudaEventDisableTiming for one that only orders.
inline Event event(unsigned flags) {
  cudaEvent_t made = nullptr;
  check(cudaEventCreateWithFlags(&made, flags), "cudaEventCreateWithFlags");
  return Event(made);
}

inline StreamOwner stream() {
  cudaStream_t made = nullptr;
  check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return StreamOwner(made);
}

}  // namespace bertpass::cuda
