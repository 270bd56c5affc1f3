#include "capi/packed_model.h"

#include "capi/mapped_file.h"
#include "capi/safetensors.h"
#include "kernels/select.h"

namespace bertpass::native {
namespace {

constexpr char kFormat[] = "bertpass packed model", kVersion[] = "2", kLayers[] = "layers";

bool on(const char* data, Index boundary) { return reinterpret_cast<std::uintptr_t>(data) % boundary == 0; }

Weights weights_of(const Safetensors& file, const std::shared_ptr<const char>& memory) {
  std::map<std::string, Tensor> tensors;
  Packed layers;
  for (const auto& [name, tensor] : file.tensors) {
    if (!on(tensor.data, name == kLayers ? kLine : tensor.dtype == "F32" ? 4 : 1))
      throw std::invalid_argument("'" + name + "' does not begin where memory can be read");
    if (name == kLayers && tensor.dtype == "U8") layers = {tensor.data, tensor.bytes, memory};
    if (tensor.dtype == "F32") {
      // a pointer to aligned floats that are part of the mapped file
      tensors[name] = {static_cast<const float*>(static_cast<const void*>(tensor.data)), tensor.shape, memory};
    }
  }
  if (!layers.data) throw std::invalid_argument("it has no packed layers");
  return Weights(std::move(tensors), layers);
}

}  // namespace

LoadedModel load_packed_model(const std::string& path, int threads, const std::string& isa) {
  const MappedFile file = map_file(path);
  try {
    const Safetensors content = read_safetensors(file.data.get(), file.bytes);
    const auto says = [&](const char* key) {
      const auto found = content.metadata.find(key);
      return found == content.metadata.end() ? std::string() : found->second;
    };
    if (says("format") != kFormat) throw std::invalid_argument("it is no packed model; write one with bertpass pack");
    if (says("format_version") != kVersion)
      throw std::invalid_argument("it has format version '" + says("format_version") + "' and this library reads " +
                                  kVersion + "; pack the model again");
    const ModelConfig config = read_config(says("model"));
    // The types are those of the packed layers, whatever is asked for.
    const Kernels& kernels = select_kernels(isa);
    return {config, std::make_unique<Model>(config, weights_of(content, file.data), "float32", threads, kernels)};
  } catch (const std::invalid_argument& error) {
    throw FileError(path + ": " + error.what() + ".");
  } catch (const WeightError& error) {
    throw FileError(path + ": " + error.what());
  } catch (const PackedError& error) {
    throw FileError(path + ": " + error.what());
  }
}

}  // namespace bertpass::native
