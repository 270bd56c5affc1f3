// The graph passes, each under its own name and its published one with its own options (see options_of), and those that the
// option "passes" names (see select_passes) under the name "bertpass". MXNet itself takes an unknown name for a backend that
// is not there: it writes a line and returns the graph as it is, so none can be refused here.
#include "passes/pass.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "faces/cuda_library.h"
#include "graph/error.h"
#include "graph/json.h"
#include "mxnet_abi/abi.h"

namespace bertpass::abi {
namespace {

constexpr const char* kAllPasses = "bertpass";

// The host's allocator: makes an NDArray for a new argument and gives its memory.
using Allocate = void (*)(const void* state, const std::int64_t* shape, int dimensions, const char* device,
                          int device_id, int dtype, const char* name, int is_argument, void** data);

Number number_of(int dtype) {
  return dtype == kFloat32 ? Number::float32 : dtype == kFloat16 ? Number::float16 : Number::other;
}

// One of the two lists of arrays that the host hands to a pass.
struct Arrays {
  const char* const* names;
  int count;
  void* const* data;
  const std::int64_t* const* shapes;
  const int* dimensions;
  const int* dtypes;
  const char* const* devices;
};

class HostParameters : public Parameters {
 public:
  HostParameters(Allocate allocate, const void* state) : allocate_(allocate), state_(state) {}

  void add(const Arrays& arrays) {
    for (int i = 0; i < arrays.count; ++i) {
      const std::size_t size = item_size(arrays.dtypes[i]);
      if (!arrays.data[i] || size == 0) continue;  // an array without data or of an unknown type is as good as absent
      if (std::strcmp(arrays.devices[i], "cpu") != 0)
        throw PassError("the parameter '" + std::string(arrays.names[i]) + "' is on the device '" + arrays.devices[i] +
                        "'; give the passes parameters in CPU memory and move them afterwards.");
      tensors_[arrays.names[i]] = {arrays.dtypes[i], size,
                                   Shape(arrays.shapes[i], arrays.shapes[i] + arrays.dimensions[i]), arrays.data[i],
                                   number_of(arrays.dtypes[i])};
    }
  }

  const Tensor* find(const std::string& name) const override {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }

  float* allocate_float32(const std::string& name, const Shape& shape) override {
    return static_cast<float*>(allocate(name, shape, {kFloat32, sizeof(float), {}, nullptr, Number::float32}));
  }

  void* allocate(const std::string& name, const Shape& shape, const Tensor& like) override {
    if (like.dtype != kFloat32 && host_version() < 10800)
      throw PassError("MXNet 1.7 can only make float32 arrays in a pass; apply the passes to float32 parameters and "
                      "cast the result, or run them through bertpass without the library.");
    void* data = nullptr;
    allocate_(state_, shape.data(), static_cast<int>(shape.size()), "cpu", 0, like.dtype, name.c_str(), 1, &data);
    if (!data) throw PassError("MXNet could not allocate the new parameter '" + name + "'.");
    tensors_[name] = {like.dtype, like.itemsize, shape, data, like.number};
    return data;
  }

 private:
  Allocate allocate_;
  const void* state_;
  std::map<std::string, Tensor> tensors_;
};

std::string& last_report() {
  thread_local std::string report = results_json({});
  return report;
}

const std::vector<const char*>& registered() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> all;
    for (const Pass* pass : all_passes())
      if (pass->run) all.push_back(pass->name);
    for (const Published& published : published_passes()) all.push_back(published.name);
    all.push_back(kAllPasses);
    return all;
  }();
  return names;
}

// What a call asks for: one pass by its name, or with kAllPasses those of its option "passes".
std::pair<Selection, PassOptions> requested(const std::string& name, GivenOptions given) {
  const Installed installed{/*mxnet=*/false, faces::CudaLibrary::is_there()};  // none of MXNet's passes in one of ours
  if (name != kAllPasses) {
    const Selection one = select_passes({name}, {}, installed);
    return {one, one.passes.empty() ? options_of(given) : options_of(*one.passes[0], given)};
  }
  const auto passes = given.extract("passes");
  const PassOptions options = options_of(given);
  return {select_passes({passes.empty() ? "auto" : passes.mapped()}, options, installed), options};
}

}  // namespace
}  // namespace bertpass::abi

using namespace bertpass;
using namespace bertpass::abi;

BERTPASS_EXPORT int _passRegSize() { return static_cast<int>(registered().size()); }

// The host keeps `function` only to hand it back to _passCallGraphPass, which goes by the name.
BERTPASS_EXPORT void _passRegGet(int index, const void** function, const char** name) {
  *name = registered()[index];
  *function = *name;
}

// Throws std::exception with a sentence, which the host hands on to its caller as MXNetError.
BERTPASS_EXPORT int _passCallGraphPass(
    const void*, const char* json, char** out_graph, const char* const* option_keys, const char* const* option_values,
    int num_options, const char* pass_name, const char* const* arg_names, int num_args, void* const* arg_data,
    const std::int64_t* const* arg_shapes, const int* arg_dims, const int* arg_types, const std::size_t*,
    const char* const* arg_devices, const int*, const char* const* aux_names, int num_aux, void* const* aux_data,
    const std::int64_t* const* aux_shapes, const int* aux_dims, const int* aux_types, const std::size_t*,
    const char* const* aux_devices, const int*, Allocate allocate, const void* allocate_state) {
  last_report() = results_json({});
  GivenOptions given;
  for (int i = 0; i < num_options; ++i) given[option_keys[i]] = option_values[i];
  const auto [selection, options] = requested(pass_name, given);
  for (const std::string& note : selection.notes) std::fprintf(stderr, "bertpass: %s.\n", note.c_str());
  wait_in_pass();
  HostParameters parameters(allocate, allocate_state);
  parameters.add({arg_names, num_args, arg_data, arg_shapes, arg_dims, arg_types, arg_devices});
  parameters.add({aux_names, num_aux, aux_data, aux_shapes, aux_dims, aux_types, aux_devices});
  Graph graph = parse_graph(json);
  std::vector<PassResult> results;
  for (const Pass* pass : selection.passes) {
    results.push_back(run_pass(*pass, graph, parameters, options));
    if (num_args == 0 && results.back().rewrites == 0)
      std::fprintf(stderr, "bertpass: the pass %s found nothing to do, as no parameters came with the graph; give them: "
                   "symbol.optimize_for(name, args, aux).\n", pass->name);
  }
  const std::string text = dump_graph(graph);
  *out_graph = static_cast<char*>(std::malloc(text.size() + 1));  // the host frees it by _opCallFree
  if (!*out_graph) throw std::bad_alloc();
  std::memcpy(*out_graph, text.c_str(), text.size() + 1);
  last_report() = results_json(results);
  return kSuccess;
}

// What the last call of a pass in this thread did, as JSON (see results_json). Holds until the next one.
BERTPASS_EXPORT const char* bertpass_last_report() { return last_report().c_str(); }
