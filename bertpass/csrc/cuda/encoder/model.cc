#include "cuda/encoder/model.h"

namespace bertpass::cuda {
namespace {

// What the kernels take; the text says what to do instead.
void refuse_unless_computable(const ModelConfig& config, const ModelOptions& options, const DeviceInfo& device) {
  const std::string instead = "; use engine='native' or engine='torch' for this model.";
  const native::Index size = config.units / config.heads;
  if (config.units % config.heads || !attends(static_cast<int>(size)))
    throw CudaError("the CUDA engine has heads of 32, 64, 96 and 128, not of " + std::to_string(size) + instead);
  if (config.units > kMostUnits || config.hidden % 8)
    throw CudaError("the CUDA engine takes units up to " + std::to_string(kMostUnits) +
                    " and a hidden size that 8 divides, not " + std::to_string(config.units) + " and " + std::to_string(config.hidden) + instead);
  const std::string capability = std::to_string(device.major) + "." + std::to_string(device.minor);
  if (device.major * 10 + device.minor < 75)
    throw CudaError(device.name + " has compute capability " + capability + " and the CUDA engine needs 7.5.");
  if (options.dtype == Dtype::bfloat16 && device.major < 8)
    throw CudaError(device.name + " has no units for bfloat16 (compute capability " + capability +
                    "); use dtype='float16'.");
}

}  // namespace

DeviceInfo device_info(int device) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();  // it stays otherwise, and a later call would report it
    throw CudaError(std::string("there is no NVIDIA GPU that CUDA can use here") +
                    (status == cudaSuccess ? "" : std::string(" (") + cudaGetErrorString(status) + ")") +
                    "; check nvidia-smi, or use engine='native'.");
  }
  if (device < 0 || device >= count)
    throw CudaError("there is no GPU " + std::to_string(device) + "; this machine has " + std::to_string(count) +
                    ", counted from 0.");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  DeviceInfo info{properties.name, properties.major, properties.minor, properties.multiProcessorCount,
                  properties.totalGlobalMem};
  check(cudaDriverGetVersion(&info.driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&info.runtime), "cudaRuntimeGetVersion");
  return info;
}

Model::Model(const ModelConfig& config, const ModelOptions& options, const HostTensors& tensors)
    : config_(config),
      options_(options),
      device_(device_info(options.device)),
      widths_{static_cast<int>(config.units), static_cast<int>(config.hidden), static_cast<int>(config.heads)} {
  refuse_unless_computable(config, options, device_);
  const OnDevice current(options.device);
  const char* path = options.cublaslt.empty() ? nullptr : options.cublaslt.c_str();
  std::shared_ptr<Algorithms> algorithms;
  if (options.measure) {
    const std::string prefix = device_.name + ", cuBLASLt " + std::to_string(lt::open(path).version());
    algorithms = std::make_shared<Algorithms>(options.measurements, prefix);
  }
  gemm_ = std::make_unique<Gemm>(path, options.dtype, std::move(algorithms));
  weights_ = std::make_unique<Weights>(config, options.dtype, tensors);
  prepare_attention(options.dtype, widths_.size());
  const FeedForward inner = feed_forward(config.activation, options.dtype, options.exact_gelu);
  for (const LayerWeights& layer : weights_->layers) layers_.emplace_back(options.dtype, widths_, inner, layer, *gemm_);
}

void Model::encode(const Bucket& bucket, const Activations& memory, cudaStream_t stream) const {
  embed(options_.dtype, bucket.batch, bucket.offsets, weights_->tables, weights_->embedding_norm, widths_.units,
        bucket.rows, memory.states, stream);
  for (const Layer& layer : layers_) layer.forward(*gemm_, bucket, memory, stream);
}

std::vector<std::vector<std::int64_t>> Model::output_shapes(std::int64_t sequences, std::int64_t length) const {
  const std::int64_t units = config_.units, labels = weights_->head.labels;
  switch (config_.head) {
    case HeadKind::states: return {{sequences, length, units}};
    case HeadKind::pooled: return {{sequences, length, units}, {sequences, units}};
    case HeadKind::classifier: return {{sequences, labels}};
    case HeadKind::qa:
    case HeadKind::tokens: return {{sequences, length, labels}};
    case HeadKind::embedding: return {{sequences, units}};
  }
  return {};
}

void Model::head(const Bucket& bucket, const void* states, int sequences, int length, float* const* outputs,
                 float* between, cudaStream_t stream) const {
  const HeadWeights& w = weights_->head;
  const Dtype dtype = options_.dtype;
  const int units = widths_.units;
  float* const second = between + static_cast<std::int64_t>(sequences) * units;
  const auto first_tokens = [&] {
    pool(dtype, bucket.offsets, states, sequences, units, Pooling::first, false, between, stream);
  };
  switch (config_.head) {
    case HeadKind::states: return unpack(dtype, bucket.offsets, states, sequences, length, units, outputs[0], stream);
    case HeadKind::pooled:
      unpack(dtype, bucket.offsets, states, sequences, length, units, outputs[0], stream);
      first_tokens();
      return dense(between, w.first, w.first_bias, sequences, units, units, w.activation, outputs[1], stream);
    case HeadKind::classifier:
      first_tokens();
      dense(between, w.first, w.first_bias, sequences, units, units, w.activation, second, stream);
      return dense(second, w.last, w.last_bias, sequences, units, w.labels, Activation::none, outputs[0], stream);
    case HeadKind::qa:
    case HeadKind::tokens:
      return token_logits(dtype, bucket.offsets, states, w.last, w.last_bias, sequences, length, units, w.labels,
                          outputs[0], stream);
    case HeadKind::embedding:
      return pool(dtype, bucket.offsets, states, sequences, units, config_.pooling, config_.normalize, outputs[0],
                  stream);
  }
}

}  // namespace bertpass::cuda
