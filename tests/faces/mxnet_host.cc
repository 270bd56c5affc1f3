// Stands in for a GPU build of MXNet: loads bertpass_lib.so and calls the operator bertpass_encoder through the C ABI of
// extension libraries, as lib_api.h of MXNet 1.7 to 1.9 has it: mxnet_host LIBRARY SCRIPT. The twin's device memory is
// the host's.
//
// The script is read word by word:
//   attribute NAME VALUE        of the operator
//   input NUMBER TYPE FILE AXES SIZES...   memory of its own with the file's bytes; TYPE is mshadow's flag
//   write NUMBER FILE           other bytes into the same memory
//   output AXES SIZES...        shape of the output
//   call CONTEXT THREADS FILE   calls the forward that is registered for "cpu" or "gpu", in as many threads at once and
//                               three times in each, on outputs full of NaN, and writes the output of the first
// After each call it prints a line: "same", where all outputs agree bit by bit, "different", or "error: " and the text.
#include <dlfcn.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using Allocate = void* (*)(void*, int);
using SparseAllocate = void (*)(void*, int, int, int, void**, std::int64_t**, std::int64_t**);
using RegistryGet = void (*)(int, const char**, int*, const char***, const void***, int*, const char***, const void***,
                             int*, const char***, const void***, int*, const void**, const void**, const void**,
                             const void**, const void**);
using Compute = int (*)(const void*, const char* const*, const char* const*, int, const std::int64_t**, int*, void**,
                        int*, std::size_t*, const char**, int*, int, const std::int64_t**, int*, void**, int*,
                        std::size_t*, const char**, int*, int, Allocate, void*, Allocate, void*, void*, SparseAllocate,
                        void*, int*, int*, void**, void**, void**, void**, std::int64_t*, std::int64_t*, std::int64_t*,
                        std::int64_t*, void*, void*);

struct Array {
  int type = 0;
  std::vector<std::int64_t> shape;
  std::vector<char> bytes;
};

std::vector<char> content(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::int64_t> sizes(std::istream& in) {
  std::size_t axes = 0;
  in >> axes;
  std::vector<std::int64_t> shape(axes);
  for (std::int64_t& size : shape) in >> size;
  return shape;
}

// The forward of operator 0, which is bertpass_encoder, for a context.
const void* forward_of(void* library, const std::string& context) {
  const auto get = reinterpret_cast<RegistryGet>(dlsym(library, "_opRegGet"));
  const char *name, **contexts, **backward_contexts, **state_contexts;
  const void **forward, **backward, **state, *rest[5];
  int subgraph, count, backward_count, state_count;
  get(0, &name, &subgraph, &contexts, &forward, &count, &backward_contexts, &backward, &backward_count, &state_contexts,
      &state, &state_count, &rest[0], &rest[1], &rest[2], &rest[3], &rest[4]);
  if (std::string(name) != "bertpass_encoder" || backward_count != count) return nullptr;
  for (int i = 0; i < count; ++i)
    if (contexts[i] == context && backward_contexts[i] == context) return forward[i];
  return nullptr;
}

struct Host {
  void* library;
  std::map<std::string, std::string> attributes;
  std::vector<Array> inputs;
  std::vector<std::int64_t> shape;

  // As MXNet calls a forward; what it throws is the text of an MXNetError.
  void call(const std::string& context, std::vector<float>& out) {
    std::vector<const char*> keys, values, devices(inputs.size(), context.c_str());
    for (const auto& [key, value] : attributes) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
    std::vector<const std::int64_t*> shapes;
    std::vector<int> axes, types, zeros(inputs.size());
    std::vector<std::size_t> versions(inputs.size());
    std::vector<void*> data, nothing(inputs.size());
    std::vector<std::int64_t> none(inputs.size());
    for (Array& array : inputs) {
      shapes.push_back(array.shape.data());
      axes.push_back(static_cast<int>(array.shape.size()));
      types.push_back(array.type);
      data.push_back(array.bytes.data());
    }
    const std::int64_t* out_shape = shape.data();
    int out_axes = static_cast<int>(shape.size()), float32 = 0, device = 0, dense = 0;
    void *out_data = out.data(), *no_index = nullptr, *no_pointer = nullptr;
    std::size_t out_version = 0;
    const char* out_device = context.c_str();
    std::int64_t no_size = 0, no_length = 0;
    const auto compute = reinterpret_cast<Compute>(dlsym(library, "_opCallFCompute"));
    compute(forward_of(library, context), keys.data(), values.data(), static_cast<int>(keys.size()), shapes.data(),
            axes.data(), data.data(), types.data(), versions.data(), devices.data(), zeros.data(),
            static_cast<int>(inputs.size()), &out_shape, &out_axes, &out_data, &float32, &out_version, &out_device,
            &device, 1, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, zeros.data(), &dense,
            nothing.data(), &no_index, nothing.data(), &no_pointer, none.data(), &no_size, none.data(), &no_length,
            nullptr, nullptr);
  }

  std::string run(const std::string& context, int threads, const std::string& file) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    std::vector<float> poison(count);
    std::memset(poison.data(), 0xff, count * sizeof(float));
    std::vector<std::vector<float>> outputs(3 * threads, poison);
    std::vector<std::string> errors(threads);
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        try {
          for (int i = 0; i < 3; ++i) call(context, outputs[3 * t + i]);
        } catch (const std::exception& error) {
          errors[t] = error.what();
        }
      });
    for (std::thread& thread : all) thread.join();
    for (const std::string& error : errors)
      if (!error.empty()) return "error: " + error;
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(outputs[0].data()), count * sizeof(float));
    for (const auto& output : outputs)
      if (std::memcmp(output.data(), outputs[0].data(), count * sizeof(float)) != 0) return "different";
    return "same";
  }
};

}  // namespace

int main(int, char** arguments) {
  Host host{dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL), {}, {}, {}};
  if (!host.library) {
    std::cerr << dlerror() << "\n";
    return 1;
  }
  std::ifstream script(arguments[2]);
  for (std::string word; script >> word;) {
    std::string name, file;
    std::size_t number = 0;
    int threads = 0;
    if (word == "attribute") {
      script >> name;
      script >> host.attributes[name];
    } else if (word == "input") {
      Array array;
      script >> number >> array.type >> file;
      array.shape = sizes(script);
      array.bytes = content(file);
      if (host.inputs.size() <= number) host.inputs.resize(number + 1);
      host.inputs[number] = std::move(array);
    } else if (word == "write") {
      script >> number >> file;
      const std::vector<char> bytes = content(file);
      std::memcpy(host.inputs[number].bytes.data(), bytes.data(), bytes.size());
    } else if (word == "output") {
      host.shape = sizes(script);
    } else if (word == "call") {
      script >> name >> threads >> file;
      std::cout << host.run(name, threads, file) << std::endl;
    } else {
      std::cerr << "unknown word " << word << "\n";
      return 1;
    }
  }
  return 0;
}
