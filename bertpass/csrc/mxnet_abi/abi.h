// The C ABI of MXNet's extension libraries, written down from lib_api.h of MXNet 1.7.0, 1.8.0 and 1.9.1, which agree on
// every function exported here. Nothing of MXNet is included or linked: the host calls these functions by name after
// dlopen, and they call it back only through pointers that it passes. One binary so serves all of these versions.
//
//   host.cc         which MXNet has loaded us, and the version number that it wants to hear
//   passes.cc       the graph passes
//   operators.cc    the custom operators of operator.h: encoder.cc has bertpass_encoder, encoder_gpu.cc its forward on a
//                   GPU, training.cc the operators of fine-tuning
//   waiting.cc      arrays are complete before a pass reads them
//   partitioners.cc subgraph partitioners: none
#pragma once

#include <cstddef>

#define BERTPASS_EXPORT extern "C" __attribute__((visibility("default")))

namespace bertpass::abi {

inline constexpr int kFail = 0;  // MXReturnValue
inline constexpr int kSuccess = 1;

// mshadow's type flags, those that are named here.
inline constexpr int kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kInt32 = 4, kInt64 = 6;

// Bytes of an element by its type flag: float32, float64, float16, uint8, int32, int8, int64, bool, int16, uint16, uint32,
// uint64, bfloat16; 0 for another one.
inline std::size_t item_size(int type) {
  constexpr std::size_t kSizes[] = {4, 8, 2, 1, 4, 1, 8, 1, 2, 2, 4, 8, 2};
  return type >= 0 && type < 13 ? kSizes[type] : 0;
}

// The version of the MXNet that is loaded in this process, as MXGetVersion gives it: 10901 for 1.9.1. 0 if none is.
int host_version();

// Whether that MXNet has an operator of this name.
bool host_has_operator(const char* name);

// A function of that MXNet's C interface, null where there is none.
void* host_symbol(const char* name);

// Has Symbol.optimize_for of the Python in this process, through which all of MXNet's Python interface applies passes, wait
// for its arrays; nothing where there is no Python. MXNet hands arrays that are still being copied to a pass as they are,
// and one that has no memory yet at times gets it twice, so a wait inside the pass comes too late.
void wait_in_python();

// Waits inside a pass, where wait_in_python() did nothing, until that MXNet has computed all that it was asked for: in the
// thread that asked for the pass, never in one of MXNet's engine. Throws PassError where an earlier operation failed.
void wait_in_pass();

}  // namespace bertpass::abi
