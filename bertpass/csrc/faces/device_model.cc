#include "faces/device_model.h"

#include <algorithm>

namespace bertpass::faces {
namespace {

constexpr std::int32_t kLeastRows = 8, kLeastTokens = 1024;  // of a context
constexpr int kContexts = 8;  // of a model: each has working memory of its own

}  // namespace

DeviceModel::DeviceModel(bertpass_cuda_config config, const std::vector<bertpass_cuda_tensor>& tensors, bool graphs)
    : library_(CudaLibrary::open()), device_(config.device), graphs_(graphs) {
  const std::string measurements = variable("BERTPASS_CUDA_MEASUREMENTS"), cublaslt = variable("BERTPASS_CUBLASLT");
  config.measure = !measurements.empty();
  config.measurements = measurements.c_str();
  config.cublaslt = cublaslt.empty() ? nullptr : cublaslt.c_str();
  library_.need(library_.load(&config, tensors.data(), static_cast<std::int32_t>(tensors.size()), &model_));
}

DeviceModel::~DeviceModel() {
  for (const Context& context : free_) library_.context_free(context.made);
  library_.free(model_);
}

std::vector<bertpass_cuda_shape> DeviceModel::output_shapes(std::int32_t rows, std::int32_t length) const {
  std::vector<bertpass_cuda_shape> shapes(BERTPASS_CUDA_MAX_OUTPUTS);
  std::int32_t count = 0;
  library_.need(library_.output_shapes(model_, rows, length, shapes.data(), &count));
  shapes.resize(count);
  return shapes;
}

DeviceModel::Context DeviceModel::take(std::int32_t rows, std::int32_t tokens) {
  Context wanted{nullptr, std::max(rows, kLeastRows), std::max(tokens, kLeastTokens)};
  Context small{};
  {
    std::unique_lock<std::mutex> guard(lock_);
    given_back_.wait(guard, [&] { return !free_.empty() || made_ < kContexts; });
    const auto found = std::find_if(free_.begin(), free_.end(), [&](const Context& context) {
      return context.rows >= rows && context.tokens >= tokens;
    });
    if (found != free_.end()) {
      const Context context = *found;
      free_.erase(found);
      return context;
    }
    if (!free_.empty()) {  // the new one takes its place
      small = free_.back();
      free_.pop_back();
      wanted = {nullptr, std::max(wanted.rows, small.rows), std::max(wanted.tokens, small.tokens)};
    } else {
      ++made_;
    }
  }
  library_.context_free(small.made);
  const bertpass_cuda_status status =
      library_.context_create(model_, wanted.rows, wanted.tokens, nullptr, graphs_, &wanted.made);
  if (status == BERTPASS_CUDA_OK) return wanted;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    --made_;
  }
  given_back_.notify_one();
  library_.need(status);
  return wanted;  // need() has thrown
}

void DeviceModel::forward(const DeviceBatch& batch, float* const* outputs, void* stream) {
  if (batch.rows < 1 || batch.length < 1 || batch.rows > INT32_MAX / batch.length)
    throw FaceError(BERTPASS_CUDA_BAD_ARGUMENT,
                    "a batch has at least one row and one token, and less than 2^31 tokens.");
  const Context context = take(batch.rows, batch.rows * batch.length);
  const bertpass_cuda_status status =
      library_.forward(context.made, batch.ids, batch.types, batch.lengths, batch.rows, batch.length, batch.on_device,
                       outputs, stream);
  {
    const std::lock_guard<std::mutex> guard(lock_);
    free_.push_back(context);  // its next forward waits on the GPU for this one, whatever its stream
  }
  given_back_.notify_one();
  library_.need(status);
}

std::vector<std::int32_t> DeviceModel::read(const std::int32_t* data, std::int32_t count, void* stream) const {
  std::vector<std::int32_t> found(count);
  library_.fetch({{found.data(), data, sizeof(std::int32_t) * found.size()}}, device_, stream);
  return found;
}

}  // namespace bertpass::faces
