#include "faces/model_file.h"

#include <map>
#include <mutex>

#include "capi/mapped_file.h"
#include "capi/safetensors.h"

namespace bertpass::faces {
namespace {

constexpr char kFormat[] = "bertpass unpacked model", kVersion[] = "1";  // of bertpass/model/layouts/packed.py

// Loads what the file describes; its memory is not needed afterwards.
std::shared_ptr<DeviceModel> load(const DeviceOptions& options) {
  const native::MappedFile file = native::map_file(options.file);
  const native::Safetensors content = native::read_safetensors(file.data.get(), file.bytes);
  const auto says = [&](const char* key) {
    const auto found = content.metadata.find(key);
    return found == content.metadata.end() ? std::string() : found->second;
  };
  if (says("format") != kFormat || says("format_version") != kVersion)
    throw std::invalid_argument("it is no model for a GPU; write one with bertpass pack --unpacked");
  const std::string description = says("model");
  bertpass_cuda_config config{};
  config.model = description.c_str();
  config.dtype = options.dtype.c_str();
  config.device = options.device;
  std::vector<bertpass_cuda_tensor> tensors;
  for (const auto& [name, tensor] : content.tensors) {
    const void* data = tensor.data;
    if (tensor.dtype != "F32" || reinterpret_cast<std::uintptr_t>(data) % alignof(float))
      throw std::invalid_argument("'" + name + "' is not float32 on an address that 4 divides");
    tensors.push_back({name.c_str(), static_cast<const float*>(data), tensor.bytes / 4});
  }
  return std::make_shared<DeviceModel>(config, tensors, options.graphs);
}

// The same with the file's name in what it says.
std::shared_ptr<DeviceModel> load_and_tell(const DeviceOptions& options) {
  const auto bad = [&](const std::string& what) {
    return FaceError(BERTPASS_CUDA_BAD_MODEL, options.file + ": " + what + ".");
  };
  try {
    return load(options);
  } catch (const native::FileError& error) {
    throw FaceError(BERTPASS_CUDA_BAD_MODEL, error.what());
  } catch (const std::invalid_argument& error) {
    throw bad(error.what());
  }
}

}  // namespace

std::shared_ptr<DeviceModel> shared_model(const DeviceOptions& options) {
  static std::mutex lock;
  static std::map<std::string, std::weak_ptr<DeviceModel>> loaded;
  const std::string key = options.dtype + (options.graphs ? " graphs " : " ") + std::to_string(options.device) + " " +
                          options.file;
  const std::lock_guard<std::mutex> guard(lock);
  std::shared_ptr<DeviceModel> model = loaded[key].lock();
  if (!model) loaded[key] = model = load_and_tell(options);
  return model;
}

}  // namespace bertpass::faces
