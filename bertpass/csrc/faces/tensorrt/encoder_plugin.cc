#include "faces/tensorrt/encoder_plugin.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace bertpass::faces {
namespace {

using nvinfer1::DataType;
using nvinfer1::ILogger;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

constexpr std::int32_t kInputs = 3, kGood = 0, kFailed = -1;

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

void complain(const char* sentence) {
  nvinfer1::ILoggerFinder* finder = logger_finder;
  if (ILogger* logger = finder ? finder->findLogger() : nullptr) logger->log(ILogger::Severity::kERROR, sentence);
}

// What work() gives, or `otherwise` with a line in the log where it throws.
template <class Result, class Work>
Result guarded(Result otherwise, const Work& work) noexcept {
  try {
    return work();
  } catch (const std::exception& error) {
    complain(error.what());
    return otherwise;
  }
}

FaceError bad(const std::string& sentence) { return FaceError(BERTPASS_CUDA_BAD_ARGUMENT, sentence); }

// Rows and length of a batch; throws where the inputs do not fit each other.
std::pair<std::int32_t, std::int32_t> batch_of(const nvinfer1::PluginTensorDesc* in) {
  const nvinfer1::Dims &ids = in[0].dims, &types = in[1].dims, &lengths = in[2].dims;
  if (ids.nbDims != 2 || types.nbDims != 2 || lengths.nbDims != 1 || ids.d[0] != types.d[0] || ids.d[1] != types.d[1] ||
      ids.d[0] != lengths.d[0] || ids.d[0] > INT32_MAX || ids.d[1] > INT32_MAX)
    throw bad("ids and token types must have one shape (rows, length) and the valid lengths (rows).");
  return {static_cast<std::int32_t>(ids.d[0]), static_cast<std::int32_t>(ids.d[1])};
}

// Characters with or without a zero at the end.
std::string text_of(const PluginField& field) {
  if (field.type != PluginFieldType::kCHAR || !field.data)
    throw bad(std::string("the field ") + field.name + " has to be characters.");
  const char* begin = static_cast<const char*>(field.data);
  return {begin, strnlen(begin, static_cast<std::size_t>(std::max(field.length, 0)))};
}

DeviceOptions options_of(const PluginFieldCollection* fields) {
  DeviceOptions options;
  options.graphs = false;  // shapes may change with every call, and the lengths are waited for anyway
  for (std::int32_t i = 0; fields && i < fields->nbFields; ++i) {
    const PluginField& field = fields->fields[i];
    const std::string name = field.name ? field.name : "";
    if (name == "model") {
      options.file = text_of(field);
    } else if (name == "dtype") {
      options.dtype = text_of(field);
    } else if (name == "device") {
      if (field.type != PluginFieldType::kINT32 || field.length != 1 || !field.data)
        throw bad("the field device has to be one int32.");
      std::memcpy(&options.device, field.data, sizeof options.device);
    } else {
      throw bad("there is no field '" + name + "'; the fields are model, dtype and device.");
    }
  }
  if (options.file.empty()) throw bad("the field model is needed: a file that bertpass pack --unpacked wrote.");
  return options;
}

}  // namespace

EncoderPlugin::EncoderPlugin(const DeviceOptions& options)
    : options_(options),
      model_(shared_model(options)),
      outputs_(static_cast<std::int32_t>(model_->output_shapes(1, 1).size())) {}

nvinfer1::IPluginCapability* EncoderPlugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* EncoderPlugin::clone() noexcept {
  return guarded<EncoderPlugin*>(nullptr, [&] { return new EncoderPlugin(options_); });
}

std::int32_t EncoderPlugin::configurePlugin(nvinfer1::DynamicPluginTensorDesc const*, std::int32_t inputs,
                                            nvinfer1::DynamicPluginTensorDesc const*, std::int32_t outputs) noexcept {
  return inputs == kInputs && outputs == outputs_ ? kGood : kFailed;
}

std::int32_t EncoderPlugin::getOutputDataTypes(DataType* types, std::int32_t outputs, DataType const*,
                                               std::int32_t inputs) const noexcept {
  if (inputs != kInputs || outputs != outputs_) return kFailed;
  std::fill(types, types + outputs, DataType::kFLOAT);
  return kGood;
}

// An axis is rows or length where it grows with them, else a constant.
std::int32_t EncoderPlugin::getOutputShapes(nvinfer1::DimsExprs const* in, std::int32_t inputs,
                                            nvinfer1::DimsExprs const*, std::int32_t, nvinfer1::DimsExprs* out,
                                            std::int32_t outputs, nvinfer1::IExprBuilder& builder) noexcept {
  return guarded<std::int32_t>(kFailed, [&] {
    if (inputs != kInputs || outputs != outputs_ || in[0].nbDims != 2)
      throw bad("there are three inputs: ids (rows, length), token types (rows, length) and valid lengths (rows).");
    const auto base = model_->output_shapes(1, 1), rows = model_->output_shapes(2, 1),
               length = model_->output_shapes(1, 2);
    for (std::int32_t i = 0; i < outputs; ++i) {
      out[i].nbDims = base[i].axes;
      for (std::int32_t axis = 0; axis < base[i].axes; ++axis)
        out[i].d[axis] = rows[i].sizes[axis] != base[i].sizes[axis]     ? in[0].d[0]
                         : length[i].sizes[axis] != base[i].sizes[axis] ? in[0].d[1]
                                                                        : builder.constant(base[i].sizes[axis]);
    }
    return kGood;
  });
}

bool EncoderPlugin::supportsFormatCombination(std::int32_t place, nvinfer1::DynamicPluginTensorDesc const* both,
                                              std::int32_t inputs, std::int32_t outputs) noexcept {
  if (inputs != kInputs || outputs != outputs_ || place >= inputs + outputs) return false;
  const nvinfer1::PluginTensorDesc& tensor = both[place].desc;
  return tensor.format == nvinfer1::TensorFormat::kLINEAR &&
         tensor.type == (place < kInputs ? DataType::kINT32 : DataType::kFLOAT);
}

std::int32_t EncoderPlugin::onShapeChange(nvinfer1::PluginTensorDesc const* in, std::int32_t inputs,
                                          nvinfer1::PluginTensorDesc const*, std::int32_t outputs) noexcept {
  return guarded<std::int32_t>(kFailed, [&] {
    if (inputs != kInputs || outputs != outputs_) throw bad("there are three inputs and the model's outputs.");
    const auto [rows, length] = batch_of(in);
    model_->output_shapes(rows, length);  // refuses what is empty
    return kGood;
  });
}

std::int32_t EncoderPlugin::enqueue(nvinfer1::PluginTensorDesc const* in, nvinfer1::PluginTensorDesc const*,
                                    void const* const* inputs, void* const* outputs, void*,
                                    cudaStream_t stream) noexcept {
  return guarded<std::int32_t>(kFailed, [&] {
    const auto [rows, length] = batch_of(in);
    const auto integers = [&](int input) { return static_cast<const std::int32_t*>(inputs[input]); };
    const std::vector<std::int32_t> lengths = model_->read(integers(2), rows, stream);
    std::vector<float*> places;
    for (std::int32_t i = 0; i < outputs_; ++i) places.push_back(static_cast<float*>(outputs[i]));
    model_->forward({integers(0), integers(1), lengths.data(), rows, length, true}, places.data(), stream);
    return kGood;
  });
}

nvinfer1::IPluginV3* EncoderPlugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept { return clone(); }

PluginFieldCollection const* EncoderPlugin::getFieldsToSerialize() noexcept {
  const auto characters = [](const std::string& text) { return static_cast<std::int32_t>(text.size()); };
  return guarded<PluginFieldCollection const*>(nullptr, [&] {
    fields_ = {{"model", options_.file.data(), PluginFieldType::kCHAR, characters(options_.file)},
               {"dtype", options_.dtype.data(), PluginFieldType::kCHAR, characters(options_.dtype)},
               {"device", &options_.device, PluginFieldType::kINT32, 1}};
    collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
    return &collection_;
  });
}

nvinfer1::IPluginV3* EncoderCreator::createPlugin(AsciiChar const*, PluginFieldCollection const* fields,
                                                  nvinfer1::TensorRTPhase) noexcept {
  return guarded<EncoderPlugin*>(nullptr, [&] { return new EncoderPlugin(options_of(fields)); });
}

PluginFieldCollection const* EncoderCreator::getFieldNames() noexcept {
  static const PluginField fields[] = {{"model", nullptr, PluginFieldType::kCHAR, 0},
                                       {"dtype", nullptr, PluginFieldType::kCHAR, 0},
                                       {"device", nullptr, PluginFieldType::kINT32, 1}};
  static const PluginFieldCollection names{3, fields};
  return &names;
}

}  // namespace bertpass::faces

// What TensorRT looks for in a library of plugins (NvInferRuntime.h, IPluginRegistry::loadLibrary).
#define BERTPASS_EXPORT extern "C" __attribute__((visibility("default")))

BERTPASS_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { bertpass::faces::logger_finder = finder; }

BERTPASS_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count) {
  static bertpass::faces::EncoderCreator creator;
  static nvinfer1::IPluginCreatorInterface* const all[] = {&creator};
  count = 1;
  return all;
}
