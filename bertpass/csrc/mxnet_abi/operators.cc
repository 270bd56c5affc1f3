// The custom operators as MXNet's extension libraries offer them. None has a state.
//
// MXNet keeps the pointers that _opRegGet gives only to hand them back: here they are those of the operators' entries,
// and of fields in them for the functions.
#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "graph/error.h"
#include "mxnet_abi/abi.h"
#include "mxnet_abi/operator.h"

namespace bertpass::abi {
namespace {

struct Registered {
  const Operator* op;
  const void* forward[2] = {};   // for the CPU: the entry; for the GPU: this field
  const void* backward[2] = {};  // for both: this field
};

Registered entries[] = {{&kEncoder}, {&kTrainAttention}, {&kTrainSumNorm}};
constexpr int kEntries = sizeof entries / sizeof *entries;
const char* contexts[] = {"cpu", "gpu"};

const Operator& operator_of(const void* entry) { return *static_cast<const Registered*>(entry)->op; }

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

void write(const std::vector<Shape>& shapes, unsigned**& sizes, int*& dimensions) {
  sizes = allocate<unsigned*>(shapes.size());
  dimensions = allocate<int>(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    dimensions[i] = static_cast<int>(shapes[i].size());
    sizes[i] = allocate<unsigned>(shapes[i].size());
    for (std::size_t j = 0; j < shapes[i].size(); ++j) sizes[i][j] = static_cast<unsigned>(shapes[i][j]);
  }
}

}  // namespace

void need_type(const char* name, int& input, int type) {
  if (input != kUnknownType && input != type)
    throw PassError(std::string(name) + " takes " + (type == kFloat32 ? "float32" : "int32") +
                    " in this place only; do not cast the deployed model or one in training.");
  input = type;
}

}  // namespace bertpass::abi

using namespace bertpass;
using namespace bertpass::abi;

// None where this process has the operators already, from a first loading of this library or from another copy of it:
// MXNet would refuse to take them a third time.
BERTPASS_EXPORT int _opRegSize() { return host_has_operator(kEncoder.name) ? 0 : kEntries; }

BERTPASS_EXPORT void _opRegGet(int number, const char** name, int* is_subgraph_operator, const char*** forward_contexts,
                               const void*** forward, int* forward_count, const char*** backward_contexts,
                               const void*** backward, int* backward_count, const char*** state_contexts,
                               const void*** state, int* state_count, const void** parse_attributes,
                               const void** infer_type, const void** infer_storage, const void** infer_shape,
                               const void** mutate_inputs) {
  Registered& entry = entries[number];
  entry.forward[0] = &entry;
  entry.forward[1] = &entry.forward;
  entry.backward[0] = entry.backward[1] = &entry.backward;
  *name = entry.op->name;
  *is_subgraph_operator = 0;
  *forward_contexts = *backward_contexts = contexts;
  *forward = entry.forward;
  *backward = entry.backward;
  *forward_count = *backward_count = entry.op->gpu_forward ? 2 : 1;
  *state_contexts = nullptr;
  *state = nullptr;
  *state_count = 0;
  *parse_attributes = *infer_type = *infer_shape = &entry;
  *infer_storage = *mutate_inputs = nullptr;  // dense arrays, and none of the inputs is written
}

// Frees what this library has allocated for the host.
BERTPASS_EXPORT void _opCallFree(void* pointer) { std::free(pointer); }

BERTPASS_EXPORT int _opCallParseAttrs(const void* entry, const char* const* keys, const char* const* values, int count,
                                      int* inputs, int* outputs) {
  *inputs = operator_of(entry).inputs(attributes_of(keys, values, count));
  *outputs = operator_of(entry).outputs;
  return kSuccess;
}

BERTPASS_EXPORT int _opCallInferShape(const void* entry, const char* const* keys, const char* const* values, int count,
                                      unsigned** in_sizes, int* in_dimensions, int inputs, unsigned*** new_in_sizes,
                                      int** new_in_dimensions, unsigned*** out_sizes, int** out_dimensions, int) {
  const Operator& op = operator_of(entry);
  const Attributes attributes = attributes_of(keys, values, count);
  if (inputs != op.inputs(attributes)) throw PassError(std::string(op.name) + " has another number of inputs.");
  std::vector<Shape> known(inputs);
  for (int i = 0; i < inputs; ++i)
    if (in_dimensions[i] > 0) known[i].assign(in_sizes[i], in_sizes[i] + in_dimensions[i]);
  const Signature all = op.shapes(attributes, known);
  write(all.inputs, *new_in_sizes, *new_in_dimensions);
  write(all.outputs, *out_sizes, *out_dimensions);
  return kSuccess;
}

BERTPASS_EXPORT int _opCallInferType(const void* entry, const char* const* keys, const char* const* values, int count,
                                     int* in_types, int inputs, int* out_types, int outputs) {
  operator_of(entry).types(attributes_of(keys, values, count), in_types, inputs);
  std::fill(out_types, out_types + outputs, kFloat32);
  return kSuccess;
}

BERTPASS_EXPORT int _opCallFCompute(
    const void* function, const char* const* keys, const char* const* values, int count,
    const std::int64_t** in_shapes, int*, void** in_data, int* in_types, std::size_t*, const char**, int*, int,
    const std::int64_t**, int*, void** out_data, int*, std::size_t*, const char**, int* out_devices, int,
    void* (*)(void*, int), void*, void* (*)(void*, int), void*, void* stream,
    void (*)(void*, int, int, int, void**, std::int64_t**, std::int64_t**), void*, int*, int*, void**, void**, void**,
    void**, std::int64_t*, std::int64_t*, std::int64_t*, std::int64_t*, void*, void*) {
  const Attributes attributes = attributes_of(keys, values, count);
  const Call call{attributes, in_shapes, in_data, in_types, out_data, out_devices[0], stream};
  for (const Registered& entry : entries) {
    if (function == &entry) entry.op->forward(call);
    if (function == &entry.forward) entry.op->gpu_forward(call);
    if (function == &entry.backward) entry.op->backward(call);
  }
  return kSuccess;
}

// The host resolves these names when it loads a library and calls none of them for operators without state that do not
// change their inputs, so they need no parameters here. _opCallCreateOpState has other ones in 1.7 than later.
BERTPASS_EXPORT int _opCallInferSType() { return kFail; }
BERTPASS_EXPORT int _opCallMutateInputs() { return kFail; }
BERTPASS_EXPORT int _opCallCreateOpState() { return kFail; }
BERTPASS_EXPORT int _opCallDestroyOpState() { return kFail; }
BERTPASS_EXPORT int _opCallFStatefulCompute() { return kFail; }
