#include "faces/device_model.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "capi/mapped_file.h"
#include "capi/safetensors.h"

namespace bertpass::faces {
namespace {

using Json = nlohmann::json;

constexpr char kFormat[] = "bertpass unpacked model", kVersion[] = "1";  // of bertpass/model/packed.py
constexpr std::int32_t kLeastRows = 8, kLeastTokens = 1024;              // of a context

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Of the library that this code is part of, with the last slash.
std::string own_folder() {
  Dl_info about;
  if (!dladdr(reinterpret_cast<const void*>(&own_folder), &about) || !about.dli_fname) return "";
  const std::string path = about.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

}  // namespace

// The functions of libbertpass_cuda.so: that of BERTPASS_CUDA, else the one beside this library.
class CudaLibrary {
 public:
  static const CudaLibrary& open() {
    static const CudaLibrary library;  // where it throws, the next call tries again
    return library;
  }

  void need(bertpass_cuda_status status) const {
    if (status != BERTPASS_CUDA_OK) throw FaceError(status, error());
  }

  decltype(&bertpass_cuda_load) load;
  decltype(&bertpass_cuda_free) free;
  decltype(&bertpass_cuda_describe) describe;
  decltype(&bertpass_cuda_output_shapes) output_shapes;
  decltype(&bertpass_cuda_context_create) context_create;
  decltype(&bertpass_cuda_context_free) context_free;
  decltype(&bertpass_cuda_forward) forward;

 private:
  CudaLibrary() {
    const std::string named = variable("BERTPASS_CUDA");
    path_ = named.empty() ? own_folder() + "libbertpass_cuda.so" : named;
    handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle_) fail(std::string("the CUDA engine does not load (") + dlerror() + "); build it with: make cuda.");
    decltype(&bertpass_cuda_abi) abi;
    find("bertpass_cuda_abi", abi);
    if (abi() != BERTPASS_CUDA_ABI)
      fail(path_ + " has interface " + std::to_string(abi()) + " and this operator needs " +
           std::to_string(BERTPASS_CUDA_ABI) + "; build it again with: make cuda.");
    find("bertpass_cuda_error", error);
    find("bertpass_cuda_load", load);
    find("bertpass_cuda_free", free);
    find("bertpass_cuda_describe", describe);
    find("bertpass_cuda_output_shapes", output_shapes);
    find("bertpass_cuda_context_create", context_create);
    find("bertpass_cuda_context_free", context_free);
    find("bertpass_cuda_forward", forward);
  }

  template <class Function>
  void find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (!function) fail(path_ + " has no " + name + "; build it again with: make cuda.");
  }

  [[noreturn]] static void fail(const std::string& sentence) { throw FaceError(BERTPASS_CUDA_DEVICE, sentence); }

  std::string path_;
  void* handle_ = nullptr;  // open until the process ends
  decltype(&bertpass_cuda_error) error = nullptr;
};

namespace {

// The driver's functions that read device memory, without a CUDA runtime of our own.
// Source: https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__MEM.html
struct Driver {
  int (*copy_to_host)(void* out, unsigned long long data, std::size_t bytes, void* stream) = nullptr;
  int (*wait)(void* stream) = nullptr;

  Driver() {
    void* handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw FaceError(BERTPASS_CUDA_DEVICE, "there is no libcuda.so.1; install NVIDIA's driver.");
    copy_to_host = reinterpret_cast<decltype(copy_to_host)>(dlsym(handle, "cuMemcpyDtoHAsync_v2"));
    wait = reinterpret_cast<decltype(wait)>(dlsym(handle, "cuStreamSynchronize"));
    if (!copy_to_host || !wait)
      throw FaceError(BERTPASS_CUDA_DEVICE, "libcuda.so.1 lacks a function; install NVIDIA's driver again.");
  }
};

// Loads what the file describes; its memory is not needed afterwards.
bertpass_cuda_model* load(const CudaLibrary& library, const DeviceOptions& options) {
  const native::MappedFile file = native::map_file(options.file);
  const native::Safetensors content = native::read_safetensors(file.data.get(), file.bytes);
  const auto says = [&](const char* key) {
    const auto found = content.metadata.find(key);
    return found == content.metadata.end() ? std::string() : found->second;
  };
  if (says("format") != kFormat || says("format_version") != kVersion)
    throw std::invalid_argument("it is no model for a GPU; write one with bertpass pack --unpacked");
  const Json model = Json::parse(says("model"));
  const Json &encoder = model.at("config"), &head = model.at("head");
  const auto number = [](const Json& object, const char* name) { return object.at(name).get<std::int32_t>(); };
  const auto word = [](const Json& object, const char* name) { return object.at(name).get<std::string>(); };
  const std::string family = word(encoder, "family"), activation = word(encoder, "activation"),
                    kind = word(head, "kind"), pooling = word(head, "pooling"),
                    measurements = variable("BERTPASS_CUDA_MEASUREMENTS"), cublaslt = variable("BERTPASS_CUBLASLT");
  bertpass_cuda_config config{};
  config.layers = number(encoder, "num_layers");
  config.units = number(encoder, "units");
  config.hidden = number(encoder, "hidden_size");
  config.heads = number(encoder, "num_heads");
  config.max_length = number(encoder, "max_length");
  config.vocabulary = number(encoder, "vocab_size");
  config.token_types = number(encoder, "token_type_vocab_size");
  config.epsilon = encoder.at("layer_norm_eps").get<float>();
  config.family = family.c_str();
  config.activation = activation.c_str();
  config.head = kind.c_str();
  config.labels = number(head, "num_labels");
  config.pooling = pooling.c_str();
  config.normalize = head.at("normalize").get<bool>();
  config.dtype = options.dtype.c_str();
  config.device = options.device;
  config.measure = !measurements.empty();
  config.measurements = measurements.c_str();
  config.cublaslt = cublaslt.empty() ? nullptr : cublaslt.c_str();
  std::vector<bertpass_cuda_tensor> tensors;
  for (const auto& [name, tensor] : content.tensors) {
    const void* data = tensor.data;
    if (tensor.dtype != "F32" || reinterpret_cast<std::uintptr_t>(data) % alignof(float))
      throw std::invalid_argument("'" + name + "' is not float32 on an address that 4 divides");
    tensors.push_back({name.c_str(), static_cast<const float*>(data), tensor.bytes / 4});
  }
  bertpass_cuda_model* made = nullptr;
  library.need(library.load(&config, tensors.data(), static_cast<std::int32_t>(tensors.size()), &made));
  return made;
}

}  // namespace

std::shared_ptr<DeviceModel> DeviceModel::shared(const DeviceOptions& options) {
  static std::mutex lock;
  static std::map<std::string, std::weak_ptr<DeviceModel>> loaded;
  const std::string key = options.dtype + (options.graphs ? " graphs " : " ") + std::to_string(options.device) + " " +
                          options.file;
  const std::lock_guard<std::mutex> guard(lock);
  std::shared_ptr<DeviceModel> model = loaded[key].lock();
  if (!model) loaded[key] = model = std::make_shared<DeviceModel>(options);
  return model;
}

DeviceModel::DeviceModel(const DeviceOptions& options) : library_(CudaLibrary::open()), graphs_(options.graphs) {
  const auto bad = [&](const std::string& what) {
    return FaceError(BERTPASS_CUDA_BAD_MODEL, options.file + ": " + what + ".");
  };
  try {
    model_ = load(library_, options);
  } catch (const native::FileError& error) {
    throw FaceError(BERTPASS_CUDA_BAD_MODEL, error.what());
  } catch (const std::invalid_argument& error) {
    throw bad(error.what());
  } catch (const Json::exception&) {
    throw bad("its description of the model is damaged; write it again with bertpass pack --unpacked");
  }
  bertpass_cuda_info info;
  library_.describe(model_, &info);
  twin_ = info.driver == 0;
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
    const std::lock_guard<std::mutex> guard(lock_);
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
    }
  }
  library_.context_free(small.made);
  library_.need(library_.context_create(model_, wanted.rows, wanted.tokens, nullptr, graphs_, &wanted.made));
  return wanted;
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
  library_.need(status);
}

std::vector<std::int32_t> DeviceModel::read(const std::int32_t* data, std::int32_t count, void* stream) const {
  if (twin_) return {data, data + count};
  static const Driver driver;
  std::vector<std::int32_t> found(count);
  if (driver.copy_to_host(found.data(), reinterpret_cast<std::uintptr_t>(data), sizeof(std::int32_t) * count, stream) ||
      driver.wait(stream))
    throw FaceError(BERTPASS_CUDA_DEVICE,
                    "the lengths cannot be read from the GPU; an earlier kernel may have failed.");
  return found;
}

}  // namespace bertpass::faces
