// What operators.cc needs to know of an operator to give it to MXNet.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "mxnet_abi/abi.h"

namespace bertpass::abi {

using Attributes = std::map<std::string, std::string>;

inline constexpr int kUnknownType = -1;

// One call on dense arrays, in the memory of the device that it is for. For a gradient the inputs are the gradients of the
// outputs, then the inputs, then the outputs, and the outputs are the gradients of the inputs. MXNet does not tell an
// operator of a library that it is to add to what is there: the outputs are always written over, so a graph has to have an
// operator of MXNet's own (identity) where gradients are added up.
struct Call {
  const Attributes& attributes;
  const std::int64_t* const* shapes;  // of the inputs
  void* const* inputs;
  const int* types;  // of the inputs
  void* const* outputs;
  int device;    // number of the GPU
  void* stream;  // its cudaStream_t; null on a CPU

  const float* floats(int input) const { return static_cast<const float*>(inputs[input]); }
  const std::int32_t* integers(int input) const { return static_cast<const std::int32_t*>(inputs[input]); }
  float* out(int output) const { return static_cast<float*>(outputs[output]); }
};

struct Signature {
  std::vector<Shape> inputs, outputs;
};

// The functions throw std::exception with a sentence; MXNet hands its text on.
struct Operator {
  const char* name;
  int (*inputs)(const Attributes&);
  int outputs;  // all of them float32
  // All shapes, from those of the inputs; an empty one is not known.
  Signature (*shapes)(const Attributes&, const std::vector<Shape>& inputs);
  // Writes the types that inputs have to have over kUnknownType and refuses others.
  void (*types)(const Attributes&, int* inputs, int count);
  void (*forward)(const Call&);
  void (*gpu_forward)(const Call&);  // null where there is none; starts the work on the stream and returns
  void (*backward)(const Call&);
};

extern const Operator kEncoder;         // encoder.cc, with its forward on a GPU:
void encoder_gpu_forward(const Call&);  // encoder_gpu.cc
extern const Operator kTrainAttention;  // training.cc
extern const Operator kTrainSumNorm;

// Refuses an input that is not of `type`, and settles one that is not known yet.
void need_type(const char* name, int& input, int type);

}  // namespace bertpass::abi
