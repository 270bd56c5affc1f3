#include "cuda/encoder/model.h"

namespace bertpass::cuda {
namespace {

using native::DenseLayer;
using native::Takes;

// What the kernels take; the text says what to do instead.
void refuse_unless_computable(const ModelConfig& config, const HeadLayout& head, const ModelOptions& options,
                              const DeviceInfo& device) {
  const std::string instead = "; use engine='native' or engine='torch' for this model.";
  if (native::positions_of(config) == native::Positions::relative)
    throw CudaError("the CUDA engine has no attention with embeddings of distances, which this model has" + instead);
  const native::Index size = config.units / config.heads;
  if (config.units % config.heads || !attends(static_cast<int>(size)))
    throw CudaError("the CUDA engine has heads of 32, 64, 96 and 128, not of " + std::to_string(size) + instead);
  if (config.units > kMostUnits || config.hidden % 8)
    throw CudaError("the CUDA engine takes units up to " + std::to_string(kMostUnits) +
                    " and a hidden size that 8 divides, not " + std::to_string(config.units) + " and " + std::to_string(config.hidden) + instead);
  if (const native::Index narrow = native::embedding_width(config); narrow > kMostUnits || narrow % 8)
    throw CudaError("the CUDA engine takes embeddings of a width up to " + std::to_string(kMostUnits) +
                    " that 8 divides, not " + std::to_string(narrow) + instead);
  for (const DenseLayer& layer : head.layers) {
    const bool last = &layer == &head.layers.back(), plain = layer.activation == Activation::none;
    const bool known = plain || layer.activation == Activation::tanh || layer.activation == Activation::relu ||
                       layer.activation == Activation::gelu;
    if (head.takes == Takes::tokens ? !last || !plain : !known || (!last && layer.outputs > config.units))
      throw CudaError("the CUDA engine cannot compute the layer '" + layer.name + "' of this head" + instead);
  }
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
      head_(native::head_layout(config)),
      device_(device_info(options.device)),
      widths_{static_cast<int>(config.units), static_cast<int>(config.hidden), static_cast<int>(config.heads),
              static_cast<int>(native::embedding_width(config)), native::gated(config)} {
  refuse_unless_computable(config, head_, options, device_);
  const OnDevice current(options.device);
  const char* path = options.cublaslt.empty() ? nullptr : options.cublaslt.c_str();
  std::shared_ptr<Algorithms> algorithms;
  if (options.measure) {
    // A part of a GPU and a capped one have the name of the whole.
    const std::string prefix = device_.name + " of " + std::to_string(device_.multiprocessors) + ", driver " +
                               std::to_string(device_.driver) + ", cuBLASLt " + std::to_string(lt::open(path).version());
    algorithms = std::make_shared<Algorithms>(options.measurements, prefix);
  }
  gemm_ = std::make_unique<Gemm>(path, options.dtype, std::move(algorithms));
  weights_ = std::make_unique<Weights>(config, options.dtype, tensors);
  prepare_attention(options.dtype, widths_.size());
  if (weights_->projection)
    projection_ = gemm_->add({widths_.units, widths_.embedding, Epilogue::bias, false}, weights_->projection,
                             weights_->projection_bias);
  const FeedForward inner = feed_forward(config.activation, widths_.gated, options.dtype, options.exact_gelu);
  for (std::size_t i = 0; i < weights_->layers.size(); ++i)
    layers_.emplace_back(options.dtype, widths_, inner, weights_->forms[i], weights_->layers[i], *gemm_);
}

void Model::encode(const Bucket& bucket, const Activations& memory, cudaStream_t stream) const {
  const bool projects = projection_ >= 0;
  embed(options_.dtype, bucket.batch, bucket.offsets, weights_->tables, weights_->embedding_norm, widths_.embedding,
        bucket.rows, projects ? memory.wide : memory.states, stream);
  if (projects) gemm_->run(projection_, bucket.rows, memory.wide, nullptr, memory.states, memory.workspace, stream);
  for (const Layer& layer : layers_) layer.forward(*gemm_, bucket, memory, stream);
  if (weights_->last_norm.gamma)
    layer_norm(options_.dtype, bucket.batch, memory.states, weights_->last_norm, widths_.units, bucket.rows,
               memory.states, stream);
}

void Model::head(const Bucket& bucket, const void* states, int sequences, int length, float* const* outputs,
                 float* between, cudaStream_t stream) const {
  const Dtype dtype = options_.dtype;
  const int units = widths_.units;
  const std::vector<HeadWeights>& weights = weights_->head;
  if (head_.states) unpack(dtype, bucket.offsets, states, sequences, length, units, *outputs++, stream);
  if (head_.takes == Takes::nothing) return;
  if (head_.takes == Takes::tokens)
    return token_logits(dtype, bucket.offsets, states, weights[0].weight, weights[0].bias, sequences, length, units,
                        static_cast<int>(head_.layers[0].outputs), *outputs, stream);
  // Each layer reads one half of `between` and writes the other one, the last writes the output.
  const auto to = [&](std::size_t layer) {
    return layer == weights.size() ? *outputs : between + static_cast<std::int64_t>(layer % 2) * sequences * units;
  };
  pool(dtype, bucket.offsets, states, sequences, units, head_.takes == Takes::mean ? Pooling::mean : Pooling::first,
       head_.normalize, to(0), stream);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const DenseLayer& layer = head_.layers[i];
    dense(to(i), weights[i].weight, weights[i].bias, sequences, static_cast<int>(layer.inputs),
          static_cast<int>(layer.outputs), layer.activation, to(i + 1), stream);
    if (weights[i].norm.gamma)
      layer_norm(Dtype::float32, nullptr, to(i + 1), weights[i].norm, static_cast<int>(layer.outputs), sequences,
                 to(i + 1), stream);
  }
}

}  // namespace bertpass::cuda
