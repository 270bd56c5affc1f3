// The one custom operator, bertpass_encoder. It has no state: its weights come in with every call.
//
// MXNet keeps the pointers that _opRegGet gives only to hand them back; what they point to says what is to be done.
#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "graph/error.h"
#include "mxnet_abi/abi.h"
#include "mxnet_abi/encoder.h"
#include "passes/encoder_operator.h"

namespace bertpass::abi {
namespace {

constexpr int kFloat32 = 0;  // of mshadow's type flags
constexpr int kUnknown = -1;

char forward_tag, backward_tag, other_tag;
const void* forward_functions[] = {&forward_tag};
const void* backward_functions[] = {&backward_tag};
const char* cpu_only[] = {"cpu"};

Attributes attributes_of(const char* const* keys, const char* const* values, int count) {
  Attributes attributes;
  for (int i = 0; i < count; ++i) attributes[keys[i]] = values[i];
  return attributes;
}

// Memory that the host gives back by _opCallFree.
template <class T>
T* allocate(std::size_t count) {
  void* memory = std::malloc(std::max<std::size_t>(1, count) * sizeof(T));
  if (!memory) throw std::bad_alloc();
  return static_cast<T*>(memory);
}

void write(const Shape& shape, unsigned*& sizes, int& dimensions) {
  dimensions = static_cast<int>(shape.size());
  sizes = allocate<unsigned>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) sizes[i] = static_cast<unsigned>(shape[i]);
}

}  // namespace
}  // namespace bertpass::abi

using namespace bertpass;
using namespace bertpass::abi;

// None where this process has the operator already, from a first loading of this library or from another copy of it:
// MXNet would refuse to take it a third time.
BERTPASS_EXPORT int _opRegSize() { return host_has_operator(kEncoderOperator) ? 0 : 1; }

// A gradient has to be there, or MXNet refuses to record and to hybridise the blocks around it; calling it is an error.
BERTPASS_EXPORT void _opRegGet(int, const char** name, int* is_subgraph_operator, const char*** forward_contexts,
                               const void*** forward, int* forward_count, const char*** backward_contexts,
                               const void*** backward, int* backward_count, const char*** state_contexts,
                               const void*** state, int* state_count, const void** parse_attributes,
                               const void** infer_type, const void** infer_storage, const void** infer_shape,
                               const void** mutate_inputs) {
  *name = kEncoderOperator;
  *is_subgraph_operator = 0;
  *forward_contexts = *backward_contexts = cpu_only;
  *forward = forward_functions;
  *backward = backward_functions;
  *forward_count = *backward_count = 1;
  *state_contexts = nullptr;
  *state = nullptr;
  *state_count = 0;
  *parse_attributes = *infer_type = *infer_shape = &other_tag;
  *infer_storage = *mutate_inputs = nullptr;  // dense arrays, and none of the inputs is written
}

// Frees what this library has allocated for the host.
BERTPASS_EXPORT void _opCallFree(void* pointer) { std::free(pointer); }

BERTPASS_EXPORT int _opCallParseAttrs(const void*, const char* const* keys, const char* const* values, int count,
                                      int* inputs, int* outputs) {
  *inputs = EncoderOperator::read(attributes_of(keys, values, count)).inputs();
  *outputs = 1;
  return kSuccess;
}

BERTPASS_EXPORT int _opCallInferShape(const void*, const char* const* keys, const char* const* values, int count,
                                      unsigned** in_sizes, int* in_dimensions, int inputs, unsigned*** new_in_sizes,
                                      int** new_in_dimensions, unsigned*** out_sizes, int** out_dimensions, int) {
  const EncoderOperator op = EncoderOperator::read(attributes_of(keys, values, count));
  if (inputs != op.inputs() || in_dimensions[0] != 2)
    throw PassError(std::string(kEncoderOperator) + " needs ids of a known shape (batch, length) to infer shapes.");
  const Shape ids = {in_sizes[0][0], in_sizes[0][1]};
  std::vector<Shape> shapes(op.data_inputs(), ids);
  shapes.back() = {ids[0]};
  for (const Shape& shape : op.parameter_shapes()) shapes.push_back(shape);
  *new_in_sizes = allocate<unsigned*>(shapes.size());
  *new_in_dimensions = allocate<int>(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) write(shapes[i], (*new_in_sizes)[i], (*new_in_dimensions)[i]);
  *out_sizes = allocate<unsigned*>(1);
  *out_dimensions = allocate<int>(1);
  write({ids[0], ids[1], op.units}, **out_sizes, **out_dimensions);
  return kSuccess;
}

// Ids and lengths may have any type (see compute_encoder); the parameters are float32.
BERTPASS_EXPORT int _opCallInferType(const void*, const char* const* keys, const char* const* values, int count,
                                     int* in_types, int inputs, int* out_types, int) {
  const EncoderOperator op = EncoderOperator::read(attributes_of(keys, values, count));
  for (int i = op.data_inputs(); i < inputs; ++i) {
    if (in_types[i] != kUnknown && in_types[i] != kFloat32)
      throw PassError(std::string(kEncoderOperator) + " keeps its parameters in float32, packed weights of any "
                      "precision among them; do not cast the deployed model.");
    in_types[i] = kFloat32;
  }
  out_types[0] = kFloat32;
  return kSuccess;
}

BERTPASS_EXPORT int _opCallFCompute(
    const void* function, const char* const* keys, const char* const* values, int count,
    const std::int64_t** in_shapes, int*, void** in_data, int* in_types, std::size_t*, const char**, int*, int,
    const std::int64_t**, int*, void** out_data, int*, std::size_t*, const char**, int*, int, void* (*)(void*, int),
    void*, void* (*)(void*, int), void*, void*, void (*)(void*, int, int, int, void**, std::int64_t**, std::int64_t**),
    void*, int*, int*, void**, void**, void**, void**, std::int64_t*, std::int64_t*, std::int64_t*, std::int64_t*,
    void*, void*) {
  if (function != &forward_tag)
    throw PassError(std::string(kEncoderOperator) + " has no gradient; train the plain model and deploy it again.");
  compute_encoder(attributes_of(keys, values, count), in_shapes, in_data, in_types, static_cast<float*>(out_data[0]));
  return kSuccess;
}

// The host resolves these names when it loads a library and calls none of them for an operator without state that does
// not change its inputs, so they need no parameters here. _opCallCreateOpState has other ones in 1.7 than later.
BERTPASS_EXPORT int _opCallInferSType() { return kFail; }
BERTPASS_EXPORT int _opCallMutateInputs() { return kFail; }
BERTPASS_EXPORT int _opCallCreateOpState() { return kFail; }
BERTPASS_EXPORT int _opCallDestroyOpState() { return kFail; }
BERTPASS_EXPORT int _opCallFStatefulCompute() { return kFail; }
