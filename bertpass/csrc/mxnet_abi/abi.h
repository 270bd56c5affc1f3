// The C ABI of MXNet's extension libraries, written down from lib_api.h of MXNet 1.7.0, 1.8.0 and 1.9.1, which agree on
// every function exported here. Nothing of MXNet is included or linked: the host calls these functions by name after
// dlopen, and they call it back only through pointers that it passes. One binary so serves all of these versions.
//
//   host.cc         which MXNet has loaded us, and the version number that it wants to hear
//   passes.cc       the graph passes
//   operators.cc    the custom operators of operator.h: encoder.cc has bertpass_encoder, training.cc those of fine-tuning
//   partitioners.cc subgraph partitioners: none
#pragma once

#define BERTPASS_EXPORT extern "C" __attribute__((visibility("default")))

namespace bertpass::abi {

inline constexpr int kFail = 0;  // MXReturnValue
inline constexpr int kSuccess = 1;

// The version of the MXNet that is loaded in this process, as MXGetVersion gives it: 10901 for 1.9.1. 0 if none is.
int host_version();

// Whether that MXNet has an operator of this name.
bool host_has_operator(const char* name);

}  // namespace bertpass::abi
