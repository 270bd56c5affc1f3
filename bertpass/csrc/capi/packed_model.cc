#include "capi/packed_model.h"

#include <nlohmann/json.hpp>

#include "capi/mapped_file.h"
#include "capi/safetensors.h"
#include "kernels/select.h"
#include "model/names.h"

namespace bertpass::native {
namespace {

using Json = nlohmann::json;

constexpr char kFormat[] = "bertpass packed model", kVersion[] = "2", kLayers[] = "layers";
constexpr Index kMost = 1 << 20;                // of any width: the bytes of every table stay within 64 bits
constexpr Index kMostTokens = (1LL << 31) - 1;  // of a vocabulary, whose ids are 32-bit

// The members of one object of the description; std::invalid_argument where one is missing or of another kind.
class Fields {
 public:
  Fields(const Json& all, const char* name) : object_(find(all, name)) {
    if (!object_.is_object()) throw std::invalid_argument(std::string(name) + " is not an object");
  }

  std::string text(const char* name) const {
    const Json& value = find(object_, name);
    if (!value.is_string()) wrong(name);
    return value.get<std::string>();
  }

  Index count(const char* name, Index least, Index most) const {
    const Json& value = find(object_, name);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(most) ||
        value.get<Index>() < least)
      wrong(name);
    return value.get<Index>();
  }

  float number(const char* name, double least, double most) const {
    const Json& value = find(object_, name);
    if (!value.is_number()) wrong(name);
    const double number = value.get<double>();
    if (!(number >= least && number <= most)) wrong(name);
    return static_cast<float>(number);
  }

  bool flag(const char* name) const {
    const Json& value = find(object_, name);
    if (!value.is_boolean()) wrong(name);
    return value.get<bool>();
  }

 private:
  static const Json& find(const Json& object, const char* name) {
    if (!object.is_object() || !object.contains(name)) wrong(name);
    return object[name];
  }
  [[noreturn]] static void wrong(const char* name) {
    throw std::invalid_argument(std::string("its description has no usable ") + name);
  }

  const Json& object_;
};

ModelConfig config_of(const Json& model) {
  const Fields encoder(model, "config"), head(model, "head");
  ModelConfig config;
  config.family = family_of(encoder.text("family"));
  config.layers = encoder.count("num_layers", 1, kMost);
  config.units = encoder.count("units", 1, kMost);
  config.hidden = encoder.count("hidden_size", 1, kMost);
  config.heads = encoder.count("num_heads", 1, kMost);
  config.max_length = encoder.count("max_length", 1, kMost);
  config.vocabulary = encoder.count("vocab_size", 1, kMostTokens);
  config.token_types = encoder.count("token_type_vocab_size", 0, kMost);
  config.epsilon = encoder.number("layer_norm_eps", 0, 1);
  config.activation = activation_of(encoder.text("activation"));
  config.head = head_of(head.text("kind"));
  const bool labels = config.head == HeadKind::classifier || config.head == HeadKind::tokens;
  config.labels = head.count("num_labels", labels ? 1 : 0, kMost);
  config.pooling = pooling_of(head.text("pooling"));
  config.normalize = head.flag("normalize");
  if (config.units % config.heads) throw std::invalid_argument("its heads do not divide its width");
  return config;
}

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
    const ModelConfig config = config_of(Json::parse(says("model"), nullptr, false));
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
