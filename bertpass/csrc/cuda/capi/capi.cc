// libbertpass_cuda.so: the C functions of bertpass/include/bertpass_cuda.h.
#include <bertpass_cuda.h>

#include <cstdio>
#include <vector>

#include "cuda/capi/guarded.h"
#include "cuda/encoder/context.h"
#include "cuda/encoder/fetch.h"

namespace cuda = bertpass::cuda;
namespace native = bertpass::native;

using cuda::guarded;
using cuda::text;

struct bertpass_cuda_model {
  cuda::Model model;
};

struct bertpass_cuda_context {
  cuda::Context context;
};

namespace {

void need(std::int32_t rows, std::int32_t tokens) {
  if (rows < 1 || tokens < 1) throw native::InputError("a batch has at least one row and one token.");
}

}  // namespace

namespace {
thread_local char last_error[1024] = "";
}  // namespace

bertpass_cuda_status cuda::fail(bertpass_cuda_status status, const char* sentence) {
  std::snprintf(last_error, sizeof last_error, "%s", sentence);
  return status;
}

std::int32_t bertpass_cuda_abi() { return BERTPASS_CUDA_ABI; }

const char* bertpass_cuda_error() { return last_error; }

bertpass_cuda_status bertpass_cuda_load(const bertpass_cuda_config* config, const bertpass_cuda_tensor* tensors,
                                        std::int32_t count, bertpass_cuda_model** model) {
  if (model) *model = nullptr;
  return guarded({config, tensors, model}, [&] {
    cuda::HostTensors weights;
    for (std::int32_t i = 0; i < count; ++i) weights[text(tensors[i].name)] = {tensors[i].data, tensors[i].size};
    const cuda::ModelOptions options{cuda::dtype_of(config->dtype), config->device, config->exact_gelu != 0,
                                     config->measure != 0, text(config->measurements), text(config->cublaslt)};
    *model = new bertpass_cuda_model{cuda::Model(native::read_config(text(config->model)), options, weights)};
  });
}

void bertpass_cuda_free(bertpass_cuda_model* model) { delete model; }

bertpass_cuda_status bertpass_cuda_describe(const bertpass_cuda_model* model, bertpass_cuda_info* info) {
  return guarded({model, info}, [&] {
    const cuda::DeviceInfo& device = model->model.device();
    *info = {};
    std::snprintf(info->device, sizeof info->device, "%s", device.name.c_str());
    info->major = device.major;
    info->minor = device.minor;
    info->multiprocessors = device.multiprocessors;
    info->memory = static_cast<std::int64_t>(device.memory);
    info->driver = device.driver;
    info->runtime = device.runtime;
    info->cublaslt = static_cast<std::int64_t>(model->model.gemm().version());
    info->weights = static_cast<std::int64_t>(model->model.weights().bytes());
  });
}

bertpass_cuda_status bertpass_cuda_output_shapes(const bertpass_cuda_model* model, std::int32_t rows, std::int32_t length,
                                                 bertpass_cuda_shape* shapes, std::int32_t* outputs) {
  return guarded({model, shapes, outputs}, [&] {
    need(rows, length);
    *outputs = 0;
    for (const std::vector<std::int64_t>& sizes : model->model.output_shapes(rows, length)) {
      bertpass_cuda_shape& shape = shapes[(*outputs)++];
      shape.axes = static_cast<std::int32_t>(sizes.size());
      std::fill(shape.sizes, shape.sizes + BERTPASS_CUDA_MAX_AXES, 1);
      std::copy(sizes.begin(), sizes.end(), shape.sizes);
    }
  });
}

bertpass_cuda_status bertpass_cuda_workspace(const bertpass_cuda_model* model, std::int32_t rows, std::int32_t tokens,
                                             std::size_t* bytes) {
  return guarded({model, bytes}, [&] {
    need(rows, tokens);
    *bytes = cuda::workspace_bytes(model->model, {rows, tokens});
  });
}

bertpass_cuda_status bertpass_cuda_context_create(const bertpass_cuda_model* model, std::int32_t rows, std::int32_t tokens,
                                                  void* memory, std::int32_t graphs, bertpass_cuda_context** context) {
  if (context) *context = nullptr;
  return guarded({model, context}, [&] {
    need(rows, tokens);
    *context = new bertpass_cuda_context{{model->model, {rows, tokens}, memory, graphs != 0}};
  });
}

void bertpass_cuda_context_free(bertpass_cuda_context* context) { delete context; }

bertpass_cuda_status bertpass_cuda_forward(bertpass_cuda_context* context, const std::int32_t* ids,
                                           const std::int32_t* types, const std::int32_t* lengths, std::int32_t rows,
                                           std::int32_t length, std::int32_t on_device, float* const* outputs,
                                           void* stream) {
  return guarded({context, ids, lengths, outputs}, [&] {
    context->context.forward({ids, types, lengths, rows, length, on_device != 0}, outputs,
                             static_cast<cudaStream_t>(stream));
  });
}

bertpass_cuda_status bertpass_cuda_forward_host(bertpass_cuda_context* context, const std::int32_t* ids,
                                                const std::int32_t* types, const std::int32_t* lengths, std::int32_t rows,
                                                std::int32_t length, float* const* outputs) {
  return guarded({context, ids, lengths, outputs}, [&] {
    context->context.forward_to_host({ids, types, lengths, rows, length, false}, outputs);
  });
}

bertpass_cuda_status bertpass_cuda_fetch(const bertpass_cuda_copy* copies, std::int32_t count, std::int32_t device,
                                         void* stream) {
  return guarded({copies}, [&] {
    std::vector<cuda::Copy> all;
    for (std::int32_t i = 0; i < count; ++i) all.push_back({copies[i].to, copies[i].from, copies[i].bytes});
    cuda::fetch(all, device, static_cast<cudaStream_t>(stream));
  });
}
